"""What happened while a model looked at one image: what there is to draw and to tell."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped
from PIL import Image
from torch import Tensor

from glimpse.model import RecurrentAttention, greedy
from glimpse.sensor import half_sizes_of


@dataclass(frozen=True, eq=False)
class Scanpath:
    """One image and a model's glimpses at it, on the CPU."""

    picture: Image.Image  # for the eye, at any resolution
    size: tuple[int, int]  # height and width of the image looked at, in pixels
    locations: Float[Tensor, "glimpses 2"]
    corners: Int[Tensor, "glimpses scales 2"]  # top left pixel (x, y) of every patch
    widths: list[int]  # of the patches, in pixels
    patches: Float[Tensor, "glimpses channels scales size size"]
    probabilities: Float[Tensor, "glimpses classes"]
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.locations)

    def best(self, glimpse: int = -1) -> tuple[str, float]:
        """The most probable class after a glimpse, and its probability."""
        probability, label = self.probabilities[glimpse].max(-1)
        return self.classes[int(label)], float(probability)


@torch.no_grad()
def follow(
    model: RecurrentAttention,
    images: Shaped[Tensor, "batch channels height width"],
    classes: Sequence[str],
    glimpses: int,
    pictures: Sequence[Image.Image] | None = None,
) -> list[Scanpath]:
    """Look greedily at images on the model's device, `glimpses` times at each.

    `pictures` are for the eye, perhaps at a higher resolution; by default the images themselves.
    """
    pictures = pictures or [to_picture(image) for image in images]
    episode = model.rollout(images, glimpses, greedy)
    height, width = images.shape[-2:]
    locations, patches = episode.locations.cpu(), episode.patches.cpu()
    half_sizes = half_sizes_of([(height, width)]).to(locations)
    corners = [model.retina.corners(half_sizes, location).cpu() for location in episode.locations]
    probabilities = episode.logits.float().softmax(-1).cpu()
    return [
        Scanpath(
            picture,
            (height, width),
            locations[:, n],
            torch.stack([corner[n] for corner in corners]),
            model.retina.widths,
            patches[:, n],
            probabilities[:, n],
            tuple(classes),
        )
        for n, picture in enumerate(pictures)
    ]


def seen_so_far(path: Scanpath, unseen: str, side: int = 240) -> list[Image.Image]:
    """The image as known after each glimpse, about `side` pixels long: finer patches lie on coarser ones."""
    height, width = path.size
    scale = side / max(path.size)
    scale = round(scale) if scale >= 1 else scale  # whole, so that pixels stay equally wide
    size = max(1, round(width * scale)), max(1, round(height * scale))
    layers = [Image.new("RGBA", size) for _ in path.widths]
    frames = []
    for corners, patches in zip(path.corners.tolist(), path.patches, strict=True):
        frame = Image.new("RGBA", size, unseen)
        for k in reversed(range(len(layers))):
            wide = max(1, round(path.widths[k] * scale))
            patch = (
                to_picture(patches[:, k])
                .convert("RGBA")
                .resize((wide, wide), Image.Resampling.NEAREST)
            )
            layers[k].paste(patch, (round(corners[k][0] * scale), round(corners[k][1] * scale)))
            frame.alpha_composite(layers[k])
        frames.append(frame.convert("RGB"))
    return frames


def to_picture(image: Shaped[Tensor, "channels height width"]) -> Image.Image:
    """A grey or RGB image of bytes, or of numbers from 0 to 1, for the eye."""
    if image.is_floating_point():
        image = (image.clamp(0, 1) * 255).round().to(torch.uint8)
    pixels = image.cpu().numpy()
    return Image.fromarray(
        pixels[0] if len(pixels) == 1 else np.ascontiguousarray(pixels.transpose(1, 2, 0))
    )
