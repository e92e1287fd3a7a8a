"""Train a net that reads whole images, and write where it sees the classes of the training images.

    uv run glimpse teacher train --data FOLDER    # class folders; writes runs/teacher/.../hints.csv
    uv run glimpse train --preset search --data FOLDER --hints runs/teacher/teacher/hints.csv

Its error stands beside that of the searching model, which reads a fraction of the pixels.
"""

import csv
import io
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from core.files import replace
from core.training import checkpoint, cli, devices
from core.training.arguments import TrainArguments
from core.training.config import require_at_least
from core.training.loop import evaluating, fit
from datasets.images.origins import Origin
from datasets.images.splits import Labelled
from glimpse.config import Config
from glimpse.data import TrainingBatches, load
from glimpse.metrics.measures import BATCH
from glimpse.sensor import Batch
from glimpse.teacher.model import Teacher

LEAST = 4  # cells a side of the view, which the net halves twice
SURE = 0.5  # least probability of the right class for a place to be told


class Learner(Teacher):
    """The net together with its objective."""

    def forward(
        self, images: Batch, labels: Int[Tensor, " batch"], *rest: Tensor
    ) -> tuple[Float[Tensor, ""], dict[str, Float[Tensor, ""]]]:
        """Return the cross-entropy, and the accuracy to log."""
        logits = self.classify(images)
        accuracy = (logits.argmax(-1) == labels).float().mean()
        return F.cross_entropy(logits, labels), {"accuracy": accuracy}


def main(arguments: TrainArguments[Config]) -> None:
    """Train, write hints.csv."""
    config, session, run = arguments.start()
    device = devices.select(session.device, session.threads)
    splits = load(config, device)
    require_at_least(LEAST, config, "context")
    classes = splits.train.classes
    model = Learner(config, splits.train.channels, len(classes)).to(device)
    fit(
        model,
        TrainingBatches(splits.train, config),
        lambda: {"accuracy": accuracy(model, splits.validation)},
        run,
        config.loop,
        extras={"classes": list(classes)},
        graph=session.graph,
    )
    if run.writes:
        saved = checkpoint.open_run(run.directory, "teacher")
        checkpoint.restore(model, saved["weights"], run.directory)
        error = 100 * (1 - accuracy(model, splits.validation))
        print(f"validation error {error:.2f} %, reading all pixels")
        if splits.train.origins:
            told = write_hints(model, splits.train, run.directory / "hints.csv")
            of = f"{told} of {len(splits.train)} images"
            print(f"{run.directory / 'hints.csv'}: where {of} show it")


def accuracy(model: Teacher, images: Labelled) -> float:
    """Return the share of images that are classified rightly."""
    right = 0
    with evaluating(model):
        for rows in images.in_order(BATCH):
            predicted = model.classify(images.fetch(rows)).argmax(-1)
            right += int((predicted == images.labels[rows]).sum())
    return right / len(images)


def write_hints(model: Teacher, images: Labelled, file: Path) -> int:
    """Write a box for each image whose class is located in its picture; return how many.

    A place in the black beside a picture that was brought to a size is none.
    """
    text = io.StringIO()
    table = csv.writer(text)
    table.writerow(["file", "x1", "y1", "x2", "y2"])
    count = 0
    with evaluating(model):
        for rows in images.in_order(BATCH):
            places, probabilities = model.locate(images.fetch(rows), images.labels[rows])
            located = probabilities >= SURE
            chosen = rows[located.to(rows.device)].tolist()
            for row, place in zip(chosen, places[located], strict=True):
                origin = images.origins[row]
                x, y = origin.to_file(place.cpu()).tolist()
                height, width = origin.native
                if 0 <= x <= width and 0 <= y <= height:
                    table.writerow([origin.name, *_box(place, origin, model.cells)])
                    count += 1
    replace(file, text.getvalue().encode())
    return count


def _box(place: Float[Tensor, "2"], origin: Origin, cells: int) -> list[float]:
    """Return x1, y1, x2, y2 of a box of 4 x 4 cells of the view around a place, in its file."""
    half = 4 / cells
    corners = torch.stack((place.cpu() - half, place.cpu() + half))
    return [round(value, 1) for value in origin.to_file(corners).flatten().tolist()]


if __name__ == "__main__":
    raise SystemExit(cli.script("glimpse teacher train"))
