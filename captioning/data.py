"""Images and sentences as the captioner meets them: each batch a function of (seed, step)."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from jaxtyping import Int, Shaped, UInt8
from torch import Tensor

from captioning.config import Config
from core import rng
from core.errors import InputError
from core.training import batches, devices
from datasets import captions
from datasets.captions import CaptionedImage
from datasets.text import Vocabulary
from vision.encoder import Encoder, Preprocessing
from vision.features import extract, readable, report_broken

IN_MEMORY = 1 << 30  # bytes of pixels that are kept; more are opened again whenever they are needed


class Source(Protocol):
    """Images by number: the frozen encoder's features, or pixels for an encoder that is trained."""

    def __call__(self, rows: Sequence[int]) -> Shaped[Tensor, "images *shape"]:
        """The images of these numbers, stacked."""
        ...

    def __len__(self) -> int: ...


class Pixels:
    """Pictures as an encoder wants to be shown them, for one that is trained."""

    def __init__(
        self,
        images: Sequence[CaptionedImage],
        preprocessing: Preprocessing,
        *,
        mirrored: bool = False,
    ):
        self.images, self.preprocessing, self.mirrored = images, preprocessing, mirrored
        self.kept: dict[int, Tensor] = {}
        self.room = IN_MEMORY // (3 * preprocessing.size**2)

    def __len__(self) -> int:
        return len(self.images)

    def __call__(self, rows: Sequence[int]) -> UInt8[Tensor, "images 3 size size"]:
        """The pixels of these pictures; raises `InputError` for one that cannot be read."""
        pixels = torch.stack([self._one(row) for row in rows])
        return pixels.flip(-1) if self.mirrored else pixels

    def _one(self, row: int) -> UInt8[Tensor, "3 size size"]:
        if row in self.kept:
            return self.kept[row]
        pixels = self.preprocessing(self.images[row].open())
        if len(self.kept) < self.room:
            self.kept[row] = pixels
        return pixels


class Resident:
    """Features that live on a device, all of them."""

    def __init__(self, source: Source, device: torch.device):
        parts = batches.in_order(len(source), 256)
        self.features = torch.cat(
            [source(range(part.start, part.stop)).to(device) for part in parts]
        )

    def __len__(self) -> int:
        return len(self.features)

    def __call__(self, rows: Sequence[int]) -> Shaped[Tensor, "images *shape"]:
        """The features of these numbers."""
        return self.features[devices.send(torch.tensor(rows), self.features.device)]


def resident(source: Source, device: torch.device) -> Source:
    """Return the features of a frozen encoder on the device, if they fit there; else the source as it is."""
    fits = not isinstance(source, Pixels) and devices.fits(len(source) * source([0]).nbytes, device)
    return Resident(source, device) if fits else source


@dataclass(frozen=True)
class Part:
    """A split: its images, and the pictures themselves for the decoder."""

    images: Sequence[CaptionedImage]
    source: Source
    mirrored: Source | None = None


def load(
    config: Config, encoder: Encoder, splits: Sequence[str], *, quiet: bool = False
) -> dict[str, Part]:
    """Return those of `splits` that the data have; of the images, those that can be read.

    Raises `InputError` where the data are missing or malformed, or no picture can be read.
    """
    found = captions.load(config.data, config.images)
    images = {name: getattr(found, name) for name in splits}
    return {
        name: _part(config, encoder, part, name, quiet)
        for name, part in images.items()
        if len(part)
    }


def _part(
    config: Config, encoder: Encoder, images: Sequence[CaptionedImage], name: str, quiet: bool
) -> Part:
    mirrored = config.mirror and name == "train"
    if config.trains_encoder:
        broken: dict[int, InputError] = {}
        good = [
            n for n, _ in readable(images, range(len(images)), lambda image: image.open(), broken)
        ]
        report_broken(images, broken)
        images = [images[n] for n in good]
        pixels = Pixels(images, encoder.preprocessing)
        return Part(
            images,
            pixels,
            Pixels(images, encoder.preprocessing, mirrored=True) if mirrored else None,
        )
    cache = Path(config.cache) if config.cache else None
    features = extract(encoder, images, cache, quiet=quiet)
    if not len(features):
        raise InputError(f"{config.data}: not one of the {len(images)} {name} pictures can be read")
    images = [images[n] for n in features.items]
    return Part(
        images,
        features,
        extract(encoder, images, cache, mirrored=True, quiet=quiet) if mirrored else None,
    )


def encode(
    images: Sequence[CaptionedImage], vocabulary: Vocabulary, longest: int
) -> list[list[list[int]]]:
    """Return the captions of each image as word ids from <start> to <end>; of long ones the first `longest` ids.

    What is cut has no <end>: to stop in the middle of a sentence is not to be learned.
    """
    start, end = vocabulary.start, vocabulary.end
    return [
        [[start, *vocabulary.encode(caption), end][: longest + 1] for caption in image.captions]
        for image in images
    ]


def pad(sentences: Sequence[Sequence[int]], value: int) -> Int[Tensor, "rows time"]:
    """Return sentences as one tensor, filled up with `value`."""
    longest = max(map(len, sentences))
    return torch.tensor(
        [[*sentence, *[value] * (longest - len(sentence))] for sentence in sentences]
    )


@dataclass(frozen=True)
class TrainingBatches:
    """Makes the batch of a step: images, the captions chosen of each side by side, and the images' numbers."""

    sources: Sequence[Source]  # the pictures, and where training mirrors them their mirror images
    captions: Sequence[Sequence[Sequence[int]]]
    config: Config
    device: torch.device
    padding: int

    def __call__(
        self, step: int, rows: slice
    ) -> tuple[Tensor, Int[Tensor, "rows time"], Int[Tensor, " images"]]:
        """Return the images `rows` of the batch of step `step`."""
        loop = self.config.loop
        chosen = batches.indices(loop.seed, step, len(self.captions), loop.batch)
        random = rng.generator("cpu", loop.seed, step, "batch")
        sentences = pad(
            [s for image in chosen.tolist() for s in self._choose(image, random)], self.padding
        )
        side = torch.randint(len(self.sources), (loop.batch,), generator=random)
        images = self._images(chosen[rows], side[rows])
        width = self.config.captions
        first, last, _ = rows.indices(loop.batch)
        part = sentences[first * width : last * width]
        return (
            devices.send(images, self.device),
            devices.send(part, self.device),
            devices.send(chosen, self.device)[rows],
        )

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
        found, order = torch.cat(parts), torch.cat(places).argsort()
        return found[devices.send(order, found.device)]
