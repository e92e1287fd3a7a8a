"""How well a trained model sees, and whether it is where it looks that helps.

    uv run glimpse evaluate runs/glimpse/digits    # test accuracy, greedy, one look at each image

Beside the accuracy stand those of the same network looking at random places and looking only at the centre.
"""

from dataclasses import asdict, dataclass, replace

import torch
from jaxtyping import Float, Int, UInt8
from rich.console import Console
from rich.table import Table
from rich.text import Text
from torch import Tensor

from core import rng
from core.errors import InputError
from core.files import to_json
from core.training import cli, devices
from core.training.config import require_at_least
from datasets.splits import Images
from glimpse.arguments import Evaluate
from glimpse.data import load
from glimpse.model import Policy, RecurrentAttention, center, greedy, open_model, random

BATCH = 500  # images looked at together
WIDEST = 20  # classes of a confusion matrix that a terminal has room for; JSON has it always


@torch.no_grad()
def probabilities(
    model: RecurrentAttention,
    images: UInt8[Tensor, "count channels height width"],
    glimpses: int,
    policy: Policy,
) -> Float[Tensor, "glimpses count classes"]:
    """Return p_t for every image after each glimpse."""
    parts = images.split(BATCH)
    return torch.cat(
        [model.rollout(part, glimpses, policy).logits.softmax(-1) for part in parts], 1
    )


def monte_carlo(
    model: RecurrentAttention,
    images: UInt8[Tensor, "count channels height width"],
    glimpses: int,
    samples: int,
) -> Float[Tensor, "glimpses count classes"]:
    """Return the mean of p_t over `samples` looks with the noisy policy of the end of training."""
    std, random = (
        model.config.std * model.config.std_decay,
        rng.generator(images.device, "monte carlo"),
    )

    def noisy(t: int, mean: Tensor) -> Tensor:
        return mean + std * torch.randn(mean.shape, generator=random, device=mean.device)

    return torch.stack(
        [probabilities(model, images, glimpses, noisy) for _ in range(samples)]
    ).mean(0)


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
    confusion: list[
        list[int]
    ]  # rows: true class, columns: predicted class, after `glimpses` glimpses
    glimpses: int  # as trained, or as asked for
    classes: tuple[str, ...]


def measure(model: RecurrentAttention, images: Images, glimpses: int, samples: int = 1) -> Report:
    """Measure a model on labelled images after 1 to 2 `glimpses` glimpses.

    Policies: greedy, its two baselines on the same weights, and with `samples` > 1 the Monte-Carlo mean.
    """
    most, pixels = 2 * glimpses, images.images
    anywhere = random(rng.generator(pixels.device, "random locations"))
    p = {
        "greedy": probabilities(model, pixels, most, greedy),
        "random": probabilities(model, pixels, most, anywhere),
        "center": probabilities(model, pixels, most, center),
    }
    matrix = confusion(p["greedy"][glimpses - 1], images.labels).tolist()
    if samples > 1:
        p[f"mean of {samples}"] = monte_carlo(model, pixels, most, samples)
    accuracies = {name: accuracy(each, images.labels) for name, each in p.items()}
    return Report(accuracies, matrix, glimpses, images.classes)


def tables(report: Report, split: str) -> list[Table]:
    """Lay the report out: errors in percent by number of glimpses, and the confusion matrix."""
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
    config = model.config if arguments.root is None else replace(model.config, root=arguments.root)
    images = getattr(load(config, device), arguments.split)
    shape, classes = saved["extras"]["image_shape"], saved["extras"]["classes"]
    if images.images.shape[1] != shape[0] or list(images.classes) != classes:
        raise InputError(
            f"{config.data} has other channels or classes than {arguments.run} was trained on"
        )
    glimpses = config.glimpses if arguments.glimpses is None else arguments.glimpses
    report = measure(model, images, glimpses, arguments.samples)
    if arguments.json:
        print(to_json(asdict(report)))
    else:
        Console().print(*tables(report, arguments.split), sep="\n")


if __name__ == "__main__":
    raise SystemExit(cli.script("glimpse evaluate"))
