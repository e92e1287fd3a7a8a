"""How words are spelled, as numbers: words that training never saw are like those spelled alike."""

import zlib
from functools import lru_cache

SHORTEST, LONGEST = 3, 5  # letters of an n-gram


@lru_cache(maxsize=1 << 16)
def spell(word: str, buckets: int) -> tuple[int, ...]:
    """Return the n-grams of "<word>", each as its hash modulo `buckets` (Bojanowski et al. 2017, section 3.2).

    < and > mark where the word begins and ends. Different n-grams may share a number. None of an empty word.
    """
    marked = f"<{word}>"
    lengths = range(SHORTEST, LONGEST + 1)
    found = [marked[n : n + length] for length in lengths for n in range(len(marked) - length + 1)]
    return tuple(zlib.crc32(gram.encode()) % buckets for gram in found)
