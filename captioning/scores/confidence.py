"""How sure a captioner may be of a sentence: calibrated on validation data (Platt 1999).

A sentence counts as right if at least half of its content words are used by one of the people who
described the picture. The probability of that is read off the sentence's own probability:

    m = log p / (words + 1)                   log of the geometric mean over its words and its end
    confidence = sigmoid(scale * m + offset)

Below `UNSURE` a sentence is more probably wrong than right.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

from captioning.scores.content import content

UNSURE = 0.5  # confidence below which a sentence is told as unsure
BINS = 5  # of a reliability table


class Confidence(NamedTuple):
    """The calibration; by default the geometric mean of the words' probabilities, uncalibrated."""

    scale: float | None = None
    offset: float = 0.0

    def __call__(self, log_probability: float, words: int) -> float:
        """Return the confidence in a sentence of that many words."""
        mean = mean_log_probability(log_probability, words)
        if self.scale is None:
            return math.exp(mean)
        return _sigmoid(self.scale * mean + self.offset)


UNCALIBRATED = Confidence()


class Bin(NamedTuple):
    """A row of a reliability table."""

    sentences: int
    confidence: float
    """Mean confidence in them."""
    right: float
    """Share of them that is right."""


def mean_log_probability(log_probability: float, words: int) -> float:
    """Return the mean log probability of a sentence's words, its end counted as one."""
    return log_probability / (words + 1)


def is_right(words: Sequence[str], references: Sequence[Sequence[str]]) -> bool:
    """Whether at least half of the content words occur in one of the references."""
    said = content(words)
    used = {word for reference in references for word in reference}
    return bool(said) and 2 * len(said & used) >= len(said)


def calibrate(means: Sequence[float], right: Sequence[bool]) -> Confidence:
    """Fit scale and offset by maximum likelihood, with a weak prior (20 Newton steps).

    The targets are not 1 and 0 but (n + 1) / (n + 2) and 1 / (m + 2) for n right and m wrong
    sentences (Platt 1999, section 2.2): a few sentences that are all right make no other certain.

    Args:
        means: `mean_log_probability` of each sentence.
        right: whether it is right.
    """
    scale, offset = 1.0, 0.0
    prior = 1e-3 * len(means)
    n = sum(right)
    target_right = (n + 1) / (n + 2)
    target_wrong = 1 / (len(right) - n + 2)
    for _ in range(20):
        gradient_scale, gradient_offset = prior * (scale - 1.0), 0.0
        h_ss, h_so, h_oo = prior, 0.0, 1e-9
        for x, correct in zip(means, right, strict=True):
            y = target_right if correct else target_wrong
            p = _sigmoid(scale * x + offset)
            gradient_scale += (p - y) * x
            gradient_offset += p - y
            weight = p * (1 - p)
            h_ss += weight * x * x
            h_so += weight * x
            h_oo += weight
        determinant = h_ss * h_oo - h_so * h_so
        scale -= (h_oo * gradient_scale - h_so * gradient_offset) / determinant
        offset -= (h_ss * gradient_offset - h_so * gradient_scale) / determinant
    return Confidence(scale, offset)


def reliability(confidences: Sequence[float], right: Sequence[bool]) -> list[Bin]:
    """Return the reliability table: sentences by confidence, in `BINS` bins of equal width."""
    bins: list[list[tuple[float, bool]]] = [[] for _ in range(BINS)]
    for confidence, correct in zip(confidences, right, strict=True):
        bins[min(int(confidence * BINS), BINS - 1)].append((confidence, correct))
    table = []
    for members in bins:
        count = len(members)
        if count:
            mean = sum(confidence for confidence, _ in members) / count
            share = sum(correct for _, correct in members) / count
            table.append(Bin(count, mean, share))
    return table


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-min(max(x, -30.0), 30.0)))
