"""Elastic distortion of handwriting, a batch at once (Simard, Steinkraus, Platt 2003, section 2).

Each image is turned, sheared and stretched a little, and its pixels are moved by a smooth random
field. The field is noise on a coarse grid, interpolated; the paper smooths noise of every pixel by
a Gaussian instead. torchvision's `RandomAffine` and `ElasticTransform` change one image at a time.
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor

from glimpse.sensor import Batch

KNOTS = 5  # rows and columns of the coarse grid
DRAWS = 4 + 2 * KNOTS**2  # standard normal numbers for each image
MOST = 2.0  # standard deviations: what is drawn beyond is cut off

# Standard deviations.
ANGLE = math.radians(7)
SHEAR = 0.1
STRETCH = 0.07  # of width and height, each on its own
MOVE = 0.045  # of the knots, in halves of the image's sides


def draw(batch: int, generator: torch.Generator) -> Float[Tensor, "batch draws"]:
    """Return the random numbers that say how each image is distorted."""
    numbers = torch.randn((batch, DRAWS), generator=generator, device=generator.device)
    return numbers.clamp(-MOST, MOST)


def distort(
    images: UInt8[Tensor, "batch channels height width"], draws: Float[Tensor, "batch draws"]
) -> UInt8[Tensor, "batch channels height width"]:
    """Return the images distorted; what comes in from outside is 0.

    A pixel of the result at (x, y) is read where this matrix, and the field, send it:

        (1 + stretch_x  0            ) (cos a  -sin a) (1  shear) (x)
        (0              1 + stretch_y) (sin a   cos a) (0  1    ) (y)
    """
    height, width = images.shape[2:]
    # Of twice the pixels, so that dividing by the sides gives places from -1 to 1.
    y = _centred(height, draws)[:, None] * height
    x = _centred(width, draws) * width
    angle, shear, stretch_x, stretch_y = draws[:, :4, None, None].unbind(1)
    sine = torch.sin(ANGLE * angle)
    cosine = torch.cos(ANGLE * angle)
    slanted = x + SHEAR * shear * y
    from_x = (cosine * slanted - sine * y) * (1 + STRETCH * stretch_x) / width
    from_y = (sine * slanted + cosine * y) * (1 + STRETCH * stretch_y) / height
    places = torch.stack((from_x, from_y), -1) + MOVE * _field(draws[:, 4:], height, width)
    distorted = F.grid_sample(images.to(places.dtype), places, align_corners=False)
    return distorted.round_().to(torch.uint8)


def distort_each(images: Batch, draws: Float[Tensor, "batch draws"]) -> Batch:
    """Return the images of a batch distorted, whether they are of one size or of several."""
    if isinstance(images, Tensor):
        return distort(images, draws)
    pairs = zip(images, draws, strict=True)
    return [distort(image[None], own[None])[0] for image, own in pairs]


def _centred(size: int, like: Tensor) -> Float[Tensor, " size"]:
    """Return where the centres of `size` pixels lie between -1 and 1."""
    return (torch.arange(size, device=like.device, dtype=like.dtype) + 0.5) * (2 / size) - 1


def _field(
    knots: Float[Tensor, "batch draws"], height: int, width: int
) -> Float[Tensor, "batch height width 2"]:
    """Return how far each pixel is moved, in standard deviations of the knots."""
    grid = knots.unflatten(1, (2, KNOTS, KNOTS))
    smooth = F.interpolate(grid, (height, width), mode="bicubic", align_corners=True)
    return smooth.movedim(1, -1)
