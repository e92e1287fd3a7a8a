"""Teach three units to add, test them on long numbers, and find the automaton inside.

uv run sequences addition    # 10,000 sums of 1,000-bit numbers without a wrong bit
uv run sequences addition --seed 3 --preset squared-error
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from rich.console import Console
from torch import Tensor

from core import files
from core.automaton import Extraction
from core.training import checkpoint, devices
from core.training.arguments import TrainArguments
from core.training.loop import fit
from core.training.run import Run
from sequences.addition.config import Config
from sequences.addition.data import Examples, TrainingBatches, split, validation
from sequences.addition.evaluate import agreement, find_automaton, measure
from sequences.addition.model import Adder, FeedForward, Learner, margins
from sequences.addition.tables import automaton_table, tables, verdict

FEEDFORWARD_RATE = 0.1  # of the learning rate of three units, which bear more than 256


@dataclass(frozen=True, eq=False)
class Trained:
    """Both nets, and the margin of each candidate for the recurrent one on the validation pairs."""

    adder: Adder
    feedforward: FeedForward
    margins: list[float]


def learn(config: Config, run: Run, device: torch.device, graph: bool = True) -> None:
    """Train both nets; validate the candidates on numbers that none learns from."""
    train, _ = split(config, device)
    validated_by = validation(config, device)
    learner = Learner(config).to(device)
    fit(
        learner,
        TrainingBatches(train, config),
        lambda: validate(learner, validated_by),
        run,
        config.loop,
        monitor="margin",
        rate_factors={"feedforward": FEEDFORWARD_RATE},
        graph=graph,
    )


def smallest_margins(learner: Learner, parts: Sequence[Examples]) -> Float[Tensor, " candidates"]:
    """Return the margin of each candidate over all pairs of some examples."""
    return torch.stack([margins(learner, each.pairs, each.sums) for each in parts]).amin(0)


def validate(learner: Learner, parts: Sequence[Examples]) -> dict[str, float]:
    """Return the margin of the best candidate, and how many candidates make no mistake."""
    margin = smallest_margins(learner, parts)
    return {"margin": margin.max().item(), "adders": (margin > 0).sum().item()}


def open_model(path: Path, device: torch.device) -> tuple[Trained, Config]:
    """Return the nets of a run directory or checkpoint, and its configuration.

    Raises:
        InputError: the file is no checkpoint of this application.
    """
    with checkpoint.opened(path, "addition", Config) as (config, saved):
        learner = checkpoint.build(lambda: Learner(config), saved["weights"], path).to(device)
    margin = smallest_margins(learner, validation(config, device))
    adder = learner.candidates[int(margin.argmax())]
    assert isinstance(adder, Adder)
    return Trained(adder, learner.feedforward, margin.tolist()), config


def main(arguments: TrainArguments[Config]) -> None:
    """Train, count mistakes by the number of bits, find the automaton, draw it."""
    config, session, run = arguments.start()
    device = devices.select(session.device, session.threads)
    learn(config, run, device, session.graph)
    if run.writes:
        report(run.directory, device)


def report(directory: Path, device: torch.device) -> None:
    """Print the mistakes of a trained run and the automaton in it, and draw that."""
    trained, config = open_model(directory, device)
    console = Console()
    seed = config.loop.seed
    _, held_out = split(config, device)
    results = measure(config, trained.adder, trained.feedforward, held_out, device)
    console.print(*tables(results, config), sep="\n")
    learned = sum(margin > 0 for margin in trained.margins)
    count = len(trained.margins)
    print(f"{learned} of {count} candidates learned to add; that with the largest margin is kept")
    extraction = find_automaton(trained.adder, seed, device)
    print(verdict(extraction))
    if extraction is None:
        return
    console.print(automaton_table(extraction))
    unlike = agreement(trained.adder, extraction, seed, device)
    print(f"net and automaton differ in {unlike} bits of 100 long sums")
    print(f"{directory} holds the run; the picture: {draw(trained.adder, extraction, directory)}")


def draw(adder: Adder, extraction: Extraction, folder: Path) -> Path:
    """Write the picture of the automaton and the units' activity, and return the file."""
    from sequences.addition import drawing  # matplotlib takes long to import

    path = folder / "automaton.png"
    files.replace(path, drawing.picture(adder, extraction))
    return path
