"""Measure a trained model, and whether it gains from choosing where to look.

    uv run glimpse evaluate runs/glimpse/digits                  # error on its test images, greedy
    uv run glimpse evaluate runs/glimpse/images --data FOLDER    # on all images of a class folder

Beside the greedy policy stand random locations and the image's centre, with the same weights.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch
from jaxtyping import Float, Int
from rich.console import Console
from rich.table import Table
from rich.text import Text
from torch import Tensor

from core import rng
from core.errors import InputError, own_data_of
from core.files import prepare_target, to_json
from core.files import replace as replace_file
from core.training import cli, devices
from core.training.config import require_at_least
from datasets.images import digits
from datasets.images.boxes import Boxes
from datasets.images.splits import Labelled, Splits
from glimpse.arguments import Evaluate
from glimpse.config import Config
from glimpse.data import load, load_boxes, load_own, load_own_split
from glimpse.metrics import sequences
from glimpse.metrics.measures import balanced_accuracy, found, operations, roll_out, share_read
from glimpse.metrics.stopping import OperatingPoint, curve, point_at
from glimpse.model import Policy, RecurrentAttention, center, greedy, open_model, random, sampling

WIDEST = 20  # classes of a confusion matrix that fits a terminal; JSON always has it


def probabilities(
    model: RecurrentAttention, images: Labelled, glimpses: int, policy: Policy
) -> Float[Tensor, "glimpses count classes"]:
    """Return p_t for every image after each glimpse."""
    return roll_out(model, images, glimpses, policy).p


def monte_carlo(
    model: RecurrentAttention, images: Labelled, glimpses: int, samples: int
) -> Float[Tensor, "glimpses count classes"]:
    """Return the mean of p_t over `samples` rollouts with the policy of the end of training."""
    noisy = sampling(model.config, rng.generator(images.labels.device, "monte carlo"))
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
    """Accuracy after each glimpse by policy; the rest is of the greedy one."""

    accuracies: dict[str, list[float]]
    confusion: list[list[int]]  # [true class][predicted class], after `glimpses` glimpses
    glimpses: int
    classes: tuple[str, ...]
    balanced_accuracy: float
    share_read: float  # of the pixels of an image, by `glimpses` glimpses and the coarse view
    operations: int  # multiplications and additions an image, for `glimpses` glimpses
    milliseconds: float  # of CPU time an image, for `glimpses` glimpses
    found: dict[str, list[float]] | None = None  # share of images with a glimpse on a box by then
    stop: OperatingPoint | None = None  # that of the checkpoint's threshold
    operating_points: list[OperatingPoint] = field(default_factory=list)  # of other thresholds


def measure(
    model: RecurrentAttention,
    images: Labelled,
    glimpses: int,
    samples: int = 1,
    boxes: Boxes | None = None,
    stop: Mapping[str, Any] | None = None,
) -> Report:
    """Measure a model on labelled images after 1 to 2 `glimpses` glimpses.

    Policies: greedy, two baselines with the same weights (random, center), and with `samples` > 1
    the Monte-Carlo mean. `stop` holds the threshold and the most glimpses that `glimpse stop` set.
    """
    most = 2 * glimpses
    anywhere = random(rng.generator(images.labels.device, "random locations"))
    policies = {"greedy": greedy, "random": anywhere, "center": center}
    rollouts = {name: roll_out(model, images, most, policy) for name, policy in policies.items()}
    accuracies = {name: accuracy(each.p, images.labels) for name, each in rollouts.items()}
    if samples > 1:
        p = monte_carlo(model, images, most, samples)
        accuracies[f"mean of {samples}"] = accuracy(p, images.labels)
    p = rollouts["greedy"].p[:glimpses]
    found_by = None
    if boxes is not None:
        found_by = {name: found(each.locations, boxes) for name, each in rollouts.items()}
    return Report(
        accuracies,
        confusion(p[-1], images.labels).tolist(),
        glimpses,
        images.classes,
        balanced_accuracy(p[-1], images.labels),
        share_read(model.config, glimpses, images.sizes),
        operations(model, images, glimpses),
        roll_out(model, images, glimpses, greedy).milliseconds,
        found_by,
        None if stop is None else _stopped(model, images, stop),
        curve(p, images.labels),
    )


def _stopped(
    model: RecurrentAttention, images: Labelled, stop: Mapping[str, Any]
) -> OperatingPoint:
    """Return error and mean glimpses with the threshold and the most glimpses of a checkpoint."""
    p = probabilities(model, images, stop.get("most", model.config.glimpses), greedy)
    return point_at(p, images.labels, stop["threshold"])


def tables(report: Report, split: str) -> list[Table]:
    """Return the errors in percent by number of glimpses, and the confusion matrix."""
    errors = Table(title=f"{split} error, %", caption="columns: where the network looks")
    errors.add_column("glimpses", justify="right")
    columns = {name: [1 - right for right in by] for name, by in report.accuracies.items()}
    for name, by in (report.found or {}).items():
        columns[f"{name}: on a box"] = by
    for name in columns:
        errors.add_column(name, justify="right")
    for t in range(2 * report.glimpses):
        row = [f"{100 * by[t]:.2f}" for by in columns.values()]
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


def summary(report: Report) -> str:
    """Return in a few lines what the rollouts cost and came to."""
    lines = [
        f"balanced accuracy {100 * report.balanced_accuracy:.2f} %; {report.glimpses} glimpses "
        f"read {100 * report.share_read:.1f} % as many numbers as an image has pixels, "
        f"{report.operations / 1e6:.2f} million operations and {report.milliseconds:.1f} ms of CPU "
        "an image"
    ]
    if report.stop is not None:
        lines.append(
            f"stopping at probability {report.stop.threshold:.4f}: {report.stop.error:.2f} % error "
            f"with {report.stop.glimpses:.2f} glimpses on average"
        )
    return "\n".join(lines)


def main(arguments: Evaluate) -> None:
    """Open a run, measure it, print the tables."""
    device = devices.select(arguments.device, arguments.threads)
    require_at_least(1, arguments, "glimpses", "samples")
    model, saved = open_model(arguments.run, device)
    if model.config.sequence is not None:
        _require_sequences(arguments)
    if arguments.curve is not None:
        prepare_target(arguments.curve)
    images, part = _images(arguments, model.config, saved["extras"], device)
    if images.channels != model.channels or list(images.classes) != saved["extras"]["classes"]:
        data = arguments.data or model.config.data
        raise InputError(
            f"{data} has other channels or classes than {arguments.run} was trained on"
        )
    glimpses = arguments.glimpses or model.config.glimpses
    if model.config.sequence is not None:
        _report_sequences(arguments, sequences.measure(model, images, glimpses), part)
        return
    boxes = None if arguments.boxes is None else load_boxes(arguments.boxes, images)
    stop = saved["extras"].get("stop")
    report = measure(model, images, glimpses, arguments.samples, boxes, stop)
    if arguments.curve is not None:
        from glimpse.pictures.curves import draw_curve  # imports matplotlib

        costs = {
            "numbers read, % of the pixels": [
                100 * share_read(model.config, n, images.sizes) for n in (1, 2)
            ],
            "million operations": [operations(model, images, n) / 1e6 for n in (1, 2)],
        }
        drawn = draw_curve(report.operating_points, report.stop, f"{part} images", costs)
        replace_file(arguments.curve, drawn)
    if arguments.json:
        print(to_json(asdict(report)))
    else:
        Console().print(*tables(report, part), sep="\n")
        cli.say(summary(report))


def _require_sequences(arguments: Evaluate) -> None:
    """Refuse what is not for a model that reads sequences."""
    if arguments.samples > 1 or arguments.boxes is not None or arguments.curve is not None:
        raise InputError(
            f"{arguments.run} reads sequences: leave out --samples, --boxes and --curve"
        )
    if arguments.data is not None and arguments.data not in digits.NAMES:
        names = ", ".join(digits.NAMES)
        raise InputError(f"{arguments.run} reads sequences of digits: --data takes {names}")


def _report_sequences(arguments: Evaluate, report: sequences.Report, part: str) -> None:
    if arguments.json:
        print(to_json(asdict(report)))
    else:
        Console().print(sequences.table(report, part))


def test_part(splits: Splits) -> str:
    """Return "test", or "validation" where these images stand for the test images."""
    return "validation" if splits.test is splits.validation else "test"


def _images(
    arguments: Evaluate, config: Config, extras: Mapping[str, Any], device: torch.device
) -> tuple[Labelled, str]:
    """Return the images to measure and what they are called."""
    if arguments.root is not None:
        config = replace(config, root=arguments.root)
    if arguments.data is None:
        with own_data_of(arguments.run):
            splits = load(config, device)
        split = arguments.split or test_part(splits)
        return getattr(splits, split), split
    if arguments.split is None:
        return load_own(config, extras, arguments.data, device), arguments.data
    images = load_own_split(config, extras, arguments.data, arguments.split, device)
    return images, arguments.split


if __name__ == "__main__":
    raise SystemExit(cli.script("glimpse evaluate"))
