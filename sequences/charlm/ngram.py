"""A model that counts: what came after the last five characters, in the text that it knows (6-grams).

    model = NGram(numbers, characters=65)
    model.log_p(numbers, start=1000).mean()

Contexts of k characters are refined from those of k - 1 (Witten and Bell 1991; in the form of Bell, Cleary and Witten
1990, where it is called escape method C): of n times that a context occurred, followed by d different characters, and
c times by the one in question,

    p_k = (c + d p_{k-1}) / (n + d),    p_{-1} uniform.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Integer

ORDER = 6
Numbers = Integer[np.ndarray, "*places"]


@dataclass(frozen=True, eq=False)
class _Grams:
    """The k-grams of a text. A k-gram's number is its place among them; -1 is one that did not occur."""

    keys: Integer[np.ndarray, " grams"]
    """Sorted: the number of the (k-1)-gram that it begins with, times the size of the alphabet, plus its last."""
    counts: Integer[np.ndarray, " grams"]
    after: Float[np.ndarray, " contexts"]
    """For each (k-1)-gram: how often it was followed by anything,"""
    kinds: Float[np.ndarray, " contexts"]
    """and by how many different characters."""


class NGram:
    """Counts of all n-grams up to an order, 6 by default: five characters and the one that follows.

    Args:
        numbers: the text.
        characters: size of the alphabet.
        order: n.
    """

    def __init__(
        self, numbers: Integer[np.ndarray, " length"], characters: int, order: int = ORDER
    ):
        self.characters = characters
        self.tables: list[_Grams] = []
        last, context, contexts = (
            numbers.astype(np.int64),
            np.zeros(len(numbers), dtype=np.int64),
            1,
        )
        for _ in range(min(order, len(numbers))):
            keys, number, counts = np.unique(
                context * characters + last, return_inverse=True, return_counts=True
            )
            owner = keys // characters
            after = np.bincount(owner, counts, minlength=contexts)
            self.tables.append(
                _Grams(keys, counts, after, np.bincount(owner, minlength=contexts).astype(float))
            )
            last, context, contexts = last[1:], number[:-1], len(keys)

    def log_p(
        self, numbers: Integer[np.ndarray, " length"], start: int
    ) -> Float[np.ndarray, " count"]:
        """Return log p of each character from number `start` on, given those before it."""
        begin = max(0, start - len(self.tables))
        last = numbers[begin:].astype(np.int64)
        p, context = np.full(len(last), 1 / self.characters), np.zeros(len(last), dtype=np.int64)
        for table in self.tables:
            p, found = self._refined(table, context, last, p)
            context = np.concatenate(([-1], found[:-1]))
        return np.log(p[start - begin :])

    def write(
        self, first: int, rows: int, length: int, seed: int
    ) -> Iterator[Integer[np.ndarray, " rows"]]:
        """Yield the next characters of `rows` texts, each drawn at random given those before, after `first`."""
        random, everything = np.random.default_rng(seed), np.arange(self.characters)
        state = self._next([np.zeros(rows, dtype=np.int64)], np.full(rows, first))
        for _ in range(length):
            p = np.full((rows, self.characters), 1 / self.characters)
            for table, context in zip(self.tables, state, strict=False):
                p, _ = self._refined(table, context[:, None], everything, p)
            sums = p.cumsum(1)
            drawn = (sums < random.random((rows, 1)) * sums[:, -1:]).sum(1)
            yield drawn
            state = self._next(state, drawn)

    def _next(self, state: list[Numbers], last: Numbers) -> list[Numbers]:
        """The contexts of 0, 1, 2 ... characters after one more."""
        longer = [
            self._find(table, context, last)
            for table, context in zip(self.tables, state, strict=False)
        ]
        return [np.zeros_like(last), *longer][: len(self.tables)]

    def _refined(
        self, table: _Grams, context: Numbers, last: Numbers, p: Float[np.ndarray, "*places"]
    ) -> tuple[Float[np.ndarray, "*places"], Numbers]:
        """p of the characters given contexts of one character more, if those occurred; and the numbers of both."""
        found = self._find(table, context, last)
        counts = np.where(found >= 0, table.counts[found], 0)
        n, d = (np.where(context >= 0, each[context], 0) for each in (table.after, table.kinds))
        return np.where(n > 0, (counts + d * p) / np.maximum(n + d, 1), p), found

    def _find(self, table: _Grams, context: Numbers, last: Numbers) -> Numbers:
        keys = context * self.characters + last
        places = np.minimum(np.searchsorted(table.keys, keys), len(table.keys) - 1)
        return np.where((context >= 0) & (table.keys[places] == keys), places, -1)
