"""Images and sentences as batches, each a function of (seed, step)."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import torch
from jaxtyping import Int
from torch import Tensor, nn

from captioning.config import Config
from captioning.sources import Pixels, Source
from core import rng
from core.errors import InputError
from core.training import batches, devices
from datasets.captions import captioned
from datasets.captions.captioned import CaptionedImage
from datasets.text.vocabulary import Vocabulary
from vision.encoder import Encoder
from vision.features import extract, readable, report_broken
from vision.tuning import Trunk


@dataclass(frozen=True)
class Part:
    """A split of the data: its images, and what the decoder reads of them."""

    images: Sequence[CaptionedImage]
    source: Source
    sets: Sequence[int]  # the number of the set that each image is of
    mirrored: Source | None = None


def load(
    config: Config,
    encoder: Encoder,
    splits: Sequence[str],
    *,
    optional: Sequence[str] = (),
    quiet: bool = False,
) -> dict[str, Part]:
    """Return the parts of the data, those that are optional if there are any.

    Of the images they have those that can be read.

    Raises:
        InputError: the data are missing or malformed, one of `splits` has no image, or no picture
            can be read.
    """
    loaded = [captioned.load(source, config.images) for source in config.data]
    parts = {}
    for name in (*splits, *optional):
        images = [getattr(one_set, name) for one_set in loaded]
        if any(map(len, images)):
            parts[name] = _part(config, encoder, images, name, quiet)
        elif name in splits:
            raise InputError(
                f"{' '.join(config.data)} has no {name} images with captions: give more "
                "pictures, or files whose names tell the splits (train, val, test)"
            )
    return parts


def select(
    config: Config, encoder: Encoder, splits: Sequence[str], *, together: bool = False
) -> tuple[Part, str]:
    """Return the images of the first of `splits` that the data have, and its name.

    With `together` they are the images of all of them.

    Raises:
        InputError: there are none, the data are missing or malformed, or no picture can be read.
    """
    loaded = [captioned.load(source, config.images) for source in config.data]
    groups = {name: [list(getattr(one_set, name)) for one_set in loaded] for name in splits}
    if together:
        joined = [list(chain(*parts)) for parts in zip(*groups.values(), strict=True)]
        groups = {splits[0] if len(splits) == 1 else "all": joined}
    for name, images in groups.items():
        if any(images):
            return _part(config, encoder, images, name, quiet=False), name
    raise InputError(f"{' '.join(config.data)} has no {' or '.join(splits)} images")


def _part(
    config: Config,
    encoder: Encoder,
    by_set: Sequence[Sequence[CaptionedImage]],
    name: str,
    quiet: bool,
) -> Part:
    """Return the images of all sets that can be read, as pixels or as features."""
    images = [image for one_set in by_set for image in one_set]
    sets = [number for number, one_set in enumerate(by_set) for _ in one_set]
    mirror = config.mirror and name == "train"
    cache = Path(config.cache) if config.cache else None
    mirrored: Source | None = None
    if config.trains_encoder:
        broken: dict[int, InputError] = {}
        opened = readable(images, range(len(images)), lambda image: image.open(), broken)
        kept = [number for number, _ in opened]
        report_broken(images, broken)
        images_kept = [images[number] for number in kept]
        source: Source = Pixels(images_kept, encoder.preprocessing)
        if mirror:
            mirrored = Pixels(images_kept, encoder.preprocessing, mirrored=True)
    else:
        seeing = Trunk(encoder, config.tune_blocks) if config.tune_blocks else encoder
        source = extract(seeing, images, cache, quiet=quiet)
        kept = list(source.items)
        images_kept = [images[number] for number in kept]
        if mirror:
            mirrored = extract(seeing, images_kept, cache, mirrored=True, quiet=quiet)
    if not kept:
        data = " ".join(config.data)
        raise InputError(f"{data}: not one of the {len(images)} {name} pictures can be read")
    return Part(images_kept, source, [sets[number] for number in kept], mirrored)


def encode(
    images: Sequence[CaptionedImage], vocabulary: Vocabulary, longest: int
) -> list[list[list[int]]]:
    """Return the captions of each image as token ids from <start> to <end>.

    Of a longer caption these are the first `longest` + 1 ids, without <end>: the captioner must
    not learn to stop in the middle of a sentence.
    """
    encoded = []
    for image in images:
        rows = []
        for caption in image.captions:
            ids = [vocabulary.start, *vocabulary.encode(caption), vocabulary.end]
            rows.append(ids[: longest + 1])
        encoded.append(rows)
    return encoded


def share_out(total: int, shares: Sequence[float]) -> list[int]:
    """Divide a batch by shares, which need not sum to 1; what rounding leaves goes to the first."""
    counts = [int(total * share / sum(shares)) for share in shares]
    counts[0] += total - sum(counts)
    return counts


def pad(sentences: Sequence[Sequence[int]], value: int) -> Int[Tensor, "rows time"]:
    """Return sentences as one tensor, padded with `value`."""
    rows = [torch.tensor(sentence) for sentence in sentences]
    return nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=value)


@dataclass(frozen=True)
class TrainingBatches:
    """Makes the batch of a step: images, captions of each side by side, the images' numbers."""

    sources: Sequence[Source]  # the pictures, and with `mirror` their mirror images
    captions: Sequence[Sequence[Sequence[int]]]
    config: Config
    device: torch.device
    padding: int
    sets: Sequence[int] = ()  # the number of the set that each image is of, for shares

    def __call__(
        self, step: int, rows: slice
    ) -> tuple[Tensor, Int[Tensor, "rows time"], Int[Tensor, " images"]]:
        """Return the images `rows` of the batch of step `step`."""
        loop = self.config.loop
        numbers = self._draw(step)
        random = rng.generator("cpu", loop.seed, step, "batch")
        sentences = []
        for image in numbers.tolist():
            sentences += self._choose(image, random)
        tokens = pad(sentences, self.padding)
        side = torch.randint(len(self.sources), (loop.batch,), generator=random)
        images = self._images(numbers[rows], side[rows])
        first, last, _ = rows.indices(loop.batch)
        width = self.config.captions
        return (
            devices.send(images, self.device),
            devices.send(tokens[first * width : last * width], self.device),
            devices.send(numbers, self.device)[rows],
        )

    def _draw(self, step: int) -> Int[Tensor, " batch"]:
        """The images of a batch: of each set its share, or of all sets together."""
        loop, shares = self.config.loop, self.config.shares
        if not shares:
            return batches.indices(loop.seed, step, len(self.captions), loop.batch)
        sets = torch.tensor(self.sets)
        counts = share_out(loop.batch, shares)
        parts = []
        for number, count in enumerate(counts):
            images = (sets == number).nonzero().squeeze(1)
            if count and len(images):
                order = batches.indices(loop.seed + number, step, len(images), count)
                parts.append(images[order])
        return torch.cat(parts)

    def _choose(self, image: int, random: torch.Generator) -> list[Sequence[int]]:
        """Return `config.captions` captions of an image: each once before any a second time."""
        captions = self.captions[image]
        order = torch.randperm(len(captions), generator=random).tolist()
        return [captions[order[n % len(order)]] for n in range(self.config.captions)]

    def _images(self, numbers: Tensor, side: Tensor) -> Tensor:
        """Return the images of these numbers, each from the source of its side."""
        parts = []
        places = []
        for number, source in enumerate(self.sources):
            place = (side == number).nonzero().squeeze(1)
            if len(place):
                parts.append(source(numbers[place].tolist()))
                places.append(place)
        images = torch.cat(parts)
        order = torch.cat(places).argsort()
        return images[devices.send(order, images.device)]
