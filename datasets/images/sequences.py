"""Canvases with several images side by side, to be read one after another from left to right.

After Ba, Mnih, Kavukcuoglu, "Multiple Object Recognition with Visual Attention" (2015), section
4.1. Every canvas holds a number of images drawn at random, from left to right, each at a random
height; none lies on another. Its label is the sequence of their classes with the class `END` after
the last, repeated up to one more place than images fit.

A canvas is drawn and painted as in `datasets.images.canvases`: `draw` says what stands where,
`choose` gives the images for that, which may then be changed, and `paint` paints them.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Int, UInt8
from torch import Tensor

from core.errors import InputError
from datasets.images.canvases import check_fit, pixel_indices
from datasets.images.splits import Images

END = "end"


@dataclass(frozen=True)
class SequenceLayout:
    """What stands where on each canvas; positions are (row, column) of a top left corner."""

    counts: Int[Tensor, " batch"]  # images on the canvas
    steps: Int[Tensor, "batch most"]  # how many places after the canvas's own image each one comes
    spots: Int[Tensor, "batch most 2"]

    def __getitem__(self, rows: slice | Int[Tensor, " rows"]) -> SequenceLayout:
        """Return the layout of some rows of the batch."""
        return SequenceLayout(self.counts[rows], self.steps[rows], self.spots[rows])

    def present(self) -> Bool[Tensor, "batch most"]:
        """Return which of the places hold an image."""
        return torch.arange(self.steps.shape[1], device=self.counts.device) < self.counts[:, None]


@dataclass(frozen=True)
class SequenceCanvas:
    """A black canvas with `least` to `most` images side by side."""

    size: tuple[int, int]
    """Height and width in pixels."""
    least: int = 2
    """Images on a canvas, at least."""
    most: int = 5
    """Images on a canvas, at most."""

    def __post_init__(self) -> None:
        if not 1 <= self.least <= self.most:
            raise InputError(f"{self.least} to {self.most} images on a canvas: at least 1 is meant")

    def grown(self, image: tuple[int, int], share: float) -> SequenceCanvas:
        """Return a canvas for images of this size that is so far between the smallest and this one.

        The smallest has little more room than two images need. A canvas has at most as many images
        as fit, and its labels are as short.
        """
        height, width = image
        smallest = min(self.size[0], height * 5 // 4), min(self.size[1], width * 9 // 4)
        between = [a + round(share * (b - a)) for a, b in zip(smallest, self.size, strict=True)]
        most = max(1, min(self.most, between[1] // width))
        size = between[0], max(between[1], most * width)
        return SequenceCanvas(size, min(self.least, most), most)

    def draw(
        self,
        images: UInt8[Tensor, "count channels height width"],
        batch: int,
        generator: torch.Generator,
    ) -> SequenceLayout:
        """Draw the layout of a batch; of `images` only the shape counts.

        Raises InputError where so many images do not fit the canvas.
        """
        height, width = images.shape[2:]
        device = generator.device
        check_fit(f"{self.most} images", (height, self.most * width), "a canvas", self.size)
        shape = batch, self.most
        span = self.most + 1 - self.least
        counts = self.least + torch.randint(span, (batch,), generator=generator, device=device)
        steps = torch.randint(len(images), shape, generator=generator, device=device)
        steps[:, 0] = 0  # the first image is the canvas's own
        lowest = self.size[0] - height
        rows = torch.randint(lowest + 1, shape, generator=generator, device=device)
        # The free columns are cut at random: that many lie left of each image.
        place = torch.arange(self.most, device=device)
        free = self.size[1] - counts[:, None] * width
        drawn = torch.rand(shape, generator=generator, device=device)
        cuts = (drawn * (free + 1)).long().clamp(max=free)
        cuts = torch.where(place < counts[:, None], cuts, free).sort().values
        columns = (place * width + cuts).clamp(max=self.size[1] - width)
        return SequenceLayout(counts, steps, torch.stack((rows, columns), -1))

    def choose(
        self,
        images: UInt8[Tensor, "count channels height width"],
        indices: Int[Tensor, " batch"],
        layout: SequenceLayout,
    ) -> UInt8[Tensor, "batch most channels height width"]:
        """Return the images for the canvases whose first ones have these indices."""
        source = (indices[:, None] + layout.steps) % len(images)
        return images.index_select(0, source.flatten()).unflatten(0, source.shape)

    def paint(
        self,
        pieces: UInt8[Tensor, "batch most channels height width"],
        layout: SequenceLayout,
    ) -> UInt8[Tensor, "batch channels canvas_height canvas_width"]:
        """Paint canvases of the pieces that are present."""
        channels, height, width = pieces.shape[2:]
        shape = (channels, *self.size)
        pieces = pieces * layout.present()[..., None, None, None]
        canvases = pieces.new_zeros(len(pieces), channels * self.size[0] * self.size[1])
        pixels = pixel_indices(layout.spots, (height, width), shape)
        canvases.scatter_reduce_(1, pixels, pieces.flatten(1), "amax")
        return canvases.view(-1, *shape)

    def label(
        self,
        labels: Int[Tensor, " count"],
        end: int,
        indices: Int[Tensor, " batch"],
        layout: SequenceLayout,
    ) -> Int[Tensor, "batch most+1"]:
        """Return the classes from left to right, and the class `end` from the last image on."""
        source = (indices[:, None] + layout.steps) % len(labels)
        sequence = labels[source].masked_fill(~layout.present(), end)
        return F.pad(sequence, (0, 1), value=end)

    def fixed(self, source: Images, seed: int) -> Images:
        """Return a canvas for every image, which depends on the seed alone, for evaluation."""
        generator = torch.Generator().manual_seed(seed)
        drawn = self.draw(source.images, len(source), generator)
        device = source.labels.device
        layout = SequenceLayout(*(part.to(device) for part in vars(drawn).values()))
        rows = torch.arange(len(source), device=device)
        canvases = []
        for part in rows.split(1024):
            pieces = self.choose(source.images, part, layout[part])
            canvases.append(self.paint(pieces, layout[part]))
        end = len(source.classes)
        labels = self.label(source.labels, end, rows, layout)
        return Images(torch.cat(canvases), labels, (*source.classes, END))


def read(symbols: Int[Tensor, "count positions"], end: int) -> Int[Tensor, "count positions"]:
    """Return sequences with `end` in all places after the first."""
    ended = (symbols == end).int().cummax(1).values.bool()
    return symbols.masked_fill(ended, end)
