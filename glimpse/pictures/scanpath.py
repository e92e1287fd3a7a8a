"""Scanpaths: where a model looked at an image, what it saw there and what it predicted."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped
from PIL import Image
from torch import Tensor

from datasets.images.sequences import END
from glimpse.metrics.stopping import last_glimpses
from glimpse.model import Policy, RecurrentAttention, greedy
from glimpse.sensor import Batch, half_sizes


@dataclass(frozen=True, eq=False)
class Scanpath:
    """One image and a model's glimpses at it, on the CPU."""

    picture: Image.Image  # the image as the model was shown it
    locations: Float[Tensor, "glimpses 2"]
    corners: Int[Tensor, "glimpses scales 2"]  # top left pixel (x, y) of every patch
    widths: list[int]  # of the patches, in pixels
    patches: Float[Tensor, "glimpses channels scales size size"]
    probabilities: Float[Tensor, "glimpses classes"]
    classes: tuple[str, ...]
    symbol_glimpses: int | None = None  # glimpses at each symbol, where a sequence is read

    def __len__(self) -> int:
        return len(self.locations)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the image in pixels."""
        return self.picture.height, self.picture.width

    def until_sure(self, threshold: float) -> "Scanpath":
        """Return the scanpath up to the glimpse after which the model answers."""
        return self._first(1 + int(last_glimpses(self.probabilities[:, None], threshold)))

    def until_end(self) -> "Scanpath":
        """Return the scanpath up to the glimpse after which the end of the sequence was told."""
        assert self.symbol_glimpses is not None
        symbols = self.probabilities[self.symbol_glimpses - 1 :: self.symbol_glimpses].argmax(-1)
        end = len(self.classes) - 1
        count = (symbols != end).int().cumprod(0).sum() + 1  # the end itself included
        return self._first(self.symbol_glimpses * int(count))

    def _first(self, glimpses: int) -> "Scanpath":
        return replace(
            self,
            locations=self.locations[:glimpses],
            corners=self.corners[:glimpses],
            patches=self.patches[:glimpses],
            probabilities=self.probabilities[:glimpses],
        )

    def answering(self, glimpse: int = -1) -> list[int]:
        """Return which glimpses answer: this one, and before it the last at each symbol read."""
        last = range(len(self))[glimpse]
        if self.symbol_glimpses is None:
            return [last]
        return [*range(self.symbol_glimpses - 1, last, self.symbol_glimpses), last]

    def best(self, glimpse: int = -1) -> tuple[str, float]:
        """Return the most probable class after a glimpse, and its probability.

        Of a sequence, return what was read by then, and the product of its probabilities.
        """
        probabilities, labels = self.probabilities[self.answering(glimpse)].max(-1)
        names = [self.classes[label] for label in labels.tolist()]
        if self.symbol_glimpses is not None and names[-1] == END:
            names.pop()
        return " ".join(names) or "nothing", float(probabilities.prod())


@torch.no_grad()
def follow(
    model: RecurrentAttention,
    images: Batch,
    classes: Sequence[str],
    glimpses: int,
    policy: Policy = greedy,
) -> list[Scanpath]:
    """Return the rollouts of images on the model's device, `glimpses` glimpses each.

    A model of sequences has so many for each symbol, up to the end of the sequence.
    """
    episode = model.rollout(images, glimpses * model.config.symbols, policy)
    locations = episode.locations.cpu()
    patches = episode.patches.cpu()
    probabilities = episode.logits.float().softmax(-1).cpu()
    halves = half_sizes(images, episode.locations.device)
    corners = [model.retina.corners(halves, at).cpu() for at in episode.locations]
    sequential = model.config.sequence is not None
    paths = [
        Scanpath(
            to_picture(image),
            locations[:, n],
            torch.stack([corner[n] for corner in corners]),
            model.retina.widths,
            patches[:, n],
            probabilities[:, n],
            tuple(classes),
            glimpses if sequential else None,
        )
        for n, image in enumerate(images)
    ]
    return [path.until_end() for path in paths] if sequential else paths


def seen_so_far(path: Scanpath, unseen: str, side: int = 240) -> list[Image.Image]:
    """Return the image as known after each glimpse, about `side` pixels long.

    Finer patches lie on coarser ones.
    """
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
    """Return a grey or RGB image of bytes, or of numbers from 0 to 1, as a picture."""
    if image.is_floating_point():
        image = (image.clamp(0, 1) * 255).round().to(torch.uint8)
    pixels = image.cpu().numpy()
    return Image.fromarray(
        pixels[0] if len(pixels) == 1 else np.ascontiguousarray(pixels.transpose(1, 2, 0))
    )
