"""Labelled images, and the rules that hold a part of them out."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import overload

import numpy as np
import torch
from jaxtyping import Bool, Int, UInt8
from torch import Tensor

from datasets.images.labelled_files import ImageFiles, select
from datasets.images.origins import Origin


@dataclass(frozen=True, eq=False)
class Images:
    """Labelled images of one size, held in one tensor: a batch is one indexing operation."""

    images: UInt8[Tensor, "count channels height width"]
    labels: Int[Tensor, " count"]  # int64, indices into `classes`
    classes: tuple[str, ...]
    origins: tuple[Origin, ...] = ()  # if the images come from files

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, rows: Int[Tensor, " rows"] | Bool[Tensor, " count"]) -> Images:
        """Return the images and labels of these rows."""
        origins = select(self.origins, rows)
        return Images(self.images[rows], self.labels[rows], self.classes, origins)

    @property
    def channels(self) -> int:
        """Return 1 for grey images and 3 for RGB."""
        return self.images.shape[1]

    @property
    def sizes(self) -> list[tuple[int, int]]:
        """Return height and width of the images, once for all."""
        return [(self.images.shape[2], self.images.shape[3])]

    def fetch(self, rows: Int[Tensor, " rows"]) -> UInt8[Tensor, "rows channels height width"]:
        """Return the images of these rows."""
        return self.images.index_select(0, rows)

    def in_order(self, most: int) -> Iterator[Int[Tensor, " rows"]]:
        """Yield all rows in order, at most so many at once."""
        yield from torch.arange(len(self), device=self.labels.device).split(most)

    def prefetch(self, rows: Int[Tensor, " rows"]) -> None:
        """Do nothing: all images are held."""

    def to(self, device: torch.device | str) -> Images:
        """Return the same images on `device`."""
        return Images(self.images.to(device), self.labels.to(device), self.classes, self.origins)


Labelled = Images | ImageFiles
"""Images of one size as a tensor, or pictures in files, each of a size of its own."""


def examples(images: Labelled) -> Iterator[object]:
    """Yield the labels, the files with their sizes, and a hash of pixels that are held together."""
    yield from images.labels.tolist()
    yield from ((origin.name, origin.native) for origin in images.origins)
    if isinstance(images, Images):
        yield hashlib.sha256(images.images.cpu().numpy().tobytes()).hexdigest()


@dataclass(frozen=True, eq=False)
class Splits:
    """Train on `train`, choose the model on `validation`, report once on `test`."""

    train: Labelled
    validation: Labelled
    test: Labelled

    def to(self, device: torch.device | str) -> Splits:
        """Return the same splits on `device`."""
        validation = self.validation.to(device)
        if self.test is self.validation:
            return Splits(self.train.to(device), validation, validation)
        return Splits(self.train.to(device), validation, self.test.to(device))


def shuffled(images: Images) -> Images:
    """Return the images in a random order that is the same whatever the seed of training."""
    # NumPy promises this old generator's stream for all versions to come, and no other's.
    return images[torch.from_numpy(np.random.RandomState(0).permutation(len(images)))]


@overload
def hold_out(images: Images, share: float) -> tuple[Images, Images]: ...


@overload
def hold_out(images: Labelled, share: float) -> tuple[Labelled, Labelled]: ...


def hold_out(images: Labelled, share: float) -> tuple[Labelled, Labelled]:
    """Split into (held out, rest): of each class the first `share`, and at least one image.

    Held out are round(share * count) images in all, unless a class is too small for its share. Both
    parts keep the order they had.
    """
    labels = images.labels.numpy()
    order = np.argsort(labels, kind="stable")
    sizes = np.bincount(labels)
    ends = np.cumsum(sizes)
    quota = np.maximum(np.diff(np.rint(ends * share), prepend=0), 1)
    rank = np.arange(len(order)) - np.repeat(ends - sizes, sizes)  # within the class
    held = np.zeros(len(order), dtype=bool)
    held[order] = rank < np.repeat(quota, sizes)
    mask = torch.from_numpy(held)
    return images[mask], images[~mask]
