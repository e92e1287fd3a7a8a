"""Where a batch of images comes from: features of a frozen encoder, or pixels to train one on."""

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from jaxtyping import Shaped, UInt8
from torch import Tensor

from core.training import batches, devices
from datasets.captions.captioned import CaptionedImage
from vision.encoder import Preprocessing

IN_MEMORY = 1 << 30  # bytes of pixels that are kept; further pictures are opened again each time
CHANGED_IN_MEMORY = 1 << 32  # bytes that are kept of what is made of features; more is made anew


class Source(Protocol):
    """Images by number: features of a frozen encoder, or pixels for one that is trained."""

    def __call__(self, rows: Sequence[int]) -> Shaped[Tensor, "images *shape"]:
        """The images of these numbers, stacked."""
        ...

    def __len__(self) -> int: ...


class Pixels:
    """Preprocessed pictures, for an encoder that is trained."""

    def __init__(
        self,
        images: Sequence[CaptionedImage],
        preprocessing: Preprocessing,
        *,
        mirrored: bool = False,
    ):
        self.images = images
        self.preprocessing = preprocessing
        self.mirrored = mirrored
        self.kept: dict[int, Tensor] = {}
        self.most_kept = IN_MEMORY // (3 * preprocessing.size**2)

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
        if len(self.kept) < self.most_kept:
            self.kept[row] = pixels
        return pixels


class Changed:
    """What a function makes of the images of a source, in half precision, kept while it fits."""

    def __init__(self, source: Source, change: Callable[[Tensor], Tensor]):
        self.source = source
        self.change = change
        self.kept: dict[int, Tensor] = {}

    def __len__(self) -> int:
        return len(self.source)

    def __call__(self, rows: Sequence[int]) -> Shaped[Tensor, "images *shape"]:
        """What was made of the images of these numbers."""
        missing = [row for row in dict.fromkeys(rows) if row not in self.kept]
        made: dict[int, Tensor] = {}
        if missing:
            changed = self.change(self.source(missing)).half()
            made = dict(zip(missing, changed, strict=True))
            room = CHANGED_IN_MEMORY // changed[0].nbytes - len(self.kept)
            self.kept |= {row: made[row].clone() for row in missing[: max(0, room)]}
        return torch.stack([made[row] if row in made else self.kept[row] for row in rows])


class Resident:
    """All features of a source, on a device."""

    def __init__(self, source: Source, device: torch.device):
        parts = []
        for rows in batches.in_order(len(source), 256):
            parts.append(source(range(rows.start, rows.stop)).to(device))
        self.features = torch.cat(parts)

    def __len__(self) -> int:
        return len(self.features)

    def __call__(self, rows: Sequence[int]) -> Shaped[Tensor, "images *shape"]:
        """The features of these numbers."""
        return self.features[devices.send(torch.tensor(rows), self.features.device)]


def resident(source: Source, device: torch.device) -> Source:
    """Return a source with all its features on the device if they fit there, else as it is."""
    if isinstance(source, Pixels) or not devices.fits(len(source) * source([0]).nbytes, device):
        return source
    return Resident(source, device)
