"""The words of captions that carry content, and the share of those people agree on that is used.

agreed([["a", "dog", "runs"], ["the", "dog"], ["one", "brown", "dog"]])     # {"dog"}
"""

import math
from collections import Counter
from collections.abc import Sequence

AGREED = 0.6  # of the people: three of five
_LIST = """
a about above across after against all along also am among an and another any are around as at
away back be because been before behind being below beneath beside between both but by can could
did do does doing down during each either for from front get gets getting go goes going had has
have having he her here hers him his how i in inside into is it its itself just like may me more
most much my near next no nor not of off on one only onto or other others our out outside over
own per she should side so some someone something such than that the their them then there these
they this those through to together too toward towards under until up upon us very was we were
what when where which while who whose will with within without would you your 's n't 're 've 'll
'd 'm
"""
FUNCTION_WORDS = frozenset(_LIST.split())
"""Articles, pronouns, prepositions, conjunctions, auxiliaries and adverbs of place and degree."""

Words = Sequence[str]


def content(words: Words) -> set[str]:
    """Return the words that are no function words."""
    return set(words) - FUNCTION_WORDS


def agreed(references: Sequence[Words]) -> set[str]:
    """Return the content words that at least three of five people use, and at least two people."""
    counts = Counter(word for words in references for word in content(words))
    least = max(math.ceil(AGREED * len(references)), 2)
    return {word for word, count in counts.items() if count >= least}


def consensus_words(candidates: Sequence[Words], references: Sequence[Sequence[Words]]) -> float:
    """Return the share, from 0 to 1, of all words that people agree on that the captions use.

    Words are compared as they are written: "dogs" is not "dog". NaN if people agree on none.
    """
    used, wanted = 0, 0
    for candidate, texts in zip(candidates, references, strict=True):
        words = agreed(texts)
        used += len(words & set(candidate))
        wanted += len(words)
    return used / wanted if wanted else math.nan
