"""Where an image comes from: its file, and where the pixels of the file lie in the image.

A picture that is brought to a size keeps its aspect ratio and stands in the middle, on black.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

Size = tuple[int, int]
"""Height and width in pixels."""


@dataclass(frozen=True)
class Origin:
    """The file that an image was made from, and how its pixels lie in the image."""

    name: str
    """CLASS/FILE."""
    native: Size
    """Of the upright picture in the file."""
    size: Size
    """Of the image that was made of it."""

    def to_image(self, pixels: Float[Tensor, "*places 2"]) -> Float[Tensor, "*places 2"]:
        """Return places (x, y) in pixels of the file as coordinates from -1 to 1 of the image."""
        offset, scale = self._placing()
        return (offset + pixels * scale) * 2 / _sides(self.size) - 1

    def to_file(self, places: Float[Tensor, "*places 2"]) -> Float[Tensor, "*places 2"]:
        """Return places (x, y) from -1 to 1 of the image in pixels of the file."""
        offset, scale = self._placing()
        return ((places + 1) / 2 * _sides(self.size) - offset) / scale

    def _placing(self) -> tuple[Float[Tensor, "2"], Float[Tensor, "2"]]:
        """Return the offset of the picture in the image, and image pixels per file pixel (x, y)."""
        left, top, width, height = placed(self.native, self.size)
        return torch.tensor([left, top]), torch.tensor([width, height]) / _sides(self.native)


def placed(native: Size, size: Size) -> tuple[int, int, int, int]:
    """Return left, top, width and height, in pixels, of a picture letterboxed into `size`."""
    height, width = native
    scale = min(size[0] / height, size[1] / width)
    inner_width = max(1, round(width * scale))
    inner_height = max(1, round(height * scale))
    return (size[1] - inner_width) // 2, (size[0] - inner_height) // 2, inner_width, inner_height


def letterbox(picture: Image.Image, size: Size) -> Image.Image:
    """Return the picture scaled to fit into `size`, in the middle, on black."""
    height, width = size
    if picture.size == (width, height):
        return picture
    left, top, inner_width, inner_height = placed((picture.height, picture.width), size)
    box = Image.new(picture.mode, (width, height))
    box.paste(picture.resize((inner_width, inner_height)), (left, top))
    return box


def _sides(size: Size) -> Float[Tensor, "2"]:
    """Return width and height, in the order of x and y."""
    return torch.tensor([size[1], size[0]], dtype=torch.float32)
