"""The retina: patches around one location, each wider and coarser than the last (Mnih et al. 2014, fig. 1A).

**Locations** are (x, y) in [-1, 1]: (-1, -1) is the top left corner of the image, (0, 0) its centre, (1, 1) its
bottom right corner, whatever its size. Pixel edges are whole numbers, so every patch is centred on column
(x + 1) / 2 * width and on row (y + 1) / 2 * height:

    x = -1        0        1
      +-----------+--------+   y = -1    patch k is w_k = round(g * factor ** k) pixels wide and cut into g x g
      |       +---+---+    |             cells; a cell holds the mean of its pixels. Outside the image is 0.
      |       | +-+-+ |    |
      |       | | . | |    |   y =  0
      |       | +---+ |    |
      +-------+-------+----+   y =  1

All methods keep one contract, `prepared = sensor.prepare(images)` once, then `sensor(prepared, locations)` for
each glimpse. `direct`, `gather` and `integral` snap patches to whole pixels and return the exact means; `mipmap`
moves in fractions of a pixel, is anti-aliased (in full where the factor is a power of 2), and is differentiable in
the location. After `prepare` the cost of a glimpse does not grow with the image.
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

from core.errors import InputError
from glimpse import compiled


class Prepared(NamedTuple):
    """Images made ready for glimpses: what the method looks things up in, and their size in pixels."""

    tables: tuple[Tensor, ...]
    height: int
    width: int
    direct: bool = (
        False  # the tables are the images themselves and where cells end, as sensor.c reads them
    )


class Sensor(nn.Module):
    """`scales` patches of `size` x `size` cells, patch k about `size * factor ** k` pixels wide.

    Raises `InputError` for a geometry whose patches would coincide or vanish.
    """

    halves: Tensor

    def __init__(self, size: int, scales: int = 1, factor: float = 2.0):
        super().__init__()
        if size < 1 or scales < 1:
            raise InputError(
                f"a retina needs at least one patch of one cell, not {scales} of {size} x {size}"
            )
        self.size, self.scales, self.factor = size, scales, factor
        self.widths = [round(size * factor**k) for k in range(scales)]
        self.register_buffer("halves", torch.tensor(self.widths) / 2, persistent=False)
        if any(b <= a for a, b in zip(self.widths, self.widths[1:], strict=False)):
            raise InputError(
                f"factor {factor} gives patches of {self.widths} pixels: each must be wider than the last"
            )

    def prepare(self, images: Shaped[Tensor, "batch channels height width"]) -> Prepared:
        """Do once what every glimpse at these images shares; uint8 images are read as value / 255."""
        raise NotImplementedError

    def forward(
        self, prepared: Prepared, locations: Float[Tensor, "batch 2"]
    ) -> Float[Tensor, "batch channels scales size size"]:
        """Return what the retina sees at `locations`."""
        raise NotImplementedError

    def write(
        self,
        prepared: Prepared,
        locations: Float[Tensor, "batch 2"],
        seen: Float[Tensor, "batch channels scales size size"],
    ) -> None:
        """Write what the retina sees at `locations` to `seen`."""
        seen.copy_(self(prepared, locations))

    def corner(
        self, prepared: Prepared, locations: Float[Tensor, "batch 2"]
    ) -> Int[Tensor, "batch scales 2"]:
        """Top left pixel (x, y) of every patch, the nearest whole pixel to the true one."""
        halves = self.halves[:, None].to(locations.dtype)
        first = torch.floor(_centre(prepared, locations)[:, None, :] - halves + 0.5)
        return first.nan_to_num(0).long()  # weights that diverged fail in the loss, not here


class GatherSensor(Sensor):
    """Cuts the patches out of the padded image and averages their cells: exact, best for one narrow patch."""

    def __init__(self, size: int, scales: int = 1, factor: float = 2.0):
        super().__init__(size, scales, factor)
        for k, width in enumerate(self.widths[1:], 1):
            self.register_buffer(f"mean{k}", _cell_means(size, width), persistent=False)

    def prepare(self, images: Shaped[Tensor, "batch channels height width"]) -> Prepared:
        """Surround the images with enough zeros for a patch centred on the very corner."""
        height, width = images.shape[-2:]
        return Prepared((F.pad(images, [(self.widths[-1] + 1) // 2] * 4),), height, width)

    def forward(
        self, prepared: Prepared, locations: Float[Tensor, "batch 2"]
    ) -> Float[Tensor, "batch channels scales size size"]:
        """Return what the retina sees at `locations`."""
        (padded,) = prepared.tables
        corners = self.corner(prepared, locations) + (self.widths[-1] + 1) // 2
        rows = torch.arange(
            padded.shape[0], device=padded.device
        )  # len() would be a constant of exported programs
        patches = []
        for k, width in enumerate(self.widths):
            x, y = corners[:, k].unbind(-1)
            # Every window of the image as a view; only the chosen ones are copied.
            pixels = _unit(padded.unfold(2, width, 1).unfold(3, width, 1)[rows, :, y, x])
            if k > 0:
                mean = self.get_buffer(f"mean{k}").to(pixels.dtype)
                pixels = mean @ pixels @ mean.T
            patches.append(pixels)
        return torch.stack(patches, 2)


class IntegralSensor(Sensor):
    """Reads every cell off an integral image (Crow 1984): exact, four look-ups a cell however wide it is."""

    edges: Tensor
    areas: Tensor

    def __init__(self, size: int, scales: int = 1, factor: float = 2.0):
        super().__init__(size, scales, factor)
        edges = torch.stack([_cell_edges(size, width) for width in self.widths])
        sides = edges.diff()
        self.register_buffer("edges", edges, persistent=False)
        self.register_buffer("areas", sides[:, :, None] * sides[:, None, :], persistent=False)

    def prepare(self, images: Shaped[Tensor, "batch channels height width"]) -> Prepared:
        """Sum the pixels above and to the left of every pixel corner.

        Bytes are summed in int32. The sums of a large image wrap around, and the differences taken of them come
        out right all the same (arithmetic modulo 2^32); float images are summed in float64.
        """
        height, width = images.shape[-2:]
        dtype = torch.float64 if images.is_floating_point() else torch.int32
        sums = images.cumsum(-1, dtype=dtype).cumsum(-2, dtype=dtype)
        return Prepared((F.pad(sums, (1, 0, 1, 0)).flatten(2),), height, width)

    def forward(
        self, prepared: Prepared, locations: Float[Tensor, "batch 2"]
    ) -> Float[Tensor, "batch channels scales size size"]:
        """Return what the retina sees at `locations`."""
        (sums,) = prepared.tables
        corner = self.corner(prepared, locations)
        x = (corner[..., 0, None] + self.edges).clamp_(0, prepared.width)
        y = (corner[..., 1, None] + self.edges).clamp_(0, prepared.height)
        index = (y * (prepared.width + 1))[..., :, None] + x[..., None, :]
        flat = index.flatten(1)[:, None].expand(-1, sums.shape[1], -1)
        at_edges = sums.gather(2, flat).unflatten(2, index.shape[1:])
        strips = at_edges[..., 1:, :] - at_edges[..., :-1, :]
        cells = strips[..., 1:] - strips[..., :-1]
        if cells.is_floating_point():
            return (cells / self.areas).to(locations.dtype)
        return cells * (1 / (255 * self.areas))


class DirectSensor(Sensor):
    """Adds up the bytes of every cell where they lie, in C (sensor.c): exact, with nothing to prepare.

    What that cannot read another exact method does: floats, images on another device, any where there is no compiler.
    One patch of single pixels is gathered; wider patches are read off the integral image.
    """

    edges: Tensor

    def __init__(self, size: int, scales: int = 1, factor: float = 2.0):
        super().__init__(size, scales, factor)
        self.other = (GatherSensor if scales == 1 else IntegralSensor)(size, scales, factor)
        edges = torch.stack([_cell_edges(size, width) for width in self.widths])
        self.register_buffer("edges", edges, persistent=False)

    def prepare(self, images: Shaped[Tensor, "batch channels height width"]) -> Prepared:
        """Take the images as they are."""
        if not compiled.reads(images):
            return self.other.prepare(images)
        return Prepared((images.contiguous(), self.edges), *images.shape[-2:], direct=True)

    def forward(
        self, prepared: Prepared, locations: Float[Tensor, "batch 2"]
    ) -> Float[Tensor, "batch channels scales size size"]:
        """Return what the retina sees at `locations`."""
        if not prepared.direct:
            return self.other(prepared, locations)
        shape = *prepared.tables[0].shape[:2], self.scales, self.size, self.size
        seen = torch.empty(shape)
        self.write(prepared, locations, seen)
        return seen

    def write(
        self,
        prepared: Prepared,
        locations: Float[Tensor, "batch 2"],
        seen: Float[Tensor, "batch channels scales size size"],
    ) -> None:
        """Write what the retina sees at `locations` to `seen`."""
        if prepared.direct and seen.dtype == torch.float32 and seen.is_contiguous():
            compiled.see(
                compiled.retina(*prepared.tables),
                self.widths[-1],
                locations.float().contiguous(),
                seen,
            )
        else:
            super().write(prepared, locations, seen)


class MipmapSensor(Sensor):
    """Samples an image pyramid bilinearly (Williams 1983): sub-pixel, and differentiable in the location."""

    def prepare(self, images: Shaped[Tensor, "batch channels height width"]) -> Prepared:
        """Halve the images until a pixel is about as large as the widest patch's cell."""
        height, width = images.shape[-2:]
        levels = [_unit(images)]
        for _ in range(self._level(self.scales - 1)):
            bottom, right = levels[-1].shape[-2] % 2, levels[-1].shape[-1] % 2
            levels.append(F.avg_pool2d(F.pad(levels[-1], (0, right, 0, bottom)), 2))
        return Prepared(tuple(levels), height, width)

    def forward(
        self, prepared: Prepared, locations: Float[Tensor, "batch 2"]
    ) -> Float[Tensor, "batch channels scales size size"]:
        """Return what the retina sees at `locations`, with a gradient in them."""
        centre_x, centre_y = _centre(prepared, locations).unsqueeze(-1).unbind(1)
        unit_cells = (
            torch.arange(self.size, device=locations.device, dtype=locations.dtype)
            + 0.5
            - self.size / 2
        )
        patches = []
        for k in range(self.scales):
            level = prepared.tables[self._level(k)]
            height, width = (2 ** self._level(k) * pixels for pixels in level.shape[-2:])
            offsets = unit_cells * (self.widths[k] / self.size)
            x, y = (centre_x + offsets) * (2 / width) - 1, (centre_y + offsets) * (2 / height) - 1
            grid = torch.stack(torch.broadcast_tensors(x[:, None, :], y[:, :, None]), -1)
            patches.append(F.grid_sample(level, grid.to(level.dtype), align_corners=False))
        return torch.stack(patches, 2)

    def _level(self, k: int) -> int:
        """The pyramid level whose pixels are as large as patch k's cells, or the next finer one."""
        return int(math.log2(self.widths[k] / self.size))


