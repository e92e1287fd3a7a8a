"""Images and sentences as the captioner meets them: each batch a function of (seed, step)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from jaxtyping import Int, Shaped
from torch import Tensor

from captioning.config import Config
from core import batches
from datasets.captions import CaptionedImages
from datasets.text import Vocabulary


class Source(Protocol):
    """Images by number: the frozen encoder's features, or pixels for an encoder that is trained."""

    def __call__(self, rows: Sequence[int]) -> Shaped[Tensor, "images *shape"]:
        """The images of these numbers, stacked."""
        ...

    def __len__(self) -> int: ...


def encode(images: CaptionedImages, vocabulary: Vocabulary, longest: int) -> list[list[list[int]]]:
    """Return the captions of each image as word ids from <start> to <end>, cut at `longest` words."""
    start, end = vocabulary.start, vocabulary.end
    return [
        [[start, *vocabulary.encode(caption)[:longest], end] for caption in image.captions] for image in images
    ]


def pad(sentences: Sequence[Sequence[int]], value: int) -> Int[Tensor, "rows time"]:
    """Return sentences as one tensor, filled up with `value`."""
    longest = max(map(len, sentences))
    return torch.tensor([[*sentence, *[value] * (longest - len(sentence))] for sentence in sentences])


@dataclass(frozen=True)
class TrainingBatches:
    """Makes the batch of a step: images, the captions chosen of each side by side, and the images' numbers."""

    sources: Sequence[Source]  # the pictures, and where training mirrors them their mirror images
    captions: Sequence[Sequence[Sequence[int]]]
    config: Config
    device: torch.device
    padding: int

    def __call__(self, step: int, rows: slice) -> tuple[Tensor, Int[Tensor, "rows time"], Int[Tensor, " images"]]:
        """Return the images `rows` of the batch of step `step`."""
        loop = self.config.loop
        chosen = batches.indices(loop.seed, step, len(self.captions), loop.batch)
        random = batches.generator("cpu", loop.seed, step, "batch")
        sentences = pad([s for image in chosen.tolist() for s in self._choose(image, random)], self.padding)
        side = torch.randint(len(self.sources), (loop.batch,), generator=random)
        images = self._images(chosen[rows], side[rows])
        width = self.config.captions
        first, last, _ = rows.indices(loop.batch)
        part = sentences[first * width : last * width]
        return images.to(self.device), part.to(self.device), chosen[rows].to(self.device)

    def _choose(self, image: int, random: torch.Generator) -> list[Sequence[int]]:
        """As many captions of an image as the batch has room for: each of them before any a second time."""
        captions, width = self.captions[image], self.config.captions
        order = torch.randperm(len(captions), generator=random).tolist()
        return [captions[order[n % len(order)]] for n in range(width)]

    def _images(self, chosen: Tensor, side: Tensor) -> Tensor:
        """The chosen images, each from the source of its side."""
        parts, places = [], []
        for number, source in enumerate(self.sources):
            place = (side == number).nonzero().squeeze(1)
            if len(place):
                parts.append(source(chosen[place].tolist()))
                places.append(place)
        return torch.cat(parts)[torch.cat(places).argsort()]
