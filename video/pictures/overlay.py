"""Writes a video with its labels on it: under each frame their names, its time, and a strip.

    with Overlay(path, frames.rate, classes, spans) as overlay:
        for frame, label in zip(frames, labels):
            overlay.write(frame, label)

A .webm is VP8, which browsers play. A .mp4 is MPEG-4 part 2, which players open and browsers do
not; writing it takes a tenth of the time. Both have a fixed rate, at which every frame is held from
its own time to the next one's.
"""

import math
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Self, cast

import cv2
import numpy as np
from PIL import Image, ImageDraw

from core.errors import InputError
from core.files import replacing
from video.labels.formats import Span
from video.pictures.drawing import clock, palette
from video.pictures.fonts import cut, font
from video.pictures.strip import Strip
from video.streams.decoding import silence
from video.streams.frames import Frame, Pixels, resize
from video.streams.reader import open_source

CODES = {".webm": "VP80", ".mp4": "mp4v"}
LEAST_WIDTH = 360  # pixels of a drawn frame
LONGEST_SIDE = 1280
FASTEST = 60.0  # frames a second
LONGEST_HOLD = 60.0  # seconds for which a frame is shown at most: time stamps may jump by years
NOTHING = "-"  # the name of no label
PAPER, INK, GREY = "#14141d", "#f6f6fa", "#b9b9cb"
STRIP = 0.36  # height of the strip, that of the band above it being 1


class Overlay:
    """A video being written. It appears at `path` when it is whole; an error leaves nothing.

    Args:
        path: the file, .webm or .mp4.
        rate: frames a second; no more than 60 are written.
        classes: names of the labels.
        spans: the segments of the whole video; without them the strip shows the last half minute.
        multi: whether several labels can occur at once: the strip has a lane for each.
        plain: whether the frames are left as they are, without labels.

    Attributes:
        cut: seconds that were left out, because the time stamps jump.

    Raises:
        InputError: it has another suffix, or cannot be written.
    """

    def __init__(
        self,
        path: Path,
        rate: float,
        classes: Sequence[str],
        spans: Sequence[Span] = (),
        *,
        multi: bool = False,
        plain: bool = False,
    ):
        if path.suffix.lower() not in CODES:
            kinds = "a .webm (for browsers) or a .mp4 (for players)"
            raise InputError(f"{path}: an overlay can be {kinds}")
        self.path = path
        self.rate = min(rate, FASTEST)
        self.classes = classes
        self.cut = 0.0
        self._plain = plain
        self._strip = Strip(classes, spans, self.rate, multi=multi)
        self._files = ExitStack()
        self._writer: cv2.VideoWriter | None = None
        self._temporary = path
        self._picture: Pixels | None = None
        self._seconds = 0.0
        self._written = 0

    def write(self, frame: Frame, *labels: int) -> None:
        """Draw the next frame and its labels; it stays until the time of the one after it."""
        pixels = resize(frame.pixels, _fit(*frame.pixels.shape[:2]))
        picture = pixels if self._plain else self._with_labels(pixels, frame.seconds, labels)
        if self._writer is None:
            self._writer = self._open(picture.shape[:2])
            self._picture = picture
        self._hold(frame.seconds)
        self._picture = picture
        self._seconds = frame.seconds

    def _with_labels(self, pixels: Pixels, seconds: float, labels: Sequence[int]) -> Pixels:
        """Return the frame with the names of its labels, its time and the strip below it."""
        width = pixels.shape[1]
        name = " + ".join(self.classes[label] for label in labels) or NOTHING
        colour = palette(len(self.classes))[labels[0]].tolist() if labels else _grey()
        band = _band(name, tuple(colour), width)
        height = _even(STRIP * _band_height(width))
        strip = self._strip.draw(seconds, labels, width, height)
        return np.concatenate([pixels, _stamp(band, seconds), strip])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: Any) -> None:
        if self._writer is None:
            return
        try:
            if error is None:
                self._hold(max(self._strip.end, self._seconds + 1 / self.rate))
                self._require_whole(self._writer)
        except BaseException:
            self._writer.release()
            self._files.__exit__(*sys.exc_info())
            raise
        self._writer.release()
        self._files.__exit__(kind, error, trace)

    def _hold(self, until: float) -> None:
        """Repeat the last picture up to a time in seconds, for `LONGEST_HOLD` at most.

        Of several pictures within one tick, the last is written.
        """
        assert self._writer is not None
        assert self._picture is not None
        ticks = round((until - self.cut) * self.rate) - self._written
        most = round(LONGEST_HOLD * self.rate)
        if ticks > most:
            self.cut += (ticks - most) / self.rate
            ticks = most
        picture = cv2.cvtColor(self._picture, cv2.COLOR_RGB2BGR)
        for _ in range(ticks):
            self._writer.write(picture)
            self._written += 1

    def _open(self, size: tuple[int, int]) -> cv2.VideoWriter:
        self._temporary = self._files.enter_context(replacing(self.path))
        name = cast("str", os.fsencode(self._temporary.absolute()))
        code = CODES[self.path.suffix.lower()]
        fourcc = cv2.VideoWriter.fourcc(*code)
        height, width = size
        with _hushed():
            writer = cv2.VideoWriter(name, cv2.CAP_FFMPEG, fourcc, self.rate, (width, height))
        if not writer.isOpened():
            error = f"OpenCV {cv2.__version__} has no encoder {code}"
            raise InputError(f"cannot write {self.path}: {error}")
        return writer

    def _require_whole(self, writer: cv2.VideoWriter) -> None:
        """Close the file; raise InputError unless all of it is there.

        OpenCV does not tell when a disk is full.
        """
        writer.release()
        name = cast("str", os.fsencode(self._temporary.absolute()))
        stated = cv2.VideoCapture(name, cv2.CAP_FFMPEG)
        if stated.get(cv2.CAP_PROP_FRAME_COUNT) < self._written - 2:
            raise InputError(f"cannot write {self.path}: it came out damaged; is the disk full?")


