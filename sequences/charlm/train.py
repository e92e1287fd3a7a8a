"""Train a character model on any text, and report it beside models that count.

uv run sequences charlm train                       # "hello" with its four letters, in seconds
uv run sequences charlm train FILE                  # a text of your own
uv run sequences charlm train FILE --preset shakespeare
"""

from jaxtyping import Bool, Int
from rich.console import Console
from torch import Tensor, nn

from core.losses import cross_entropy
from core.training import cli, devices
from core.training.arguments import TrainArguments
from core.training.loop import fit
from core.training.tbptt import CarriedState
from sequences.charlm.config import Config
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
        self,
        x: Int[Tensor, "time batch"],
        y: Int[Tensor, "time batch"],
        first: Bool[Tensor, " batch"],
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Learn from a window; return the mean loss in nats and what to log."""
        logits, state = self.model(x, self.carried.before(first))
        self.carried.keep(state)
        return cross_entropy(logits, y), {}


def main(arguments: TrainArguments[Config]) -> None:
    """Train, judge by the held-out tail, report."""
    config, session, run = arguments.start()
    device = devices.select(session.device, session.threads)
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
    raise SystemExit(cli.script("sequences charlm train"))
