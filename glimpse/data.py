"""Images as the network meets them: moved about or on canvases, each batch a function of (seed, step)."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from core import rng
from core.errors import InputError
from core.training import batches
from datasets import digits
from datasets.canvases import Canvas, shift
from datasets.splits import Images, Splits
from glimpse.config import Config

VALIDATION_SEED, TEST_SEED = 1, 2  # of the canvases that every model is judged on


def load(config: Config, device: torch.device | str) -> Splits:
    """Return the splits on `device`; training images as they are, the others on canvases of their own.

    Raises `InputError` where the data set is missing or does not fit the canvas.
    """
    splits = digits.load(
        config.data, root=config.root, download=config.download, size=config.image_size
    )
    splits = splits.to(device)
    canvas = make_canvas(config)
    if canvas is None:
        return splits
    try:
        validation = _on_canvases(splits.validation, canvas, VALIDATION_SEED)
        test = _on_canvases(splits.test, canvas, TEST_SEED)
    except InputError as error:
        raise InputError(
            f"{error}; --preset images (class folders) and mnist28 have no canvas"
        ) from None
    return Splits(splits.train, validation, test)


def make_canvas(config: Config) -> Canvas | None:
    """Return the canvas that images are put on, if any."""
    if config.canvas is None:
        return None
    return Canvas(config.canvas, clutter=config.clutter, clutter_size=config.clutter_size)


@dataclass(frozen=True)
class TrainingBatches:
    """Makes the batch of a step: images, labels, the noise of the location policy and what part of its std is left.

    The random draws are those of the whole batch whichever rows are asked for, so processes that share a batch
    train as one would; only the rows asked for are painted.
    """

    source: Images
    config: Config

    def __call__(
        self, step: int, rows: slice
    ) -> tuple[
        UInt8[Tensor, "batch channels height width"],
        Int[Tensor, " batch"],
        Float[Tensor, "glimpses batch 2"],
        Float[Tensor, ""],
    ]:
        """Return the rows `rows` of the batch of step `step`."""
        loop, source, device = self.config.loop, self.source, self.source.images.device
        chosen = batches.indices(loop.seed, step, len(source), loop.batch, device)[rows]
        random = rng.generator(device, loop.seed, step, "batch")
        noise = torch.randn(self.config.glimpses, loop.batch, 2, generator=random, device=device)[
            :, rows
        ]
        left = torch.full((), self.config.std_left(step), device=device)
        return self._images(chosen, rows, random), source.labels[chosen], noise, left

    def _images(
        self, chosen: Int[Tensor, " batch"], rows: slice, random: torch.Generator
    ) -> UInt8[Tensor, "batch channels height width"]:
        images, size = self.source.images, self.config.loop.batch
        canvas = make_canvas(self.config)
        if canvas is not None:
            return canvas.paint(images, chosen, canvas.draw(images, size, random)[rows])
        most = self.config.shift
        if not most:
            return images.index_select(0, chosen)
        offsets = torch.randint(-most, most + 1, (size, 2), generator=random, device=images.device)
        return shift(images.index_select(0, chosen), offsets[rows], most)


def _on_canvases(images: Images, canvas: Canvas, seed: int) -> Images:
    return Images(canvas.fixed(images.images, seed), images.labels, images.classes)
