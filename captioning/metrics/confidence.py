"""How sure a captioner may be of a sentence: calibrated on validation data (Platt 1999).

A sentence counts as right if at least half of its content words are used by one of the people who
described the picture. The probability of that is read off the sentence's own probability and off
the shares q_w of people who use them, which a detector predicts (`captioning.concepts.detector`):

    m = log p / (words + 1)                   log of the geometric mean over its words and its end
    e = mean of log(q_w + 0.01)               over its words that the detector has, log 0.01 if
                                              it has none; 0 without a detector
    confidence = sigmoid(scale * m + weight * e + offset)

Below `UNSURE` a sentence is more probably wrong than right.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch

from captioning.metrics.content import content

UNSURE = 0.5  # confidence below which a sentence is told as unsure
BINS = 5  # of a reliability table
LEAST = 0.01  # is added to the share of people who use a word


class Confidence(NamedTuple):
    """The calibration; by default the geometric mean of the words' probabilities, uncalibrated."""

    scale: float | None = None
    offset: float = 0.0
    weight: float = 0.0
    """Of the mean log share."""

    def __call__(self, log_probability: float, words: int, log_share: float = 0.0) -> float:
        """Return the confidence in a sentence of that many words."""
        mean = mean_log_probability(log_probability, words)
        if self.scale is None:
            return math.exp(mean)
        return _sigmoid(self.scale * mean + self.weight * log_share + self.offset)


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


def mean_log_share(shares: Sequence[float]) -> float:
    """Return e of the shares of people who use the words of a sentence."""
    if not shares:
        return math.log(LEAST)
    return sum(math.log(share + LEAST) for share in shares) / len(shares)


def is_right(words: Sequence[str], references: Sequence[Sequence[str]]) -> bool:
    """Whether at least half of the content words occur in one of the references."""
    said = content(words)
    used = {word for reference in references for word in reference}
    return bool(said) and 2 * len(said & used) >= len(said)


def calibrate(
    means: Sequence[float], log_shares: Sequence[float], right: Sequence[bool]
) -> Confidence:
    """Fit scale, weight and offset by maximum likelihood, with a weak prior (20 Newton steps).

    The targets are not 1 and 0 but (n + 1) / (n + 2) and 1 / (m + 2) for n right and m wrong
    sentences (Platt 1999, section 2.2): a few sentences that are all right make no other certain.

    Args:
        means: `mean_log_probability` of each sentence.
        log_shares: `mean_log_share` of each.
        right: whether it is right.
    """
    n = sum(right)
    target_right = (n + 1) / (n + 2)
    target_wrong = 1 / (len(right) - n + 2)
    y = torch.tensor([target_right if one else target_wrong for one in right]).double()
    x = torch.tensor([[m, e, 1.0] for m, e in zip(means, log_shares, strict=True)]).double()
    prior = torch.tensor([1.0, 0.0, 0.0]).double()
    strength = torch.tensor([1e-3 * len(y), 1e-3 * len(y), 1e-9]).double()
    fitted = prior.clone()
    for _ in range(20):
        p = torch.sigmoid(x @ fitted)
        gradient = x.T @ (p - y) + strength * (fitted - prior)
        hessian = (x.T * (p * (1 - p))) @ x + strength.diag()
        fitted -= torch.linalg.solve(hessian, gradient)
    scale, weight, offset = fitted.tolist()
    return Confidence(scale, offset, weight)


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
