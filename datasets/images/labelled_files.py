"""Labelled pictures in files, each of a size of its own.

    images = folders.load("FOLDER").train
    batch = images.fetch(rows)    # a list of [channels, height, width], bytes

Where their pixels are held is the matter of `datasets.images.store`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Int, UInt8
from torch import Tensor

from core.errors import InputError
from datasets.images.origins import Origin
from datasets.images.store import Picture, PictureFile, Store

SHARE_OF_BATCH = 1 / 32  # of the memory, as bytes; integral images of them take twelve times that


def select(
    origins: tuple[Origin, ...], rows: Int[Tensor, " rows"] | Bool[Tensor, " count"]
) -> tuple[Origin, ...]:
    """Return the origins of these rows; none if none are known."""
    if not origins:
        return ()
    numbers = torch.arange(len(origins))[rows.cpu()]
    return tuple(origins[n] for n in numbers.tolist())


@dataclass(frozen=True, eq=False)
class ImageFiles:
    """Labelled pictures; `rows` selects those of a split from the files of the store."""

    store: Store
    files: Sequence[PictureFile]
    rows: Int[Tensor, " count"]
    labels: Int[Tensor, " count"]
    classes: tuple[str, ...]
    device: torch.device | str = "cpu"
    origins: tuple[Origin, ...] = ()

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, rows: Int[Tensor, " rows"] | Bool[Tensor, " count"]) -> ImageFiles:
        """Return the pictures and labels of these rows."""
        return replace(
            self,
            rows=self.rows[rows.cpu()],
            labels=self.labels[rows],
            origins=select(self.origins, rows),
        )

    @property
    def channels(self) -> int:
        """Return 1 for grey pictures and 3 for RGB."""
        return self.files[0].channels

    @property
    def sizes(self) -> list[tuple[int, int]]:
        """Return height and width of each picture."""
        files = [self.files[n] for n in self.rows.tolist()]
        return [(file.height, file.width) for file in files]

    @property
    def images(self) -> UInt8[Tensor, "count channels height width"]:
        """Return all pictures as one tensor.

        Raises `InputError` if their sizes differ.
        """
        if len(set(self.sizes)) > 1:
            raise InputError("the pictures have different sizes: choose one")
        return torch.stack(self.fetch(torch.arange(len(self))))

    def to(self, device: torch.device | str) -> ImageFiles:
        """Return the same pictures, fetched to `device`."""
        return replace(self, labels=self.labels.to(device), device=device)

    def fetch(self, rows: Int[Tensor, " rows"]) -> list[Picture]:
        """Return the pictures of these rows."""
        pictures = self.store.get(self.rows[rows.cpu()].tolist())
        if torch.device(self.device).type == "cpu":
            return pictures
        return [picture.to(self.device) for picture in pictures]

    def in_order(self, most: int) -> Iterator[Int[Tensor, " rows"]]:
        """Yield all rows in order, at most so many at once, and no more than fit the memory."""
        part: list[int] = []
        limit = self.store.memory * SHARE_OF_BATCH
        room = limit
        for row, number in enumerate(self.rows.tolist()):
            room -= self.files[number].count
            if part and (len(part) == most or room < 0):
                yield torch.tensor(part, device=self.labels.device)
                part = []
                room = limit - self.files[number].count
            part.append(row)
        if part:
            yield torch.tensor(part, device=self.labels.device)

    def prefetch(self, rows: Int[Tensor, " rows"]) -> None:
        """Begin to decode the pictures that are fetched next."""
        self.store.prefetch(self.rows[rows.cpu()].tolist())