def write_copy(path: Path, source: str, fps: float | None = None) -> None:
    """Write a copy of a source that browsers play, .webm, with each frame at its own time.

    Raises:
        InputError: it cannot be written.
    """
    frames = open_source(source, rate=fps)
    with Overlay(path, frames.rate, (), plain=True) as copy:
        for frame in frames:
            copy.write(frame)


def _fit(height: int, width: int) -> tuple[int, int]:
    """Return the size at which frames are drawn: even, and a whole multiple if they are small."""
    scale = min(max(1, math.ceil(LEAST_WIDTH / width)), LONGEST_SIDE / max(height, width))
    return _even(scale * height), _even(scale * width)


def _even(length: float) -> int:
    return max(2, round(length / 2) * 2)


def _band_height(width: int) -> int:
    return _even(min(max(28, width / 13), 56))


def _grey() -> list[int]:
    return [*bytes.fromhex(GREY[1:])]


@cache
def _band(name: str, colour: tuple[int, int, int], width: int) -> Image.Image:
    """The name of a label, after its colour."""
    height = _band_height(width)
    band = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(band)
    letters = font(height // 2)
    gap = height // 4
    draw.rounded_rectangle((gap, gap, height - gap, height - gap), gap // 2, colour)
    space = width - height - 3 * gap - letters.getlength("0:00:00.0")
    draw.text((height, height / 2), cut(name, letters, space), INK, letters, "lm")
    return band


def _stamp(band: Image.Image, seconds: float) -> Pixels:
    """The band with a time at its end."""
    stamped = band.copy()
    height = band.height
    place = (band.width - height // 4, height / 2)
    ImageDraw.Draw(stamped).text(place, clock(seconds, 1), GREY, font(height * 3 // 7), "rm")
    return np.asarray(stamped)


@contextmanager
def _hushed() -> Iterator[None]:
    """Nothing on standard error: OpenCV remarks there on VP8 in .webm, whatever its log level."""
    silence()
    kept = os.dup(2)
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
