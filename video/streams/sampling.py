"""Which frames of a film the net is shown, so that it sees a film as fast as those it learned from.

    sampling = Sampling(stride=1, rate=10.0)
    shown = sampling.counter(29.97)
    shown(0.0), shown(0.033), shown(0.067), shown(0.1)    # 1, 0, 0, 1

The net has learned how much happens from one frame to the next. A film of another rate is shown at
the same moments k / rate, and at each of them the frame nearest to it: of a faster film frames are
left out, and those of a slower one are shown several times.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

ALIKE = 0.02  # rates that differ by this share of one another are the same
LONGEST_HOLD = 10.0  # seconds for which one frame is shown to the net at most


@dataclass(frozen=True)
class Sampling:
    """How the frames of a film are chosen."""

    stride: int = 1
    """Of how many frames one is shown, where the film's rate over this is `rate`."""
    rate: float | None = None
    """Frames a second that the net is shown; None: every `stride`-th, whatever the film's rate."""

    def resamples(self, film: float) -> bool:
        """Return whether frames of a film of `film` frames a second are chosen by their times."""
        return self.rate is not None and abs(film / self.stride - self.rate) > ALIKE * self.rate

    def counter(self, film: float) -> Callable[[float], int]:
        """Return what tells of each next frame, by its time in seconds, how often it is shown."""
        if not self.resamples(film):
            return _Every(self.stride)
        assert self.rate is not None
        return _ByTime(self.rate, 0.5 / film)


class _Every:
    def __init__(self, stride: int):
        self.stride = stride
        self.frames = 0

    def __call__(self, seconds: float) -> int:
        self.frames += 1
        return int((self.frames - 1) % self.stride == 0)


class _ByTime:
    """Counts the moments k / rate nearest to each frame: those up to half a frame after it."""

    def __init__(self, rate: float, half: float):
        self.rate = rate
        self.half = half
        self.moments = 0  # those passed

    def __call__(self, seconds: float) -> int:
        passed = math.floor((seconds + self.half) * self.rate + 1e-9) + 1
        shown = passed - self.moments
        self.moments = max(passed, self.moments)
        return min(max(shown, 0), max(1, round(LONGEST_HOLD * self.rate)))
