"""Train a character model on any text, and report it beside n-gram models.

uv run sequences charlm train                       # "hello" with its four letters, in seconds
uv run sequences charlm train FILE                  # a text of your own
uv run sequences charlm train FILE --preset shakespeare
uv run sequences charlm train FILE --start RUN      # from the weights of a run, on more text
"""

from dataclasses import replace
from pathlib import Path

from rich.console import Console

from core.errors import InputError
from core.training import checkpoint, cli, devices
from core.training.arguments import TrainArguments
from core.training.loop import fit
from core.training.run import Run
from datasets.text.alphabets import Alphabet
from datasets.text.corpora import Corpus
from sequences.charlm.config import Config
from sequences.charlm.data import TrainingBatches, first_number, read, split
from sequences.charlm.evaluate import compare, results_table
from sequences.charlm.evolution import Evolution
from sequences.charlm.learner import Learner
from sequences.charlm.measure import measure
from sequences.charlm.model import CharacterModel
from sequences.charlm.starting import initialise_from
from sequences.charlm.trained import Trained, open_model


def main(arguments: TrainArguments[Config]) -> None:
    """Train, validate on the held-out tail, report."""
    config, session, run = arguments.start()
    device = devices.select(session.device, session.threads)
    corpus = _text(config, run)
    start = split(corpus, config)
    model = CharacterModel(config, len(corpus.alphabet)).to(device)
    first = first_number(corpus)
    if config.start and not session.resume:
        source, _ = open_model(config.start, device)
        initialise_from(Trained(config, model, corpus.alphabet, first), source)
    learner = Learner(config, model).to(device)
    trained = Trained(config, learner.best, corpus.alphabet, first)
    fit(
        learner,
        TrainingBatches(corpus.numbers[:start], config, device),
        lambda: measure(trained, corpus.numbers, start),
        run,
        config.loop,
        monitor="nats",
        mode="min",
        extras={
            "characters": corpus.alphabet.characters,
            "first": trained.first,
            "text": corpus.name,
            "digest": corpus.digest,
        },
        after=Evolution(trained, run),
        graph=session.graph,
    )
    if run.writes:
        best, _ = open_model(run.directory, device)
        results = compare(best, corpus, start, corpus.numbers[:start])
        Console().print(results_table(results, corpus, start))
        print(f"{run.directory} holds the run; now: sequences charlm sample {run.directory}")


def _text(config: Config, run: Run) -> Corpus:
    """Return the text of a run, which is read as before where the run is resumed.

    Raises:
        InputError: as `read`, or it is another text than that of the run so far.
    """
    last = run.last()
    if last is None:
        return read(config)
    with checkpoint.telling_alterations(run.directory / "last.pt"):
        alphabet = Alphabet(last["extras"]["characters"])
        digest = last["extras"]["digest"]
        name = last["extras"]["text"]
    corpus = read(config, alphabet)
    if corpus.digest != digest:
        if config.file and Path(config.file).name != name:
            hint = "leave it out, or begin a new run, perhaps with --start"
            raise InputError(f"{config.file} is not {name}, which the run learns: {hint}")
        hint = "put back the text that it was, or begin a new run"
        raise InputError(f"{config.file or config.corpus} has changed since the run began: {hint}")
    return replace(corpus, name=name)  # the file may have been renamed


if __name__ == "__main__":
    raise SystemExit(cli.script("sequences charlm train"))
