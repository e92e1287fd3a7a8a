"""Pairs of sentences as the translator meets them: each batch a function of (seed, step)."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor

from core import rng
from core.errors import InputError
from core.training import batches
from datasets import counting, parallel
from datasets.parallel import Pair
from datasets.pieces import Pieces
from sequences.translate.config import Config

POOL = 20  # batches that are filled together, by length
HELD, SHARE = 1000, 20  # pairs held out where none are given: one of SHARE, and no more than HELD


class Parts(NamedTuple):
    """What to learn from, and what to judge by."""

    train: list[Pair]
    validation: list[Pair]


class Vocabularies(NamedTuple):
    """The pieces of both languages."""

    source: Pieces
    target: Pieces


def load(config: Config) -> Parts:
    """Return the pairs that a configuration names; raises `InputError` where files are missing or malformed."""
    if config.data == ("counting",):
        return Parts(*counting.splits())
    pairs = parallel.load(config.data, config.source, config.target)
    if config.validation:
        return Parts(pairs, parallel.load(config.validation, config.source, config.target))
    held, rest = parallel.hold_out(pairs, min(HELD, max(1, len(pairs) // SHARE)))
    if not rest:
        raise InputError(
            f"{config.data[0]}: too few different pairs to hold one out: give --validation"
        )
    return Parts(rest, held)


def vocabularies(config: Config, pairs: Sequence[Pair]) -> Vocabularies:
    """Return the pieces of both languages: the same object twice if the configuration wants one for both."""
    sides = [pair.source for pair in pairs], [pair.target for pair in pairs]
    options = config.vocabulary, config.pieces, config.min_count
    if config.joint:
        both = Pieces.train(sides[0] + sides[1], *options)
        return Vocabularies(both, both)
    return Vocabularies(*(Pieces.train(side, *options) for side in sides))


class Encoded(NamedTuple):
    """Pairs as numbers, each sentence closed by <end>."""

    source: list[list[int]]
    target: list[list[int]]


def encode(pairs: Sequence[Pair], pieces: Vocabularies) -> Encoded:
    """Return pairs as numbers."""
    sides = zip(*pairs, strict=True)
    return Encoded(
        *(
            [[*row, p.end] for row in p.encode_all(side)]
            for p, side in zip(pieces, sides, strict=True)
        )
    )


def no_longer(encoded: Encoded, longest: int) -> Encoded:
    """Leave out pairs of which a sentence has more than `longest` pieces; raises `InputError` if none are left."""
    kept = [pair for pair in zip(*encoded, strict=True) if max(map(len, pair)) <= longest + 1]
    if not kept:
        raise InputError(f"no pair has sentences of at most {longest} pieces: raise --longest")
    return Encoded(*map(list, zip(*kept, strict=True)))


class Batch(NamedTuple):
    """Pairs as the translator takes them."""

    source: Int[Tensor, "places pairs"]
    lengths: Int[Tensor, " pairs"]  # of the sources
    target: Int[Tensor, "time pairs"]  # from <start> to <end>


def collate(
    source: Sequence[Sequence[int]], target: Sequence[Sequence[int]], device: torch.device
) -> Batch:
    """Return rows of numbers as tensors, filled up with <pad>; the lengths stay on the CPU."""
    lengths = torch.tensor([len(row) for row in source])
    return Batch(
        _pad(source).to(device), lengths, _pad([[Pieces.start, *row] for row in target]).to(device)
    )


def _pad(rows: Sequence[Sequence[int]]) -> Int[Tensor, "time rows"]:
    longest = max(map(len, rows))
    return torch.tensor(
        [[*row, *[Pieces.pad] * (longest - len(row))] for row in rows]
    ).T.contiguous()


@dataclass(frozen=True, eq=False)
class TrainingBatches:
    """Makes the batch of a step, of pairs about equally long.

    An epoch is the permutation of all pairs, cut into pools; a pool is sorted by length and cut into batches, and
    these are shuffled. What does not fill a batch is left out, other pairs in every epoch.
    """

    pairs: Encoded
    config: Config
    device: torch.device

    def __call__(self, step: int, rows: slice) -> Batch:
        """Return the pairs `rows` of the batch of step `step`."""
        loop = self.config.loop
        size = min(loop.batch, len(self.pairs.source))
        epoch, number = divmod(step, len(self.pairs.source) // size)
        chosen = self._epoch(loop.seed, epoch, size)[number][rows]
        return collate(
            [self.pairs.source[n] for n in chosen],
            [self.pairs.target[n] for n in chosen],
            self.device,
        )

    @lru_cache(maxsize=2)  # noqa: B019 - it lives as long as the training
    def _epoch(self, seed: int, epoch: int, size: int) -> list[list[int]]:
        source, target = self.pairs
        order = batches.permutation(seed, epoch, len(source)).tolist()
        pools = [order[part] for part in batches.in_order(len(order), size * POOL)]
        by_length = [sorted(pool, key=lambda n: (len(target[n]), len(source[n]))) for pool in pools]
        made = [pool[part] for pool in by_length for part in batches.in_order(len(pool), size)]
        full = [batch for batch in made if len(batch) == size]
        shuffled = torch.randperm(len(full), generator=rng.generator("cpu", seed, epoch, "batches"))
        return [full[n] for n in shuffled.tolist()]
