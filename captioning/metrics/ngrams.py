"""How close captions are to references: BLEU-1..4, ROUGE-L and CIDEr, without Java.

    corpus_metrics([["a", "dog"]], [[["a", "dog", "runs"], ["the", "dog"]]])["BLEU-1"]      # 1.0

The figures equal those of pycocoevalcap, that is of COCO's evaluation server (Chen et al. 2015).
They are from 0 to 1, CIDEr from 0 to 10; papers print 100 times as much. What papers, that server
and pycocoevalcap call CIDEr is CIDEr-D by its formula (Vedantam et al. 2015), and so it is here. It
weighs words by how few images have them in their references: so it depends on the set of images,
and is 0 for a single image.

A caption is a sequence of words. Candidates and references need the same tokenisation, on which the
figures depend strongly.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Sequence
from functools import lru_cache
from itertools import chain
from typing import NamedTuple

Words = Sequence[Hashable]
Ngrams = Counter[tuple[Hashable, ...]]

LONGEST = 4  # words of the longest n-grams
SIZES = range(1, LONGEST + 1)
SIGMA = 6.0  # of the Gaussian over differences of length in CIDEr-D
BETA = 1.2  # what recall counts for in ROUGE-L, precision counting for 1


def corpus_metrics(
    candidates: Sequence[Words], references: Sequence[Sequence[Words]]
) -> dict[str, float]:
    """Return BLEU-1 to BLEU-4, ROUGE-L and CIDEr of a caption for each image.

    Args:
        candidates: the caption of each image.
        references: the references of each image, one at least.

    Raises:
        ValueError: there is no image, or not one candidate for each, or an image has no reference.
    """
    if not candidates or len(candidates) != len(references):
        counts = f"{len(candidates)} captions of {len(references)} images"
        raise ValueError(f"{counts}: there must be one of each")
    cider = CiderD(references)
    pairs = zip(candidates, references, strict=True)
    figures = {f"BLEU-{n}": value for n, value in enumerate(bleu(candidates, references), 1)}
    figures["ROUGE-L"] = _mean(rouge_l(candidate, texts) for candidate, texts in pairs)
    figures["CIDEr"] = _mean(cider.reward(image, text) for image, text in enumerate(candidates))
    return figures


def bleu(candidates: Sequence[Words], references: Sequence[Sequence[Words]]) -> list[float]:
    """Return BLEU-1 to BLEU-4 of a corpus (Papineni et al. 2002).

    The brevity penalty takes the reference of the closest length, the shorter one of two.
    """
    guessed = [0] * LONGEST
    right = [0] * LONGEST
    length = 0
    closest = 0
    for candidate, texts in zip(candidates, references, strict=True):
        most: Ngrams = Counter()
        for text in texts:
            most |= ngrams(text)
        for ngram, count in ngrams(candidate).items():
            guessed[len(ngram) - 1] += count
            right[len(ngram) - 1] += min(count, most[ngram])
        length += len(candidate)
        closest += min((len(text) for text in texts), key=lambda n: (abs(n - len(candidate)), n))
    # Against division by zero, as in pycocoevalcap; they are seen only if nothing is right.
    small = 1e-9
    tiny = 1e-15
    brevity = math.exp(min(0.0, 1 - (closest + small) / (length + tiny)))
    precisions = [
        (hits + tiny) / (tries + small) for hits, tries in zip(right, guessed, strict=True)
    ]
    return [brevity * math.prod(precisions[:n]) ** (1 / n) for n in range(1, LONGEST + 1)]


def rouge_l(candidate: Words, references: Sequence[Words]) -> float:
    """Return ROUGE-L (Lin 2004): F of the best precision and the best recall.

    They are those of the longest common subsequence with one of the references.
    """
    common = [longest_common_subsequence(candidate, text) for text in references]
    if not any(common):
        return 0.0
    precision = max(common) / len(candidate)
    recall = max(n / max(len(text), 1) for n, text in zip(common, references, strict=True))
    return (1 + BETA**2) * precision * recall / (recall + BETA**2 * precision)


def longest_common_subsequence(a: Words, b: Words) -> int:
    """Return how many words two captions have in common, in order."""
    above = [0] * (len(b) + 1)
    for word in a:
        row = [0]
        for n, other in enumerate(b):
            row.append(above[n] + 1 if word == other else max(above[n + 1], row[n]))
        above = row
    return above[-1]


class _Reference(NamedTuple):
    """The references of one image, as CIDEr-D needs them."""

    weights: dict[tuple[Hashable, ...], list[tuple[int, float, float]]]
    """For each n-gram the references that have it: (number, g, g / ||g||)."""
    lengths: list[int]


class CiderD:
    """CIDEr-D (Vedantam et al. 2015) against the references of a set of images.

        g_k(s) = tf_k(s) log(images / images that have k)            for each n-gram k
        CIDEr-D_n(c, S) = 10/m sum_j exp(-(l(c) - l(s_j))^2 / 2 sigma^2)
                               sum_k min(g_k(c), g_k(s_j)) g_k(s_j) / (||g(c)|| ||g(s_j)||)

    and its mean over n = 1..4. An n-gram that no image has weighs as if one image had it.

    Args:
        references: the references of each image, at least one; of words, or other hashable things.

    Raises:
        ValueError: an image has no reference.
    """

    def __init__(self, references: Sequence[Sequence[Words]]):
        for image, texts in enumerate(references):
            if not texts:
                raise ValueError(f"image {image} has no reference")
        self.references = references
        images: Counter[tuple[Hashable, ...]] = Counter()
        for texts in references:
            images.update(set(chain.from_iterable(ngrams(text) for text in texts)))
        self._most = math.log(max(len(references), 1))
        # Most n-grams belong to a single image, and weigh like those of none.
        self._idf = {
            ngram: self._most - math.log(count) for ngram, count in images.items() if count > 1
        }
        # The references of an image take 50 KB: those of all images are not kept.
        self._reference = lru_cache(maxsize=1024)(self._weigh)

    def reward(self, image: int, candidate: Words) -> float:
        """Return CIDEr-D of a caption of an image, from 0 to 10."""
        weights, lengths = self._reference(image)
        g, norms = self.vector(candidate)
        similarity = [0.0] * len(lengths)
        for ngram, weight in g.items():
            for which, other, direction in weights.get(ngram, ()):
                similarity[which] += min(weight, other) * direction / norms[len(ngram)]
        total = 0.0
        for length, value in zip(lengths, similarity, strict=True):
            total += value * math.exp(-((len(candidate) - length) ** 2) / (2 * SIGMA**2))
        return 10 / LONGEST * total / len(lengths)

    def vector(self, words: Words) -> tuple[dict[tuple[Hashable, ...], float], list[float]]:
        """Return g of a caption, and its norms by n; a norm of 0 is given as 1, to divide by."""
        g = {}
        squares = [0.0] * (LONGEST + 1)
        for ngram, count in ngrams(words).items():
            g[ngram] = weight = count * self._idf.get(ngram, self._most)
            squares[len(ngram)] += weight * weight
        return g, [math.sqrt(square) or 1.0 for square in squares]

    def _weigh(self, image: int) -> _Reference:
        """The references of an image, by n-gram."""
        weights = defaultdict(list)
        for which, text in enumerate(self.references[image]):
            g, norms = self.vector(text)
            for ngram, weight in g.items():
                weights[ngram].append((which, weight, weight / norms[len(ngram)]))
        return _Reference(dict(weights), [len(text) for text in self.references[image]])


def ngrams(words: Words) -> Ngrams:
    """Return how often a caption has each n-gram of one to four words."""
    counts: Ngrams = Counter()
    for n in SIZES:
        counts.update(zip(*(words[start:] for start in range(n)), strict=False))
    return counts


def _mean(values: Iterable[float]) -> float:
    values = list(values)
    return sum(values) / len(values)
