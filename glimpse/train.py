"""Train the recurrent attention model, report it beside its baselines, and draw where it looks.

uv run glimpse train                                    # built-in digits
uv run glimpse train --preset mnist28 --root DIRECTORY  # MNIST
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Bool, Float, Int
from rich.console import Console
from rich.table import Table
from torch import Tensor

from core.errors import InputError
from core.files import replace
from core.training import checkpoint, cli, devices
from core.training.arguments import TrainArguments
from core.training.loop import fit
from datasets.digests import digest
from datasets.images.boxes import Boxes
from datasets.images.folders import describe_sizes
from datasets.images.splits import Labelled, Splits, examples
from glimpse import objective
from glimpse.config import Config
from glimpse.data import TrainingBatches, load, load_boxes
from glimpse.evaluate import accuracy, measure, probabilities, tables, test_part
from glimpse.hints import empty_classes, guided, search_loss
from glimpse.metrics import sequences
from glimpse.model import RecurrentAttention, greedy, open_model, stochastic
from glimpse.networks.patch_encoders import EncoderGlimpseNetwork
from glimpse.pictures.scanpath import follow
from glimpse.sensor import Batch

PICTURES = 6  # validation images whose scanpaths are drawn at the end, one a class


class Learner(RecurrentAttention):
    """The model together with its objective.

    Attributes:
        empty: which classes have nothing to find in their images, with `absence`.
    """

    empty: Bool[Tensor, " classes"] | None = None

    def forward(
        self,
        images: Batch,
        labels: Int[Tensor, " batch"],
        noise: Float[Tensor, "glimpses batch 2"],
        std_left: Float[Tensor, ""],
        boxes: Boxes | None = None,
        places: Float[Tensor, "glimpses batch 2"] | None = None,
    ) -> tuple[Float[Tensor, ""], dict[str, Float[Tensor, ""]]]:
        """Return the loss of a rollout with the noisy policy, and what to log.

        With hints, some glimpses are placed where they say, and the map learns from the boxes.
        """
        std = self.config.std * std_left
        policy = stochastic(noise, std)
        if places is not None:
            policy = guided(places, policy)
        episode = self.rollout(images, len(noise), policy)
        # The gradient of log N in the mean is (a - m) / std^2, about 1 / std: it would grow as std
        # decays, while advantages keep their unit size. A weight that decays as std^2 makes it the
        # sampled offset a - m itself, as the natural gradient does (Fisher information 1 / std^2).
        weight = self.config.reinforce * std_left**2
        loss, metrics = objective.loss(
            episode, labels, std=std, weight=weight, rewarded=self.config.rewarded
        )
        if boxes is None or episode.memories is None:
            return loss, metrics
        empty = None if self.empty is None else self.empty[labels]
        search = search_loss(episode.memories, boxes, empty)
        return loss + search, {**metrics, "search": search}


def main(arguments: TrainArguments[Config]) -> None:
    """Train, measure the best model on the test images, draw scanpaths."""
    config, session, run = arguments.start()
    device = devices.select(session.device, session.threads)
    splits = load(config, device)
    classes = splits.validation.classes
    boxes = None if config.hints is None else load_boxes(config.hints, splits.train)
    if config.locator == "map" and boxes is None:
        raise InputError("a map is learned from hints: add --hints BOXES.csv")
    if boxes is not None:
        marked = int((~boxes[:, 0, 0].isnan()).sum())
        print(f"{config.hints}: boxes on {marked} of {len(splits.train)} training images")
    model = Learner(config, splits.validation.channels, len(classes)).to(device)

    if boxes is not None and config.absence:
        model.empty = empty_classes(boxes, splits.train.labels, len(classes))

    if run.last() is None:
        if config.start is not None:
            start_from(model, config.start, classes)
        elif isinstance(model.glimpse, EncoderGlimpseNetwork):
            model.glimpse.load_pretrained(config.download)

    def validate() -> dict[str, float]:
        p = probabilities(model, splits.validation, config.symbols * config.glimpses, greedy)
        if config.sequence is not None:
            return {"accuracy": sequences.accuracy(p, splits.validation.labels)}
        return {"accuracy": accuracy(p, splits.validation.labels)[-1]}

    fit(
        model,
        TrainingBatches(splits.train, config, boxes),
        validate,
        run,
        config.loop,
        extras={
            "classes": list(classes),
            "image_shape": image_shape(splits, config),
            "digest": digest(examples(splits.train), examples(splits.validation)),
        },
        graph=session.graph,
    )
    if run.writes:
        best, _ = open_model(run.directory, device)
        Console().print(report_errors(best, splits))
        print(f"images: {describe(splits, config)}")
        drawing = draw(best, splits.validation, run.directory)
        print(f"{run.directory} holds the run; where it looked: {drawing}")


def report_errors(model: RecurrentAttention, splits: Splits) -> Table:
    """Return the errors on the test images."""
    part = test_part(splits)
    if model.config.sequence is not None:
        return sequences.table(sequences.measure(model, splits.test, model.config.glimpses), part)
    return tables(measure(model, splits.test, model.config.glimpses), part)[0]


def start_from(model: RecurrentAttention, path: str, classes: Sequence[str]) -> None:
    """Load the weights of a trained model.

    Raises `InputError` if they are of a model of other sizes or classes.
    """
    first, saved = open_model(path, "cpu")
    if saved["extras"]["classes"] != list(classes):
        raise InputError(f"{path} knows other classes: {', '.join(saved['extras']['classes'])}")
    checkpoint.restore(model, first.state_dict(), path)


def image_shape(splits: Splits, config: Config) -> list[int | None]:
    """Return channels, height and width of the images; None for sizes that differ."""
    sizes = set(splits.validation.sizes)
    if config.canvas is None:  # training images are put on canvases as they are needed
        sizes |= set(splits.train.sizes)
    height, width = sizes.pop() if len(sizes) == 1 else (None, None)
    return [splits.validation.channels, height, width]


def describe(splits: Splits, config: Config) -> str:
    """Return at which size (height x width) the images were used."""
    sizes = describe_sizes(splits.train.sizes)
    if config.canvas is not None:
        return f"{sizes} pixels, on canvases of {config.canvas[0]}x{config.canvas[1]}"
    if config.image_size is None:
        return f"used at their native size, {sizes} pixels"
    return f"brought to {sizes} pixels (--image-size)"


def draw(model: RecurrentAttention, images: Labelled, folder: Path) -> Path:
    """Write the scanpaths on the first image of each of a few classes; return the file."""
    from glimpse.pictures import drawing

    labels = images.labels.view(len(images), -1)[:, 0].tolist()
    firsts = [labels.index(label) for label in sorted(set(labels))][:PICTURES]
    few = images[torch.tensor(firsts, device=images.labels.device)]
    pixels = few.fetch(torch.arange(len(few), device=images.labels.device))
    paths = follow(model, pixels, few.classes, model.config.glimpses)
    replace(folder / "scanpaths.png", drawing.contact_sheet(paths, sequences.names(few)))
    return folder / "scanpaths.png"


if __name__ == "__main__":
    raise SystemExit(cli.script("glimpse train"))
