"""Character n-grams of words as numbers: unseen words share them with words spelled alike."""

import zlib
from functools import lru_cache

SHORTEST = 3  # letters of an n-gram
LONGEST = 5


@lru_cache(maxsize=1 << 16)
def spell(word: str, buckets: int) -> tuple[int, ...]:
    """Return the n-grams of "<word>" as hashes modulo `buckets` (Bojanowski et al. 2017, 3.2).

    < and > mark where the word begins and ends. Different n-grams may share a number. An empty word
    has none.
    """
    marked = f"<{word}>"
    lengths = range(SHORTEST, LONGEST + 1)
    grams = [marked[n : n + length] for length in lengths for n in range(len(marked) - length + 1)]
    return tuple(zlib.crc32(gram.encode()) % buckets for gram in grams)
