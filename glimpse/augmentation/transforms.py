"""Augmentation of training images by torchvision's transforms v2, their boxes turned along.

Each image of a batch is changed on its own. What is drawn is a function of the generator alone, for
the whole batch whichever of its rows are made.

    turns     quarter turns
    flips     left and right exchanged, or not
    scale     0.8 to 1.25 times as large
    colour    brightness, contrast and (RGB) saturation 0.7 to 1.3 times as strong

`elastic`, which changes a whole batch at once, stands in glimpse/augmentation/elastic.py.
"""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Shaped
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms.v2 import functional as transforms

from datasets.images.boxes import Boxes
from glimpse.sensor import Batch

DRAWS = 6  # random numbers for each image
LARGEST = 1.25  # factor of the scale
STRONGEST = 0.3  # change of a colour

Image = Shaped[Tensor, "channels height width"]


def draw(batch: int, generator: torch.Generator) -> Float[Tensor, "batch draws"]:
    """Return the random numbers, from 0 to 1, that say how each image is changed."""
    return torch.rand((batch, DRAWS), generator=generator, device=generator.device)


def augment(
    image: Image, boxes: Boxes | None, draws: Float[Tensor, " draws"], names: Sequence[str]
) -> tuple[Image, Boxes | None]:
    """Return an image changed by the named transforms, and its boxes [most, 4] (-1 to 1)."""
    turn, flip, scale, brightness, contrast, saturation = draws.tolist()
    marks: Any = _to_pixels(boxes, image)
    if "turns" in names:
        angle = 90 * int(4 * turn)
        image, marks = (transforms.rotate(each, angle, expand=True) for each in (image, marks))
    if "flips" in names and flip < 0.5:
        image, marks = (transforms.horizontal_flip(each) for each in (image, marks))
    if "scale" in names:
        factor = LARGEST ** (2 * scale - 1)
        size = [max(1, round(factor * side)) for side in image.shape[1:]]
        image, marks = (transforms.resize(each, size) for each in (image, marks))
    if "colour" in names:
        image = transforms.adjust_brightness(image, _strength(brightness))
        image = transforms.adjust_contrast(image, _strength(contrast))
        if len(image) == 3:
            image = transforms.adjust_saturation(image, _strength(saturation))
    return image, None if boxes is None else _from_pixels(marks)


def augment_batch(
    images: Batch, boxes: Boxes | None, draws: Float[Tensor, "batch draws"], names: Sequence[str]
) -> tuple[Batch, Boxes | None]:
    """Return a batch changed by the named transforms, image by image, and its boxes.

    It is one tensor if all images have one size.
    """
    changed = []
    marks = []
    for n, image in enumerate(images):
        own = None if boxes is None else boxes[n]
        image, own = augment(image, own, draws[n], names)
        changed.append(image)
        marks.append(own)
    one_size = isinstance(images, Tensor) and len({image.shape for image in changed}) == 1
    batch = torch.stack(changed) if one_size else [image.contiguous() for image in changed]
    return batch, None if boxes is None else torch.stack(marks)


def _strength(drawn: float) -> float:
    """Return a factor from 0.7 to 1.3."""
    return 1 + STRONGEST * (2 * drawn - 1)


def _to_pixels(boxes: Boxes | None, image: Image) -> tv_tensors.BoundingBoxes:
    height, width = image.shape[1:]
    scale = torch.tensor([width, height, width, height]) / 2
    pixels = torch.zeros(0, 4) if boxes is None else (boxes + 1) * scale.to(boxes)
    canvas: Any = {"format": "XYXY", "canvas_size": (height, width)}
    return tv_tensors.BoundingBoxes(pixels, **canvas)


def _from_pixels(marks: tv_tensors.BoundingBoxes) -> Boxes:
    height, width = marks.canvas_size
    scale = torch.tensor([width, height, width, height]) / 2
    return marks.as_subclass(Tensor) / scale.to(marks) - 1
