"""An n-gram model: which characters followed the last n - 1 in a text that it counted.

    model = NGram(numbers, characters=65)
    model.log_p(numbers, start=1000).mean()

Probabilities are interpolated between orders (Witten and Bell 1991; escape method C in Bell, Cleary
and Witten 1990). If a context of k characters occurred n times, followed by d different characters,
and c times by the one in question,

    p_k = (c + d p_{k-1}) / (n + d),    p_{-1} uniform.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Integer

ORDER = 6
Indices = Integer[np.ndarray, "*places"]


@dataclass(frozen=True, eq=False)
class _Grams:
    """The k-grams of a text; the number of a k-gram is its index here, -1 if it did not occur."""

    keys: Integer[np.ndarray, " grams"]
    """Sorted: alphabet size times the number of the (k-1)-gram that begins it, plus its last."""
    counts: Integer[np.ndarray, " grams"]
    after: Float[np.ndarray, " contexts"]
    """For each (k-1)-gram: n, how often it was followed by a character."""
    kinds: Float[np.ndarray, " contexts"]
    """For each (k-1)-gram: d, how many different characters followed it."""


class NGram:
    """Counts of all k-grams of a text for k = 1..n.

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
        last = numbers.astype(np.int64)
        context = np.zeros_like(last)
        contexts = 1
        for _ in range(min(order, len(numbers))):
            keys, number, counts = np.unique(
                context * characters + last, return_inverse=True, return_counts=True
            )
            owner = keys // characters
            after = np.bincount(owner, counts, minlength=contexts)
            kinds = np.bincount(owner, minlength=contexts).astype(float)
            self.tables.append(_Grams(keys, counts, after, kinds))
            last = last[1:]
            context = number[:-1]
            contexts = len(keys)

    def log_p(
        self, numbers: Integer[np.ndarray, " length"], start: int
    ) -> Float[np.ndarray, " count"]:
        """Return log p of each character from `start` on, given those before it."""
        begin = max(0, start - len(self.tables))
        last = numbers[begin:].astype(np.int64)
        context = np.zeros_like(last)
        p = np.full(len(last), 1 / self.characters)
        for table in self.tables:
            p, grams = self._refined(table, context, last, p)
            context = np.concatenate(([-1], grams[:-1]))
        return np.log(p[start - begin :])

    def write(
        self, first: int, rows: int, length: int, seed: int, temperature: float = 1.0
    ) -> Iterator[Integer[np.ndarray, " rows"]]:
        """Yield the next characters of `rows` texts that begin after `first`.

        They are drawn with probabilities in proportion to p^(1/T) at temperature T. At 0 each is
        the most probable character, as in samples of the network.
        """
        random = np.random.default_rng(seed)
        everything = np.arange(self.characters)
        state = self._next([np.zeros(rows, dtype=np.int64)], np.full(rows, first))
        for _ in range(length):
            p = np.full((rows, self.characters), 1 / self.characters)
            for table, context in zip(self.tables, state, strict=False):
                p, _ = self._refined(table, context[:, None], everything, p)
            if temperature:
                weights = _at_temperature(p, temperature)
                sums = weights.cumsum(1)
                drawn = (sums < random.random((rows, 1)) * sums[:, -1:]).sum(1)
            else:
                drawn = p.argmax(1)
            yield drawn
            state = self._next(state, drawn)

    def _next(self, state: list[Indices], last: Indices) -> list[Indices]:
        """Return the contexts of 0, 1, 2 ... characters after one more."""
        longer = [
            self._find(table, context, last)
            for table, context in zip(self.tables, state, strict=False)
        ]
        return [np.zeros_like(last), *longer][: len(self.tables)]

    def _refined(
        self, table: _Grams, context: Indices, last: Indices, p: Float[np.ndarray, "*places"]
    ) -> tuple[Float[np.ndarray, "*places"], Indices]:
        """Return p given longer contexts where those occurred, and the numbers of the k-grams.

        A k-gram is a context, a (k-1)-gram, and its `last` character.
        """
        grams = self._find(table, context, last)
        c = np.where(grams >= 0, table.counts[grams], 0)
        n = np.where(context >= 0, table.after[context], 0)
        d = np.where(context >= 0, table.kinds[context], 0)
        return np.where(n > 0, (c + d * p) / np.maximum(n + d, 1), p), grams

    def _find(self, table: _Grams, context: Indices, last: Indices) -> Indices:
        keys = context * self.characters + last
        places = np.minimum(np.searchsorted(table.keys, keys), len(table.keys) - 1)
        return np.where((context >= 0) & (table.keys[places] == keys), places, -1)


def _at_temperature(
    p: Float[np.ndarray, "rows characters"], temperature: float
) -> Float[np.ndarray, "rows characters"]:
    """Return p^(1/T), scaled to a maximum of 1 in each row so that small T do not underflow."""
    relative = p / p.max(1, keepdims=True)
    # Every p is positive, as each order is interpolated with the uniform distribution.
    return np.exp(np.log(relative) / temperature)
