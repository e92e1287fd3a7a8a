"""Captions copied from training images that look alike: what a captioner must be better than.

    nearest      the first caption of the nearest image
    consensus    of all captions of the k nearest images the one that agrees most with the others
                 (Devlin et al. 2015)

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

from captioning.metrics.ngrams import CiderD, Words
from captioning.sources import Source
from core.training import batches

Caption = TypeVar("Caption", bound=Words)
BATCH = 50  # images encoded together, or compared with all others at once


def pooled(encode: Callable[[Tensor], Tensor], source: Source) -> Float[Tensor, "images channels"]:
    """Return the mean over the grid of the features of images, normalised to length 1.

    With trained blocks (`vision.tuning.Tail`) the row that they add counts as one more cell.

    Args:
        encode: makes features of what the source gives, unless it gives them.
        source: pixels, what a trunk gives, or features [images, cells, channels].
    """
    means = []
    for rows in batches.in_order(len(source), BATCH):
        images = source(range(rows.start, rows.stop))
        cells = images if images.dim() == 3 else encode(images)
        means.append(F.normalize(cells.float().mean(1), dim=-1))
    return torch.cat(means)


def nearest(
    training: Float[Tensor, "images channels"],
    captions: Sequence[Sequence[Caption]],
    queries: Float[Tensor, "queries channels"],
) -> list[Caption]:
    """Return for each query image the first caption of the training image that is nearest.

    Args:
        training: the training images, as `pooled` returns them.
        captions: the captions of each of them.
        queries: the query images.
    """
    return [captions[images[0]][0] for images in _neighbours(training, queries, 1)]


def consensus(
    training: Float[Tensor, "images channels"],
    captions: Sequence[Sequence[Caption]],
    queries: Float[Tensor, "queries channels"],
    neighbours: int,
) -> list[Caption]:
    """Return for each query image the caption of its neighbours that agrees most with the others.

    Two captions agree by CIDEr (Vedantam et al. 2015): the cosine between their weighted n-grams,
    averaged over the sizes of n-grams. It is linear in either caption, so that a caption is
    compared with the sum of all others at once.

    Args:
        training: the training images, as `pooled` returns them.
        captions: the captions of each of them.
        queries: the query images.
        neighbours: the number of nearest images.
    """
    all_captions = [caption for texts in captions for caption in texts]
    first = [0, *accumulate(map(len, captions))]  # the first caption of each image
    columns, weights, start = _vectors(captions)
    chosen = []
    for images in _neighbours(training, queries, neighbours):
        pool = np.concatenate([np.arange(first[n], first[n + 1]) for n in images])
        places = np.concatenate([np.arange(start[n], start[n + 1]) for n in pool])
        owner = np.repeat(np.arange(len(pool)), [start[n + 1] - start[n] for n in pool])
        column = columns[places]
        weight = weights[places]
        others = np.bincount(column, weight)[column] - weight
        agreement = np.bincount(owner, weight * others, len(pool))
        chosen.append(all_captions[pool[agreement.argmax()]])
    return chosen


def _neighbours(training: Tensor, queries: Tensor, number: int) -> Iterator[list[int]]:
    """Yield the `number` nearest training images of each query, the nearest first."""
    for rows in batches.in_order(len(queries), BATCH):
        similarity = queries[rows] @ training.T
        yield from similarity.topk(min(number, len(training))).indices.tolist()


def _vectors(captions: Sequence[Sequence[Words]]) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """Return the weighted n-grams of all captions, normalised to length 1 for each n.

    These are the numbers of the n-grams, their weights, and where each caption begins.
    """
    cider = CiderD(captions)
    numbers: dict[object, int] = {}
    columns: list[int] = []
    weights: list[float] = []
    start = [0]
    for texts in captions:
        for caption in texts:
            g, norms = cider.vector(caption)
            columns += [numbers.setdefault(ngram, len(numbers)) for ngram in g]
            weights += [weight / norms[len(ngram)] for ngram, weight in g.items()]
            start.append(len(columns))
    return np.array(columns, dtype=np.int64), np.array(weights), start
