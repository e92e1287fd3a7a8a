"""The retina: patches around a location, each wider and coarser (Mnih et al. 2014, fig. 1A).

**Locations** are (x, y) in [-1, 1]: (-1, -1) is the top left corner of the image, (0, 0) its
centre, (1, 1) its bottom right corner, whatever its size. Pixel edges are whole numbers, so every
patch is centred on column (x + 1) / 2 * width and on row (y + 1) / 2 * height:

    x = -1        0        1
      +-----------+--------+   y = -1    patch k is w_k = round(w * factor ** k) pixels wide and cut
      |       +---+---+    |             into g x g cells; a cell holds the mean of its pixels.
      |       | +-+-+ |    |             Pixels outside the image are 0.
      |       | | . | |    |   y =  0
      |       | +---+ |    |
      +-------+-------+----+   y =  1

Patches snap to whole pixels, and cells are exact means. The images of a batch may differ in size.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

from core.errors import InputError
from glimpse.fast import compiled

Batch = Shaped[Tensor, "batch channels height width"] | Sequence[Tensor]
"""Images of one size as one tensor, or of several sizes as a list of [channels, height, width]."""


class Prepared(NamedTuple):
    """A batch of images made ready for glimpses: read by C where they lie, or as sums."""

    half_sizes: Float[Tensor, "batch 2"]  # half of width and height, in pixels
    images: compiled.Images | None
    sums: Shaped[Tensor, "batch channels height+1 width+1"] | None = None


class Retina(nn.Module):
    """`scales` patches of `size` x `size` cells, patch k about `width * factor ** k` pixels wide.

    `width` is `size` unless it is given: a cell of the finest patch is then one pixel.

    Call `prepare` once for a batch of images, then the retina for each glimpse. Images of bytes in
    CPU memory are read by C, with nothing to prepare (glimpse/fast/c/sensor.c). Of others, integral
    images are prepared (Crow 1984): four look-ups a cell, however wide it is. Both give the same
    bits. No gradient runs through the retina.

    Raises `InputError` for a geometry whose patches would coincide or vanish.
    """

    edges: Tensor
    areas: Tensor
    half_widths: Tensor

    def __init__(self, size: int, scales: int = 1, factor: float = 2.0, width: int | None = None):
        super().__init__()
        if size < 1 or scales < 1:
            raise InputError(
                f"a retina needs at least one patch of one cell, not {scales} of {size} x {size}"
            )
        widths = [round((width or size) * factor**k) for k in range(scales)]
        if widths[0] < size:
            raise InputError(f"{size} cells need patches of as many pixels, not {widths[0]}")
        if any(wide <= narrow for narrow, wide in pairwise(widths)):
            raise InputError(
                f"factor {factor} gives patches of {widths} pixels: "
                "each must be wider than the last"
            )
        self.size = size
        self.scales = scales
        self.widths = widths
        edges = torch.stack([_cell_edges(size, width) for width in widths])
        sides = edges.diff()
        self.register_buffer("edges", edges, persistent=False)
        self.register_buffer("areas", sides[:, :, None] * sides[:, None, :], persistent=False)
        self.register_buffer("half_widths", torch.tensor(widths) / 2, persistent=False)

    def prepare(self, images: Batch) -> Prepared:
        """Do once what all glimpses at these images share; uint8 images are read as value / 255."""
        halves = half_sizes(images, self.half_widths.device)
        if compiled.readable(images):
            return Prepared(halves, compiled.take(images))
        return Prepared(halves, None, _integral(_padded(images)))

    @torch.no_grad()
    def forward(
        self, prepared: Prepared, locations: Float[Tensor, "batch 2"]
    ) -> Float[Tensor, "batch channels scales size size"]:
        """Return the patches at `locations`.

        Raises `ValueError` for another number of locations than images.
        """
        if locations.shape != prepared.half_sizes.shape:
            raise ValueError(
                f"locations {list(locations.shape)} for {len(prepared.half_sizes)} images"
            )
        if prepared.images is not None:
            patches = compiled.extract(prepared.images, self.edges, locations)
        else:
            assert prepared.sums is not None
            patches = self._look_up(prepared.sums, self.corners(prepared.half_sizes, locations))
        return patches.to(locations.dtype)

    def corners(
        self, half_sizes: Float[Tensor, "batch 2"], locations: Float[Tensor, "batch 2"]
    ) -> Int[Tensor, "batch scales 2"]:
        """Return the top left pixel (x, y) of every patch, rounded to the nearest whole one."""
        centres = (locations + 1) * half_sizes.to(locations.dtype)
        half_widths = self.half_widths[:, None].to(locations.dtype)
        first = torch.floor(centres[:, None, :] - half_widths + 0.5)
        return first.nan_to_num(0).long()  # NaN of diverged weights is reported by the loss

    def _look_up(
        self,
        sums: Shaped[Tensor, "batch channels height+1 width+1"],
        corners: Int[Tensor, "batch scales 2"],
    ) -> Float[Tensor, "batch channels scales size size"]:
        """Read the mean of every cell off integral images."""
        height, width = sums.shape[2] - 1, sums.shape[3] - 1
        x = (corners[..., 0, None] + self.edges).clamp_(0, width)
        y = (corners[..., 1, None] + self.edges).clamp_(0, height)
        index = (y * (width + 1))[..., :, None] + x[..., None, :]
        flat = index.flatten(1)[:, None].expand(-1, sums.shape[1], -1)
        at_edges = sums.flatten(2).gather(2, flat).unflatten(2, index.shape[1:])
        strips = at_edges[..., 1:, :] - at_edges[..., :-1, :]
        cells = strips[..., 1:] - strips[..., :-1]
        if cells.is_floating_point():
            return cells / self.areas
        return cells * (1 / (255 * self.areas))


def half_sizes_of(sizes: Sequence[tuple[int, int]]) -> Float[Tensor, "batch 2"]:
    """Return half of width and height for image sizes (height, width)."""
    return torch.tensor([(width / 2, height / 2) for height, width in sizes])


def half_sizes(images: Batch, device: torch.device) -> Float[Tensor, "batch 2"]:
    """Return half of width and height of the images, in pixels."""
    if not isinstance(images, Tensor):
        return half_sizes_of([(image.shape[1], image.shape[2]) for image in images]).to(device)
    count, height, width = images.shape[0], images.shape[-2], images.shape[-1]
    x = torch.full((count,), width / 2, device=device)  # filled on a GPU: nothing is copied to it
    y = torch.full((count,), height / 2, device=device)
    return torch.stack((x, y), -1)


def _padded(images: Batch) -> Shaped[Tensor, "batch channels height width"]:
    """Put images of several sizes into the top left corners of one tensor of zeros."""
    if isinstance(images, Tensor):
        return images
    height = max(image.shape[1] for image in images)
    width = max(image.shape[2] for image in images)
    margins = [(0, width - image.shape[2], 0, height - image.shape[1]) for image in images]
    pairs = zip(images, margins, strict=True)
    return torch.stack([F.pad(image, margin) for image, margin in pairs])


def _integral(
    images: Shaped[Tensor, "batch channels height width"],
) -> Shaped[Tensor, "batch channels height+1 width+1"]:
    """Sum the pixels above and to the left of every pixel corner.

    Bytes are summed in int32. The sums of a large image wrap around, and their differences are
    right all the same (arithmetic modulo 2^32) for cells of fewer than 2^31 / 255 pixels, 8.4
    million; float images are summed in float64.
    """
    dtype = torch.float64 if images.is_floating_point() else torch.int32
    sums = images.cumsum(-1, dtype=dtype).cumsum(-2, dtype=dtype)
    return F.pad(sums, (1, 0, 1, 0))


def _cell_edges(size: int, width: int) -> Int[Tensor, "size+1"]:
    """Cut `width` pixels into `size` cells, as even as whole pixels allow."""
    return torch.round(torch.arange(size + 1) * (width / size)).long()
