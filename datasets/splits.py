"""Labelled images as one tensor, and the rules that hold a part of them out."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Int, UInt8
from torch import Tensor


def name_hash(name: str) -> bytes:
    """Return the key to sort files by before a part of them is held out.

    The order is the same in every run and on every machine; a file added later moves few others across a border.
    """
    return hashlib.sha256(os.fsencode(name)).digest()


@dataclass(frozen=True, eq=False)
class Images:
    """Labelled images of one size, held whole so that a batch is one indexing operation."""

    images: UInt8[Tensor, "count channels height width"]
    labels: Int[Tensor, " count"]  # int64, indices into `classes`
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, rows: Int[Tensor, " rows"] | Bool[Tensor, " count"]) -> Images:
        """Return the images and labels of these rows."""
        return Images(self.images[rows], self.labels[rows], self.classes)

    def to(self, device: torch.device | str) -> Images:
        """Return the same images on `device`."""
        return Images(self.images.to(device), self.labels.to(device), self.classes)


@dataclass(frozen=True, eq=False)
class Splits:
    """Train on `train`, choose the model on `validation`, report once on `test`."""

    train: Images
    validation: Images
    test: Images

    def to(self, device: torch.device | str) -> Splits:
        """Return the same splits on `device`."""
        return Splits(self.train.to(device), self.validation.to(device), self.test.to(device))


def shuffled(images: Images) -> Images:
    """Return the images in an order that is random but the same whatever the seed of a training run."""
    # NumPy promises this old generator's stream for all versions to come, and no other's.
    return images[torch.from_numpy(np.random.RandomState(0).permutation(len(images)))]


def hold_out(images: Images, share: float) -> tuple[Images, Images]:
    """Split into (held out, rest): of each class the first `share`, and at least one image.

    Held out are round(share * count) images in all, unless a class is too small for its share. Both parts
    keep the order they had.
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
