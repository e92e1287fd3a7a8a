"""A frame, and an opened source of frames: a file, a folder, a camera or a stream."""

import time
from abc import ABC, abstractmethod
from array import array
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import UInt8

from core.errors import InputError
from video.streams.sampling import Sampling

Pixels = UInt8[np.ndarray, "height width 3"]


@dataclass(frozen=True)
class Frame:
    """One frame of a source."""

    index: int
    """Its number in the source, from 0; frames left out by sampling count too."""
    seconds: float
    """Its time since the first frame; later than that of the frame before."""
    pixels: Pixels
    """RGB."""
    shown: int = 1
    """How often the net is to be shown it: see `video.streams.sampling`."""


class Wanted(NamedTuple):
    """What `open_source` was asked for."""

    sampling: Sampling
    size: tuple[int, int] | None
    rate: float | None
    live: bool


class Frames(ABC, Iterator[Frame]):
    """The frames of an opened source, to be gone through once. All are of one size.

    Attributes:
        name: what to call the source.
        rate: frames a second, on the whole.
        live: whether the source goes on while nobody reads it.
        size: height and width of the frames.
        resamples: whether frames are chosen by their times, because of another rate.
        times: the time in seconds of each frame decoded so far; those left out count too.
    """

    def __init__(self, name: str, rate: float, live: bool, wanted: Wanted):
        self.name = name
        self.rate = rate
        self.live = live or wanted.live
        self.times = array("d")
        self.resamples = wanted.sampling.resamples(rate)
        self._paced = wanted.live
        self._start = 0.0
        self._rest = self._decode(wanted.sampling, wanted.size)
        self._first = next(self._rest, None)
        if self._first is None:
            raise InputError(f"{name}: {self._why_empty()}")
        self.size = self._first.pixels.shape[:2]

    def __next__(self) -> Frame:
        frame = self._first or next(self._rest)
        self._first = None
        if self._paced:
            self._start = self._start or time.monotonic() - frame.seconds
            time.sleep(max(0.0, self._start + frame.seconds - time.monotonic()))
        return frame

    @property
    def read(self) -> int:
        """How many frames were decoded so far."""
        return len(self.times)

    def close(self) -> None:
        """Let go of the file, camera or stream, as the end of the frames does."""
        self._first = None
        self._rest.close()

    @property
    def truncated(self) -> bool:
        """Whether the source ended before the end it states; known after the last frame."""
        return False

    @property
    def remarks(self) -> list[str]:
        """What the user should know of the source, a line each; complete after the last frame."""
        return []

    def _decode(self, sampling: Sampling, size: tuple[int, int] | None) -> Generator[Frame]:
        count = sampling.counter(self.rate)
        try:
            while (seconds := self._advance()) is not None:
                self.times.append(seconds)
                if shown := count(seconds):
                    pixels = self._pixels()
                    size = size or pixels.shape[:2]
                    yield Frame(self.read - 1, seconds, resize(pixels, size), shown)
        finally:
            self._release()

    @abstractmethod
    def _advance(self) -> float | None:
        """Go to the next frame; return its seconds, or None after the last one."""

    @abstractmethod
    def _pixels(self) -> Pixels:
        """Return the frame gone to."""

    @abstractmethod
    def _why_empty(self) -> str:
        """Return why there is no frame."""

    @abstractmethod
    def _release(self) -> None:
        """Close what is open."""


def resize(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    """Return the frame at a size (height, width), averaging where it shrinks."""
    height, width = size
    if pixels.shape[:2] == size:
        return pixels
    shrinks = height * width < pixels.shape[0] * pixels.shape[1]
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return cv2.resize(pixels, (width, height), interpolation=interpolation)
