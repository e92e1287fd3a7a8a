"""Measure a trained model, and whether it gains from choosing where to look.

    uv run glimpse evaluate runs/glimpse/digits                  # error on its test images, greedy
    uv run glimpse evaluate runs/glimpse/images --data FOLDER    # on all images of a class folder

Beside the greedy policy stand random locations and the image's centre, with the same weights.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from jaxtyping import Float, Int
from rich.console import Console
from rich.table import Table
from rich.text import Text
from torch import Tensor

from core import rng
from core.errors import InputError
from core.files import to_json
from core.training import cli, devices
from core.training.config import require_at_least
from datasets.splits import Labelled
from glimpse.arguments import Evaluate
from glimpse.config import Config
from glimpse.data import load, load_own
from glimpse.model import Policy, RecurrentAttention, center, greedy, open_model, random

BATCH = 500  # images of a rollout
WIDEST = 20  # classes of a confusion matrix that fits a terminal; JSON always has it


@torch.no_grad()
def probabilities(
    model: RecurrentAttention, images: Labelled, glimpses: int, policy: Policy
) -> Float[Tensor, "glimpses count classes"]:
    """Return p_t for every image after each glimpse."""
    parts = []
    for rows in images.in_order(BATCH):
        episode = model.rollout(images.fetch(rows), glimpses, policy)
        parts.append(episode.logits.softmax(-1))
    return torch.cat(parts, 1)


def monte_carlo(
    model: RecurrentAttention, images: Labelled, glimpses: int, samples: int
) -> Float[Tensor, "glimpses count classes"]:
    """Return the mean of p_t over `samples` rollouts with the policy of the end of training."""
    std = model.config.std * model.config.std_decay
    generator = rng.generator(images.labels.device, "monte carlo")

    def noisy(t: int, mean: Tensor) -> Tensor:
        return mean + std * torch.randn(mean.shape, generator=generator, device=mean.device)

    rollouts = [probabilities(model, images, glimpses, noisy) for _ in range(samples)]
    return torch.stack(rollouts).mean(0)


def accuracy(
    p: Float[Tensor, "glimpses count classes"], labels: Int[Tensor, " count"]
) -> list[float]:
    """Return the share of images classified rightly after each glimpse."""
    return (p.argmax(-1) == labels).float().mean(1).tolist()


def confusion(
    p: Float[Tensor, "count classes"], labels: Int[Tensor, " count"]
) -> Int[Tensor, "classes classes"]:
    """Count images by true class (row) and predicted class (column)."""
    classes = p.shape[-1]
    return torch.bincount(labels * classes + p.argmax(-1), minlength=classes**2).view(
        classes, classes
    )


@dataclass(frozen=True)
class Report:
    """Accuracy after each glimpse by policy, and the confusion matrix of the greedy one."""

    accuracies: dict[str, list[float]]
    confusion: list[list[int]]  # [true class][predicted class], after `glimpses` glimpses
    glimpses: int
    classes: tuple[str, ...]


def measure(model: RecurrentAttention, images: Labelled, glimpses: int, samples: int = 1) -> Report:
    """Measure a model on labelled images after 1 to 2 `glimpses` glimpses.

    Policies: greedy, two baselines with the same weights (random, center), and with `samples` > 1
    the Monte-Carlo mean.
    """
    most = 2 * glimpses
    anywhere = random(rng.generator(images.labels.device, "random locations"))
    p = {
        "greedy": probabilities(model, images, most, greedy),
        "random": probabilities(model, images, most, anywhere),
        "center": probabilities(model, images, most, center),
    }
    matrix = confusion(p["greedy"][glimpses - 1], images.labels).tolist()
    if samples > 1:
        p[f"mean of {samples}"] = monte_carlo(model, images, most, samples)
    accuracies = {policy: accuracy(values, images.labels) for policy, values in p.items()}
    return Report(accuracies, matrix, glimpses, images.classes)


def tables(report: Report, split: str) -> list[Table]:
    """Return the errors in percent by number of glimpses, and the confusion matrix."""
    errors = Table(title=f"{split} error, %", caption="columns: where the network looks")
    errors.add_column("glimpses", justify="right")
    for policy in report.accuracies:
        errors.add_column(policy, justify="right")
    for t in range(2 * report.glimpses):
        row = [f"{100 * (1 - curve[t]):.2f}" for curve in report.accuracies.values()]
        errors.add_row(str(t + 1), *row, style="bold" if t + 1 == report.glimpses else "")
    if len(report.classes) > WIDEST:
        return [errors]
    matrix = Table(
        title=f"confusion after {report.glimpses} glimpses",
        caption="rows: true class; columns: predicted",
    )
    for heading in ("", *report.classes):
        matrix.add_column(Text(heading), justify="right")
    for name, counts in zip(report.classes, report.confusion, strict=True):
        matrix.add_row(Text(name), *(str(count) if count else "." for count in counts))
    return [errors, matrix]


def main(arguments: Evaluate) -> None:
    """Open a run, measure it, print the tables."""
    device = devices.select(arguments.device, arguments.threads)
    require_at_least(1, arguments, "glimpses", "samples")
    model, saved = open_model(arguments.run, device)
    images, part = _images(arguments, model.config, saved["extras"], device)
    if images.channels != model.channels or list(images.classes) != saved["extras"]["classes"]:
        data = arguments.data or model.config.data
        raise InputError(
            f"{data} has other channels or classes than {arguments.run} was trained on"
        )
    glimpses = arguments.glimpses or model.config.glimpses
    report = measure(model, images, glimpses, arguments.samples)
    if arguments.json:
        print(to_json(asdict(report)))
    else:
        Console().print(*tables(report, part), sep="\n")


def _images(
    arguments: Evaluate, config: Config, extras: Mapping[str, Any], device: torch.device
) -> tuple[Labelled, str]:
    """Return the images to measure and what they are called."""
    if arguments.root is not None:
        config = replace(config, root=arguments.root)
    if arguments.data is None:
        split = arguments.split or "test"
        return getattr(load(config, device), split), split
    if arguments.split is None:
        return load_own(config, extras, arguments.data, device), arguments.data
    config = replace(config, data=arguments.data)
    return getattr(load(config, device), arguments.split), arguments.split


if __name__ == "__main__":
    raise SystemExit(cli.script("glimpse evaluate"))
