"""Stop when sure: after every glimpse the net may answer, and needs no more glimpses then.

An image is answered after the first glimpse at which some class is more probable than
`threshold` (Wang et al. 2020, Glance and Focus Networks; one threshold for all glimpses). It is
set on the validation images and kept in the checkpoint (glimpse/stop.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from core.errors import InputError

THRESHOLDS = 200  # that are tried, closer together towards 1


@dataclass(frozen=True)
class OperatingPoint:
    """What a threshold costs and gives."""

    threshold: float  # probability of a class above which the model answers
    glimpses: float  # on average
    error: float  # percent


def last_glimpses(
    p: Float[Tensor, "glimpses count classes"], threshold: float
) -> Int[Tensor, " count"]:
    """Return for each image the number, from 0, of the glimpse after which it is answered."""
    sure = p.amax(-1) > threshold
    sure[-1] = True
    return sure.int().argmax(0)


def point_at(
    p: Float[Tensor, "glimpses count classes"], labels: Int[Tensor, " count"], threshold: float
) -> OperatingPoint:
    """Return cost and error of a threshold."""
    last = last_glimpses(p, threshold)
    answers = p.argmax(-1).gather(0, last[None])[0]
    error = 100 * float((answers != labels).float().mean())
    return OperatingPoint(threshold, float((last + 1).float().mean()), error)


def curve(
    p: Float[Tensor, "glimpses count classes"], labels: Int[Tensor, " count"]
) -> list[OperatingPoint]:
    """Return the operating points from answering at once to using all glimpses, cheapest first."""
    guess = 1 / p.shape[-1]
    closeness = torch.linspace(0, 6, THRESHOLDS).neg().exp2().tolist()
    thresholds = [1 - (1 - guess) * rest**2 for rest in closeness]
    return [point_at(p, labels, threshold) for threshold in [*thresholds, 1.0]]


def choose(
    points: Sequence[OperatingPoint], *, error: float | None = None, glimpses: float | None = None
) -> OperatingPoint:
    """Return the cheapest point of at most `error`, or the best of at most so many glimpses.

    Raises `InputError` if there is none.
    """
    if error is not None:
        fitting = [each for each in points if each.error <= error]
        if not fitting:
            least = min(each.error for each in points)
            raise InputError(f"no threshold has {error} % error; the least is {least:.2f} %")
        return min(fitting, key=lambda each: (each.glimpses, each.error))
    fitting = [each for each in points if glimpses is None or each.glimpses <= glimpses]
    if not fitting:
        raise InputError(f"{glimpses} glimpses are too few: at least 1 is needed")
    return min(fitting, key=lambda each: (each.error, each.glimpses))
