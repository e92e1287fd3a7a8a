"""Images as the network sees them, shifted or on canvases: functions of (seed, step)."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from core import rng
from core.errors import InputError
from core.training import batches
from datasets.images import boxes, digits, folders
from datasets.images.boxes import Boxes
from datasets.images.canvases import Canvas, shift
from datasets.images.sequences import SequenceCanvas
from datasets.images.splits import Images, Labelled, Splits
from glimpse.augmentation import elastic
from glimpse.augmentation.transforms import augment_batch, draw
from glimpse.config import Config
from glimpse.hints import choose_places
from glimpse.sensor import Batch

VALIDATION_SEED = 1  # of the canvases on which every model is evaluated
TEST_SEED = 2
TRAIN_SEED = 3


def load(config: Config, device: torch.device | str) -> Splits:
    """Return the splits on `device`; training images as they are, the others on canvases.

    Raises `InputError` where the data set is missing or does not fit the canvas.
    """
    splits = digits.load(
        config.data,
        root=config.root,
        download=config.download,
        size=config.image_size,
        memory=config.memory,
        workers=config.workers,
    ).to(device)
    canvas = make_canvas(config)
    if canvas is None:
        return splits
    validation = _on_canvases(splits.validation, canvas, VALIDATION_SEED)
    test = _on_canvases(splits.test, canvas, TEST_SEED)
    return Splits(_of_one_size(splits.train), validation, test)


def load_own(
    config: Config, extras: Mapping[str, Any], data: str, device: torch.device | str
) -> Labelled:
    """Return all images of another data set or class folder, prepared for a trained model.

    Images of a folder are brought to the size and the channels of the training images.
    Raises `InputError` where the data set is missing or has other classes.
    """
    if data in digits.NAMES:
        config = replace(config, data=data)
        splits = load(config, device)
        canvas = make_canvas(config)
        train = splits.train
        if canvas is not None:
            train = _on_canvases(train, canvas, TRAIN_SEED)
        return folders.join([train, splits.validation, splits.test])
    channels, height, width = extras["image_shape"]
    if not Path(data).is_dir():
        raise InputError(f"no data set or folder is called {data!r}")
    return folders.load_all(
        data,
        tuple(extras["classes"]),
        grey=channels == 1,
        size=None if height is None else (height, width),
        memory=config.memory,
        workers=config.workers,
    ).to(device)


def load_own_split(
    config: Config,
    extras: Mapping[str, Any],
    data: str,
    split: Literal["train", "validation", "test"],
    device: torch.device | str,
) -> Labelled:
    """Return a part of another data set or class folder, prepared for a trained model.

    Pictures of a folder are brought to the size and the channels of the training images.
    Raises `InputError` where the data set is missing.
    """
    if data in digits.NAMES:
        return getattr(load(replace(config, data=data), device), split)
    channels, height, width = extras["image_shape"]
    splits = digits.load(
        data,
        grey=channels == 1,
        size=None if height is None else (height, width),
        memory=config.memory,
        workers=config.workers,
    )
    return getattr(splits.to(device), split)


def load_boxes(path: str | Path, images: Labelled) -> Boxes:
    """Return the boxes of labelled images from a table, NaN where an image has fewer than others.

    Raises `InputError` for a table that cannot be read, matches none of the images, or one
    outside its picture.
    """
    if not images.origins:
        raise InputError(f"{path}: boxes belong to pictures in class folders, and these are none")
    return boxes.align(boxes.read(path), images.origins).to(images.labels.device)


def make_canvas(config: Config) -> Canvas | SequenceCanvas | None:
    """Return the canvas that images are put on, if any."""
    if config.canvas is None:
        return None
    if config.sequence is not None:
        return SequenceCanvas(config.canvas, *config.sequence)
    return Canvas(config.canvas, clutter=config.clutter, clutter_size=config.clutter_size)


@dataclass(frozen=True)
class TrainingBatches:
    """Makes the batch of a step: images, labels, the policy's noise and the part of its std left.

    With hints, their boxes and the places of guided glimpses follow. The random draws are those of
    the whole batch whichever rows are asked for, so processes that share a batch train as one
    would; only the rows asked for are painted.
    """

    source: Labelled
    config: Config
    boxes: Boxes | None = None

    def __call__(self, step: int, rows: slice) -> tuple[Any, ...]:
        """Return the rows `rows` of the batch of step `step`; the images are a `sensor.Batch`."""
        loop = self.config.loop
        device = self.source.labels.device
        indices = self._indices(step)
        generator = rng.generator(device, loop.seed, step, "batch")
        shape = self._glimpses(step), loop.batch, 2
        noise = torch.randn(shape, generator=generator, device=device)[:, rows]
        std_left = torch.full((), self.config.std_left(step), device=device)
        images, labels = self._images(step, indices[rows], rows, generator)
        if labels.ndim == 2:  # a canvas that has not grown yet has fewer symbols
            noise = noise[: self.config.glimpses * labels.shape[1]]
        marks = None if self.boxes is None else self.boxes[indices[rows]]
        if self.config.transforms:
            draws = draw(loop.batch, generator)[rows]
            images, marks = augment_batch(images, marks, draws, self.config.transforms)
        self.source.prefetch(self._indices(step + 1)[rows])
        batch = images, labels, noise, std_left
        if self.boxes is None or marks is None:
            return batch
        shape = self.config.glimpses, loop.batch, self.boxes.shape[1] + 1
        draws = torch.rand(shape, generator=generator, device=device)[:, rows]
        return *batch, marks, choose_places(marks, self.config.guided, draws)

    def _glimpses(self, step: int) -> int:
        """Return how many glimpses a step takes; of sequences, of the longest."""
        config = self.config
        if not config.extra:
            return config.symbols * config.glimpses
        generator = rng.generator("cpu", config.loop.seed, step, "extra")
        return config.glimpses + int(torch.randint(config.extra + 1, (), generator=generator))

    def _indices(self, step: int) -> Int[Tensor, " batch"]:
        """Return which images form the batch of a step."""
        loop, device = self.config.loop, self.source.labels.device
        return batches.indices(loop.seed, step, len(self.source), loop.batch, device)

    def _images(
        self, step: int, indices: Int[Tensor, " batch"], rows: slice, generator: torch.Generator
    ) -> tuple[Batch, Tensor]:
        """Return these images, shifted or on canvases if the configuration says so; the labels."""
        labels = self.source.labels[indices]
        canvas = make_canvas(self.config)
        if isinstance(canvas, SequenceCanvas):
            return self._sequences(canvas, step, indices, rows, generator)
        if canvas is not None:
            return self._canvases(canvas, indices, rows, generator), labels
        images = self._distorted(self.source.fetch(indices), rows, generator)
        return self._shifted(images, rows, generator), labels

    def _sequences(
        self,
        canvas: SequenceCanvas,
        step: int,
        indices: Int[Tensor, " batch"],
        rows: slice,
        generator: torch.Generator,
    ) -> tuple[UInt8[Tensor, "batch channels height width"], Int[Tensor, "batch symbols"]]:
        """Return canvases of sequences, which grow with the steps, and their labels."""
        source = _of_one_size(self.source)
        share = self.config.grown(step)
        if share < 1:
            canvas = canvas.grown((source.images.shape[2], source.images.shape[3]), share)
        layout = canvas.draw(source.images, self.config.loop.batch, generator)[rows]
        labels = canvas.label(source.labels, len(source.classes), indices, layout)
        chosen = canvas.choose(source.images, indices, layout)
        most = chosen.shape[1]
        flat = self._distorted(chosen.flatten(0, 1), rows, generator, most)
        assert isinstance(flat, Tensor)
        return canvas.paint(flat.unflatten(0, (-1, most)), layout), labels

    def _canvases(
        self,
        canvas: Canvas,
        indices: Int[Tensor, " batch"],
        rows: slice,
        generator: torch.Generator,
    ) -> UInt8[Tensor, "batch channels height width"]:
        """Return each image on a canvas of its own."""
        images = _of_one_size(self.source).images
        layout = canvas.draw(images, self.config.loop.batch, generator)[rows]
        placed = self._distorted(images[indices], rows, generator)
        assert isinstance(placed, Tensor)
        return canvas.paint(images, indices, layout, placed)

    def _shifted(self, images: Batch, rows: slice, generator: torch.Generator) -> Batch:
        """Return the images, each moved by a few pixels if the configuration says so."""
        most = self.config.shift
        if not most:
            return images
        shape = self.config.loop.batch, 2
        device = self.source.labels.device
        offsets = torch.randint(-most, most + 1, shape, generator=generator, device=device)[rows]
        if isinstance(images, Tensor):
            return shift(images, offsets, most)
        pairs = zip(images, offsets, strict=True)
        return [shift(image[None], offset[None], most)[0] for image, offset in pairs]

    def _distorted(
        self, images: Batch, rows: slice, generator: torch.Generator, each: int = 1
    ) -> Batch:
        """Return the images, `each` of a row, elastically distorted if the configuration says so.

        Every image is distorted in a way of its own.
        """
        if "elastic" not in self.config.augment:
            return images
        batch = self.config.loop.batch
        draws = elastic.draw(batch * each, generator).unflatten(0, (batch, each))[rows]
        return elastic.distort_each(images, draws.flatten(0, 1))


def _of_one_size(images: Labelled) -> Images:
    if isinstance(images, Images):
        return images
    raise InputError(
        "a canvas needs images of one size that fit the memory: add --image-size HEIGHT WIDTH "
        "or use --preset images, which has no canvas"
    )


def _on_canvases(images: Labelled, canvas: Canvas | SequenceCanvas, seed: int) -> Images:
    source = _of_one_size(images)
    try:
        if isinstance(canvas, SequenceCanvas):
            return canvas.fixed(source, seed)
        return Images(canvas.fixed(source.images, seed), source.labels, source.classes)
    except InputError as error:
        raise InputError(
            f"{error}; --preset images (class folders) and mnist28 have no canvas"
        ) from None
