"""Pairs of sentences as the translator reads them; a batch is a function of (seed, step)."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from core import rng
from core.errors import InputError, counted
from core.training import batches, distributed
from datasets.builtin import require_no_namesake
from datasets.text import counting, parallel
from datasets.text.parallel import Pair
from datasets.text.subwords import Subwords
from sequences.translate.config import Config

POOL = 20  # batches that are sorted by length together
# Where no validation pairs are given, one of HELD_OUT pairs is held out, MOST_HELD_OUT at most.
HELD_OUT = 20
MOST_HELD_OUT = 1000


class Parts(NamedTuple):
    """The pairs for training and those for validation."""

    train: list[Pair]
    validation: list[Pair]


class Vocabularies(NamedTuple):
    """The subwords of both languages."""

    source: Subwords
    target: Subwords


def load(config: Config) -> Parts:
    """Return the pairs that a configuration names.

    Raises:
        InputError: as `parallel.load`; or files here are called "counting" too.
    """
    if config.data == ("counting",):
        languages = (f".{config.source}", f".{config.target}")
        packed = tuple(f"{suffix}.gz" for suffix in languages)
        require_no_namesake("counting", languages + packed)
        return Parts(*counting.splits())
    pairs = parallel.load(config.data, config.source, config.target)
    if config.validation:
        return Parts(pairs, parallel.load(config.validation, config.source, config.target))
    count = min(MOST_HELD_OUT, max(1, len(pairs) // HELD_OUT))
    validation, train = parallel.hold_out(pairs, count)
    if not train:
        line = "too few different pairs to hold one out: give --validation"
        raise InputError(f"{config.data[0]}: {line}")
    return Parts(train, validation)


def vocabularies(config: Config, pairs: Sequence[Pair]) -> Vocabularies:
    """Return the subwords of both languages."""
    source, target = zip(*pairs, strict=True)
    return Vocabularies(
        Subwords.train(source, config.vocabulary, config.min_count),
        Subwords.train(target, config.vocabulary, config.min_count),
    )


class Encoded(NamedTuple):
    """Pairs as numbers, each sentence closed by <end>."""

    source: list[list[int]]
    target: list[list[int]]


def encode(pairs: Sequence[Pair], subwords: Vocabularies) -> Encoded:
    """Return pairs as numbers."""
    source, target = zip(*pairs, strict=True)
    return Encoded(_closed(subwords.source, source), _closed(subwords.target, target))


def _closed(subwords: Subwords, sentences: Sequence[str]) -> list[list[int]]:
    return [[*row, subwords.end] for row in subwords.encode_all(sentences)]


def without_long_pairs(encoded: Encoded, longest: int) -> Encoded:
    """Leave out pairs with a sentence of more than `longest` subwords.

    Raises:
        InputError: none are left.
    """
    kept = [pair for pair in zip(*encoded, strict=True) if max(map(len, pair)) <= longest + 1]
    if not kept:
        raise InputError(f"no pair fits into {counted(longest, 'subword')}: raise --longest")
    source, target = zip(*kept, strict=True)
    return Encoded(list(source), list(target))


class Batch(NamedTuple):
    """Pairs as the translator takes them."""

    source: Int[Tensor, "places pairs"]
    lengths: Int[Tensor, " pairs"]  # of the sources
    target: Int[Tensor, "time pairs"]  # from <start> to <end>


def collate(
    source: Sequence[Sequence[int]], target: Sequence[Sequence[int]], device: torch.device
) -> Batch:
    """Return rows of numbers as tensors, padded with <pad>; the lengths stay on the CPU."""
    lengths = torch.tensor([len(row) for row in source])
    started = [[Subwords.start, *row] for row in target]
    return Batch(_padded(source).to(device), lengths, _padded(started).to(device))


def _padded(rows: Sequence[Sequence[int]]) -> Int[Tensor, "time rows"]:
    return pad_sequence([torch.tensor(row) for row in rows], padding_value=Subwords.pad)


@dataclass(frozen=True, eq=False)
class TrainingBatches:
    """Makes the batch of a step, of pairs of similar length.

    An epoch is a permutation of all pairs, cut into pools. A pool is sorted by length and cut into
    batches, and these are shuffled. Pairs that do not fill a batch are left out, others in every
    epoch.

    Raises:
        InputError: several processes train, and there are fewer pairs than a batch has.
    """

    pairs: Encoded
    config: Config
    device: torch.device

    def __post_init__(self):
        count = len(self.pairs.source)
        batch = self.config.loop.batch
        if distributed.world_size() > 1 and count < batch:
            hint = f"lower --batch, which is {batch}"
            raise InputError(f"{counted(count, 'pair')} cannot be shared by processes: {hint}")

    def __call__(self, step: int, rows: slice) -> Batch:
        """Return the pairs `rows` of the batch of step `step`."""
        loop = self.config.loop
        source, target = self.pairs
        size = min(loop.batch, len(source))
        epoch, number = divmod(step, len(source) // size)
        chosen = self._epoch(loop.seed, epoch, size)[number][rows]
        return collate([source[n] for n in chosen], [target[n] for n in chosen], self.device)

    @lru_cache(maxsize=2)  # noqa: B019 - it lives as long as the training
    def _epoch(self, seed: int, epoch: int, size: int) -> list[list[int]]:
        source, target = self.pairs
        order = batches.permutation(seed, epoch, len(source)).tolist()
        full = []
        for pool in batches.in_order(len(order), size * POOL):
            by_length = sorted(order[pool], key=lambda n: (len(target[n]), len(source[n])))
            cut = [by_length[rows] for rows in batches.in_order(len(by_length), size)]
            full += [batch for batch in cut if len(batch) == size]
        shuffled = torch.randperm(len(full), generator=rng.generator("cpu", seed, epoch, "batches"))
        return [full[n] for n in shuffled.tolist()]