METHODS: dict[str, type[Sensor]] = {
    "direct": DirectSensor,
    "gather": GatherSensor,
    "integral": IntegralSensor,
    "mipmap": MipmapSensor,
}


def make_sensor(size: int, scales: int = 1, factor: float = 2.0, method: str = "auto") -> Sensor:
    """Return the sensor of that method; `auto` is `direct`, the fastest of the exact ones.

    Measured on one CPU thread in `benchmarks/glimpse_step.py`. Raises `InputError` for an unknown method.
    """
    method = "direct" if method == "auto" else method
    if method not in METHODS:
        raise InputError(f"unknown glimpse method {method!r}: choose auto, {', '.join(METHODS)}")
    return METHODS[method](size, scales, factor)


def _centre(prepared: Prepared, locations: Float[Tensor, "batch 2"]) -> Float[Tensor, "batch 2"]:
    """Locations in pixels. Sizes stay numbers of Python's: made into tensors, a GPU would be waited for."""
    x, y = (locations + 1).unbind(-1)
    return torch.stack((x * (prepared.width / 2), y * (prepared.height / 2)), -1)


def _unit(pixels: Tensor) -> Tensor:
    """Bytes become 0 to 1; floats stay as they are."""
    return pixels if pixels.is_floating_point() else pixels.float() / 255


def _cell_edges(size: int, width: int) -> Int[Tensor, "size+1"]:
    """Cut `width` pixels into `size` cells, as even as whole pixels allow."""
    return torch.round(torch.arange(size + 1) * (width / size)).long()


def _cell_means(size: int, width: int) -> Float[Tensor, "size width"]:
    """The matrix A for which A P A^T holds the mean of every cell of the pixels P."""
    edges, pixel = _cell_edges(size, width), torch.arange(width)
    inside = (pixel >= edges[:-1, None]) & (pixel < edges[1:, None])
    return inside.float() / inside.sum(1, keepdim=True)
