"""Sequences of images on one canvas, read symbol by symbol: how many are read rightly.

`glimpses` glimpses go to each symbol (Ba, Mnih, Kavukcuoglu 2015). The most probable class after
the last of them is the symbol read; the class after the last one is the end. A sequence is right if
all its symbols are, up to the end.
"""

from dataclasses import dataclass

from jaxtyping import Bool, Float, Int
from rich.table import Table
from torch import Tensor

from core import rng
from datasets.images.sequences import read
from datasets.images.splits import Labelled
from glimpse.metrics.measures import roll_out
from glimpse.model import RecurrentAttention, center, greedy, random


@dataclass(frozen=True)
class Report:
    """The share of sequences read rightly by policy, of all and of those of each length."""

    glimpses: int  # at each symbol
    accuracies: dict[str, float]
    by_length: dict[str, dict[int, float]]
    milliseconds: float  # of CPU time an image


def read_symbols(
    p: Float[Tensor, "glimpses count classes"], symbols: int
) -> Int[Tensor, "count symbols"]:
    """Return the sequences read; all symbols after the end are the end as well."""
    last = p.unflatten(0, (symbols, -1))[:, -1]
    return read(last.argmax(-1).T, p.shape[-1] - 1)


def right(
    p: Float[Tensor, "glimpses count classes"], labels: Int[Tensor, "count symbols"]
) -> Bool[Tensor, " count"]:
    """Return which sequences are read rightly."""
    return (read_symbols(p, labels.shape[1]) == labels).all(1)


def accuracy(
    p: Float[Tensor, "glimpses count classes"], labels: Int[Tensor, "count symbols"]
) -> float:
    """Return the share of sequences read rightly."""
    return float(right(p, labels).float().mean())


def measure(model: RecurrentAttention, images: Labelled, glimpses: int) -> Report:
    """Measure a model on sequences; the baselines look elsewhere with the same weights."""
    labels = images.labels
    lengths = (labels < len(images.classes) - 1).sum(1)
    anywhere = random(rng.generator(labels.device, "random locations"))
    accuracies = {}
    by_length = {}
    milliseconds = {}
    for name, policy in {"greedy": greedy, "random": anywhere, "center": center}.items():
        rollouts = roll_out(model, images, glimpses * labels.shape[1], policy)
        correct = right(rollouts.p, labels).float()
        accuracies[name] = float(correct.mean())
        by_length[name] = {
            length: float(correct[lengths == length].mean()) for length in lengths.unique().tolist()
        }
        milliseconds[name] = rollouts.milliseconds
    return Report(glimpses, accuracies, by_length, milliseconds["greedy"])


def table(report: Report, split: str) -> Table:
    """Return the errors in percent, of all sequences and by length."""
    title = f"{split} sequences with an error, %"
    errors = Table(title=title, caption="columns: where the network looks")
    errors.add_column("images in the sequence", justify="right")
    for name in report.accuracies:
        errors.add_column(name, justify="right")
    for length in report.by_length["greedy"]:
        row = [f"{100 * (1 - each[length]):.2f}" for each in report.by_length.values()]
        errors.add_row(str(length), *row)
    row = [f"{100 * (1 - each):.2f}" for each in report.accuracies.values()]
    errors.add_row("all", *row, style="bold")
    return errors


def names(images: Labelled) -> list[str]:
    """Return the names of the classes of images, or of those in their sequences."""
    if images.labels.ndim == 1:
        return [images.classes[label] for label in images.labels.tolist()]
    end = len(images.classes) - 1
    return [
        " ".join(images.classes[label] for label in sequence if label != end)
        for sequence in images.labels.tolist()
    ]
