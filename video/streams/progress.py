"""How many frames of films were read: a bar on a terminal, else a line now and then."""

import sys
import time
from collections.abc import Iterable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import TextIO

import cv2

from core.training.progress import Bar
from datasets.videos.files import stated
from video.streams.frames import Frame, Frames

LINE_EVERY = 30.0  # seconds between the lines that tell how far it is


class FrameProgress:
    """Shows how many of the stated frames were read, and the time left.

    Args:
        total: frames that the films state; 0: unknown.
        verb: what is done to them, past tense.
        lines: where the lines go.
        quiet: lines instead of a bar.
    """

    def __init__(self, total: int, verb: str, lines: TextIO, *, quiet: bool = False):
        self.total = total
        self.verb = verb
        self.lines = lines
        self.done = 0
        self.start = time.monotonic()
        self.told = self.start
        terminal = sys.stdout.isatty() and not quiet
        self.bar = None
        if terminal and total:
            self.bar = Bar(0, total, (), unit="frames", transient=True)

    def __enter__(self) -> "FrameProgress":
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar:
            self.bar.close()

    def tick(self, frames: int) -> None:
        """Tell that so many more frames were read."""
        self.done += frames
        if self.total:  # a header may state too few
            self.done = min(self.done, self.total)
        if self.bar:
            self.bar.tick(self.done)
            return
        now = time.monotonic()
        if now - self.told > LINE_EVERY and self.done:
            self.told = now
            print(self._line(now - self.start), file=self.lines, flush=True)

    def watch(self, frames: Frames) -> Iterator[Frame]:
        """Yield the frames of a film, and tick."""
        before = 0
        for frame in frames:
            yield frame
            self.tick(frames.read - before)
            before = frames.read

    def _line(self, seconds: float) -> str:
        rate = self.done / seconds
        if not self.total:
            return f"{self.verb} {self.done} frames, {rate:.0f} a second"
        left = timedelta(seconds=round((self.total - self.done) / rate))
        counts = f"{self.verb} {self.done} of about {self.total} frames"
        return f"{counts}, {rate:.0f} a second, {left} left"


def stated_frames(films: Iterable[Path]) -> int:
    """Return how many frames films claim to have, and folders of pictures hold, together."""
    return sum(_stated(film) for film in films)


def _stated(film: Path) -> int:
    if not film.exists():  # an address
        return 0
    if film.is_dir():
        return sum(1 for _ in film.iterdir())
    (frames,) = stated(film, cv2.CAP_PROP_FRAME_COUNT)
    return max(0, round(frames))
