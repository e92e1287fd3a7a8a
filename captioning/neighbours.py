"""Captions taken over from training images that look alike: what a captioner must be better than.

    nearest      the first caption of the nearest image
    consensus    of all captions of the k nearest images that which agrees most with the others (Devlin et al. 2015)

Images are near if the cosine between their features, averaged over the grid, is large.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from typing import TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from captioning.data import Source
from captioning.metrics import CiderD, Words
from core.training import batches

Caption = TypeVar("Caption", bound=Words)
BATCH = 50  # images looked at together, or compared with all others at once


def pooled(look: Callable[[Tensor], Tensor], source: Source) -> Float[Tensor, "images channels"]:
    """Return the mean over the grid of the features of images, at length 1.

    Args:
        look: the encoder, for a source of pixels.
        source: pixels [images, 3, size, size], or features [images, cells, channels].
    """
    means = []
    for part in batches.in_order(len(source), BATCH):
        images = source(range(part.start, part.stop))
        cells = look(images) if images.dim() == 4 else images
        means.append(F.normalize(cells.float().mean(1), dim=-1))
    return torch.cat(means)


def nearest(
    known: Float[Tensor, "images channels"],
    captions: Sequence[Sequence[Caption]],
    asked: Float[Tensor, "asked channels"],
) -> list[Caption]:
    """Return for each image asked about the first caption of the image that is nearest.

    Args:
        known: the training images, as `pooled` returns them.
        captions: the captions of each of them.
        asked: the images asked about.
    """
    return [captions[images[0]][0] for images in _neighbours(known, asked, 1)]


def consensus(
    known: Float[Tensor, "images channels"],
    captions: Sequence[Sequence[Caption]],
    asked: Float[Tensor, "asked channels"],
    neighbours: int,
) -> list[Caption]:
    """Return for each image asked about the caption of its neighbours that agrees most with their other captions.

    Two captions agree by CIDEr (Vedantam et al. 2015): the cosine between their weighted n-grams, averaged over
    the sizes of n-grams. As it is linear in either, a caption is compared with the sum of all others at once.

    Args:
        known: the training images, as `pooled` returns them.
        captions: the captions of each of them.
        asked: the images asked about.
        neighbours: how many of the nearest images are heard.
    """
    everything = [caption for texts in captions for caption in texts]
    first = [0, *accumulate(map(len, captions))]  # caption of each image
    columns, weights, start = _vectors(captions)
    found = []
    for images in _neighbours(known, asked, neighbours):
        pool = np.concatenate([np.arange(first[n], first[n + 1]) for n in images])
        places = np.concatenate([np.arange(start[n], start[n + 1]) for n in pool])
        owner = np.repeat(np.arange(len(pool)), [start[n + 1] - start[n] for n in pool])
        column, weight = columns[places], weights[places]
        others = np.bincount(column, weight)[column] - weight
        agreement = np.bincount(owner, weight * others, len(pool))
        found.append(everything[pool[agreement.argmax()]])
    return found


def _neighbours(known: Tensor, asked: Tensor, number: int) -> Iterator[list[int]]:
    """The `number` nearest of the known images to each asked about, the nearest first."""
    for part in batches.in_order(len(asked), BATCH):
        yield from (asked[part] @ known.T).topk(min(number, len(known))).indices.tolist()


def _vectors(captions: Sequence[Sequence[Words]]) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """The weighted n-grams of all captions, at length 1 for each n: numbers of the n-grams, weights, first places."""
    cider, numbers = CiderD(captions), {}
    columns, weights, start = [], [], [0]
    for caption in (caption for texts in captions for caption in texts):
        g, norms = cider.vector(caption)
        columns += [numbers.setdefault(ngram, len(numbers)) for ngram in g]
        weights += [weight / norms[len(ngram)] for ngram, weight in g.items()]
        start.append(len(columns))
    return np.array(columns, dtype=np.int64), np.array(weights), start
