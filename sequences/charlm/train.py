"""Train a character model on any text, and report it beside models that count.

uv run sequences charlm train                       # "hello" with its four letters, in seconds
uv run sequences charlm train FILE                  # a text of your own
uv run sequences charlm train FILE --preset shakespeare
"""

import sys
from collections.abc import Sequence

from jaxtyping import Bool, Int
from rich.console import Console
from torch import Tensor, nn

from core import cli
from core.carried import CarriedState
from core.log import Run
from core.loop import fit
from core.losses import cross_entropy
from sequences.charlm.config import EXPECTED, PRESETS, Config
from sequences.charlm.data import TrainingBatches, first_number, read, split
from sequences.charlm.evaluate import compare, measure, results_table
from sequences.charlm.evolution import Evolution
from sequences.charlm.model import CharacterModel
from sequences.charlm.trained import Trained, open_model

APP = "sequences charlm"


class Learner(nn.Module):
    """The model together with the state that one window hands to the next."""

    def __init__(self, model: CharacterModel, batch: int):
        super().__init__()
        self.model, self.carried = model, CarriedState(model.initial_state(batch))

    def forward(
        self, x: Int[Tensor, "time batch"], y: Int[Tensor, "time batch"], first: Bool[Tensor, " batch"]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Learn from a window; return the mean loss in nats and what to log."""
        logits, state = self.model(x, self.carried.before(first))
        self.carried.keep(state)
        return cross_entropy(logits, y), {}


def parse(argv: Sequence[str] | None = None) -> tuple[Config, cli.Session, Run]:
    """Parse the flags; where no preset is asked for, start from the one that goes with the text."""
    argv = list(sys.argv[1:] if argv is None else argv)
    parsed = cli.parse_train(APP, Config, PRESETS, argv, EXPECTED)
    if any(word.startswith(("--preset", "--resume")) for word in argv):
        return parsed
    config = parsed[0]
    preset = "small" if config.file else config.corpus or next(iter(PRESETS))
    return cli.parse_train(APP, Config, PRESETS, ["--preset", preset, *argv], EXPECTED)


def main(argv: Sequence[str] | None = None) -> None:
    """Train, judge by the held-out tail, report."""
    config, session, run = parse(argv)
    device = cli.device(session.device, session.threads)
    corpus = read(config)
    start = split(corpus, config)
    model = CharacterModel(config, len(corpus.alphabet)).to(device)
    trained = Trained(config, model, corpus.alphabet, first_number(corpus))
    fit(
        Learner(model, config.loop.batch).to(device),
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


if __name__ == "__main__":
    raise SystemExit(cli.guard(f"{APP} train", main))
