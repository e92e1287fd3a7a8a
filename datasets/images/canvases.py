"""Translated and cluttered canvases, drawn from a seed and painted for a whole batch at once.

After Mnih, Heess, Graves, Kavukcuoglu, "Recurrent Models of Visual Attention" (2014), section 4: a
digit at a random place of a larger empty canvas, and pieces of other images at random places. The
pieces are combined with the digit and with each other by maximum. The published generator
(google-deepmind/mnist-cluttered) adds and clips at white instead: of MNIST at 60x60 with four
pieces, one pixel in 800 differs, where strokes cross.

Drawing is apart from painting: in data-parallel training every rank draws the same layout for the
global batch and paints only its own rows, `canvas.paint(images, indices[rows], layout[rows])`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from jaxtyping import Int, UInt8
from torch import Tensor

from core.errors import InputError


@dataclass(frozen=True)
class Layout:
    """Where everything goes on each canvas; positions are (row, column) of a top left corner."""

    spots: Int[Tensor, "batch 2"]  # the digit, on the canvas
    steps: Int[
        Tensor, "batch pieces"
    ]  # a piece comes from the image this many places after the digit's own
    cuts: Int[Tensor, "batch pieces 2"]  # the piece, in that image
    pastes: Int[Tensor, "batch pieces 2"]  # the piece, on the canvas

    def __getitem__(self, rows: slice | Int[Tensor, " rows"]) -> Layout:
        """Return the layout of some rows of the batch."""
        return Layout(self.spots[rows], self.steps[rows], self.cuts[rows], self.pastes[rows])

    def to(self, device: torch.device | str) -> Layout:
        """Return the same layout on `device`."""
        return Layout(
            *(part.to(device) for part in (self.spots, self.steps, self.cuts, self.pastes))
        )


@dataclass(frozen=True)
class Canvas:
    """An empty canvas on which each digit is placed, with or without clutter."""

    size: tuple[int, int]
    """Height and width in pixels."""
    translate: bool = True
    """Place the digit anywhere on the canvas; otherwise in its centre."""
    clutter: int = 0
    """Number of pieces of other images on the canvas."""
    clutter_size: int = 8
    """Height and width of a piece in pixels."""

    def __post_init__(self) -> None:
        if min(*self.size, self.clutter_size) < 1 or self.clutter < 0:
            raise InputError(f"sizes must be at least 1 and clutter at least 0: {self}")

    def draw(
        self,
        images: UInt8[Tensor, "count channels height width"],
        batch: int,
        generator: torch.Generator,
    ) -> Layout:
        """Draw the layout of a batch, on the generator's device; of `images` only the shape counts.

        Raises InputError where the digit does not fit the canvas, a piece does not fit the digit,
        or there is no other image to cut a piece from.
        """
        digit, pieces = (images.shape[2], images.shape[3]), (batch, self.clutter)
        side = self.clutter_size if self.clutter else 0
        check_fit("images", digit, "a canvas", self.size)
        check_fit("clutter pieces", (side, side), "images", digit)
        if self.clutter and len(images) < 2:
            raise InputError("clutter is cut from other images: at least two images are needed")
        if self.translate:
            spots = _corners(digit, self.size, (batch,), generator)
        else:
            centre = [(outer - inner) // 2 for outer, inner in zip(self.size, digit, strict=True)]
            spots = torch.tensor(centre, device=generator.device).expand(batch, 2)
        return Layout(
            spots=spots,
            steps=torch.randint(
                1, max(len(images), 2), pieces, generator=generator, device=generator.device
            ),
            cuts=_corners((side, side), digit, pieces, generator),
            pastes=_corners((side, side), self.size, pieces, generator),
        )

    def paint(
        self,
        images: UInt8[Tensor, "count channels height width"],
        indices: Int[Tensor, " batch"],
        layout: Layout,
        placed: UInt8[Tensor, "batch channels height width"] | None = None,
    ) -> UInt8[Tensor, "batch channels canvas_height canvas_width"]:
        """Paint the images of these indices, or those in `placed`, as the layout says.

        Clutter is cut from `images`.
        """
        count, channels, height, width = images.shape
        shape = (channels, *self.size)
        canvases = images.new_zeros(len(indices), math.prod(shape))
        where = pixel_indices(layout.spots[:, None], (height, width), shape)
        if placed is None:
            placed = images.index_select(0, indices)
        canvases.scatter_(1, where, placed.flatten(1))
        if self.clutter:
            piece = (self.clutter_size, self.clutter_size)
            source = (
                indices[:, None] + layout.steps
            ) % count  # 1 <= step < count: never the digit's own
            pixels = pixel_indices(layout.cuts, piece, (channels, height, width), source)
            pieces = images.view(-1).index_select(0, pixels.view(-1)).view(pixels.shape)
            canvases.scatter_reduce_(1, pixel_indices(layout.pastes, piece, shape), pieces, "amax")
        return canvases.view(-1, *shape)

    def fixed(
        self, images: UInt8[Tensor, "count channels height width"], seed: int
    ) -> UInt8[Tensor, "count channels canvas_height canvas_width"]:
        """Return every image once, on a canvas that depends on the seed alone, for evaluation."""
        # On the CPU, so that every device gets the same.
        generator = torch.Generator().manual_seed(seed)
        layout = self.draw(images, len(images), generator).to(images.device)
        rows = torch.arange(len(images), device=images.device)
        return torch.cat([self.paint(images, part, layout[part]) for part in rows.split(1024)])


def shift(
    images: UInt8[Tensor, "batch channels height width"], offsets: Int[Tensor, "batch 2"], most: int
) -> UInt8[Tensor, "batch channels height width"]:
    """Move each image by its offset and fill with zeros.

    Offsets are rows down and columns right; negative ones are up and left.
    No offset may be beyond `most` in any direction.
    """
    batch, channels, height, width = images.shape
    framed = F.pad(images, [most] * 4)
    image = torch.arange(batch, device=images.device)
    shape = channels, height + 2 * most, width + 2 * most
    starts = pixel_indices(most - offsets[:, None], (height, 1), shape, image[:, None])
    # As many pixels from anywhere on; only the chosen ones are copied.
    rows = framed.view(-1).unfold(0, width, 1)
    return rows.index_select(0, starts.view(-1)).view(images.shape)


def check_fit(what: str, inner: tuple[int, int], where: str, outer: tuple[int, int]) -> None:
    """Raise InputError unless a box of size `inner` fits one of size `outer`."""
    if inner[0] > outer[0] or inner[1] > outer[1]:
        raise InputError(
            f"{what} of {inner[0]}x{inner[1]} pixels do not fit {where} of "
            f"{outer[0]}x{outer[1]} (height x width): "
            "choose another size"
        )


def _corners(
    inner: tuple[int, int],
    outer: tuple[int, int],
    shape: tuple[int, ...],
    generator: torch.Generator,
) -> Int[Tensor, "*shape 2"]:
    """Draw top left corners of boxes of size `inner`, uniform over all places within `outer`."""
    rows, columns = (
        torch.randint(big - small + 1, shape, generator=generator, device=generator.device)
        for small, big in zip(inner, outer, strict=True)
    )
    return torch.stack((rows, columns), -1)


def pixel_indices(
    corners: Int[Tensor, "batch boxes 2"],
    box: tuple[int, int],
    shape: tuple[int, int, int],
    image: Int[Tensor, "batch boxes"] | None = None,
) -> Int[Tensor, "batch boxes*channels*box_height*box_width"]:
    """Return the flat indices of each box's pixels in an image [channels, height, width].

    With `image`, they are indices into a stack of such images, of which each box has its own.
    """
    channels, height, width = shape
    ramp = partial(torch.arange, device=corners.device)
    planes = ramp(channels) if image is None else image[..., None] * channels + ramp(channels)
    rows = (planes[..., None] * height + corners[..., :1, None] + ramp(box[0])) * width
    columns = corners[..., 1:] + ramp(box[1])
    return (rows[..., None] + columns[:, :, None, None]).view(len(corners), -1)
