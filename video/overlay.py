"""Writes a video with its labels on it: under each frame the name of its label, its time, and a strip of labels.

    with Overlay(path, frames.rate, classes, spans) as overlay:
        for frame, label in zip(frames, labels):
            overlay.write(frame, label)

A .webm is VP8, which browsers play. A .mp4 is MPEG-4 part 2, which players open and browsers do not; writing it
takes a tenth of the time. Both have a fixed rate, at which every frame is held from its own time to the next one's.
"""

import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Self, cast

import cv2
import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw

from core.errors import InputError
from core.files import writing
from datasets.fonts import cut, font
from video.drawing import clock, columns, paint, palette
from video.formats import Span
from video.reader import Frame, Pixels, resize, silence

CODES = {".webm": "VP80", ".mp4": "mp4v"}
LEAST, MOST = 360, 1280  # pixels of a drawn frame: its width at least, its longer side at most
FASTEST = 60.0  # frames a second
RECENT = 30.0  # seconds in the strip if those to come are not known
PAPER, INK, GREY = "#14141d", "#f6f6fa", "#b9b9cb"
EMPTY = "#2b2b38"  # of the strip, where nothing is known
TO_COME = 0.45  # how bright the strip is after the frame
STRIP = 0.36  # its height, that of the band above it being 1


class Overlay:
    """A video being written. It appears at `path` when it is whole; an exception in its block leaves nothing.

    Args:
        path: the file, .webm or .mp4.
        rate: frames a second; no more than 60 are written.
        classes: names of the labels.
        spans: the segments of the whole video; without them the strip shows the last half minute.

    Raises:
        InputError: it has another suffix, or cannot be written.
    """

    def __init__(self, path: Path, rate: float, classes: Sequence[str], spans: Sequence[Span] = ()):
        if path.suffix.lower() not in CODES:
            raise InputError(
                f"{path}: an overlay can be a .webm (for browsers) or a .mp4 (for players)"
            )
        self.path, self.rate, self.classes = path, min(rate, FASTEST), classes
        self._spans, self._foreseen = list(spans), bool(spans)
        self._writer: cv2.VideoWriter | None = None
        self._picture: Pixels | None = None
        self._whole: UInt8[np.ndarray, "width 3"] | None = None  # the strip, if its spans are known
        self._seconds, self._written = 0.0, 0

    @property
    def _partial(self) -> Path:
        return self.path.with_name(f"{self.path.stem}.partial{self.path.suffix}")

    def write(self, frame: Frame, label: int) -> None:
        """Draw the next frame, which stays until the time of the one after it."""
        pixels = resize(frame.pixels, _fit(*frame.pixels.shape[:2]))
        width = pixels.shape[1]
        band = _band(self.classes[label], tuple(palette(len(self.classes))[label].tolist()), width)
        picture = np.concatenate(
            [pixels, _stamp(band, frame.seconds), self._strip(frame.seconds, label, width)]
        )
        if self._writer is None:
            self._writer, self._picture = self._open(picture.shape[:2]), picture
        self._hold(frame.seconds)
        self._picture, self._seconds = picture, frame.seconds

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type | None, *_: object) -> None:
        if self._writer is None:
            return
        try:
            if kind is None:
                end = self._spans[-1].end if self._foreseen else 0.0
                self._hold(max(end, self._seconds + 1 / self.rate))
                self._publish(self._writer)
        finally:
            self._writer.release()
            self._partial.unlink(missing_ok=True)

    def _strip(self, seconds: float, label: int, width: int) -> Pixels:
        """Labels over time as colours: of the whole video with a mark at `seconds`, or of the last half minute."""
        if self._foreseen:
            start, end = self._spans[0].start, self._spans[-1].end
            mark = round((width - 1) * (seconds - start) / (end - start))
            colours = self._colours(start, end, width) if self._whole is None else self._whole
            self._whole, colours = colours, colours.copy()
            colours[mark:] = colours[mark:] * TO_COME
            colours[max(0, mark - 2) : mark + 3], colours[max(0, mark - 1) : mark + 2] = 0, 255
        else:
            start, end = seconds - RECENT, seconds + 1 / self.rate
            self._note(Span(seconds, end, self.classes[label]), start)
            colours = self._colours(start, end, width)
        return np.tile(colours, (_even(STRIP * _band_height(width)), 1, 1))

    def _colours(self, start: float, end: float, width: int) -> UInt8[np.ndarray, "width 3"]:
        return paint(
            columns(self._spans, self.classes, start, end, width), len(self.classes), EMPTY
        )

    def _note(self, span: Span, start: float) -> None:
        """Add what is labelled now to the spans; forget those that ended before `start`."""
        if self._spans:
            label = self._spans[-1].label
            self._spans[-1] = self._spans[-1]._replace(
                end=span.end if label == span.label else span.start
            )
        if not self._spans or self._spans[-1].label != span.label:
            self._spans.append(span)
        self._spans = [each for each in self._spans if each.end > start]

    def _hold(self, until: float) -> None:
        """Repeat the last picture up to a time in seconds; of several within one tick, the last is written."""
        assert self._writer is not None
        assert self._picture is not None
        picture = cv2.cvtColor(self._picture, cv2.COLOR_RGB2BGR)
        for _ in range(self._written, round(until * self.rate)):
            self._writer.write(picture)
            self._written += 1

    def _open(self, size: tuple[int, int]) -> cv2.VideoWriter:
        with writing(self.path):
            self._partial.open("wb").close()  # which says why, if it cannot
        name = cast("str", os.fsencode(self._partial.absolute()))
        code = CODES[self.path.suffix.lower()]
        with _hushed():
            writer = cv2.VideoWriter(
                name, cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*code), self.rate, (size[1], size[0])
            )
        if not writer.isOpened():
            raise InputError(
                f"cannot write {self.path}: OpenCV {cv2.__version__} has no encoder {code}"
            )
        return writer

    def _publish(self, writer: cv2.VideoWriter) -> None:
        """Close the file, and give it its name if all of it is there: OpenCV does not tell when a disk is full."""
        writer.release()
        with writing(self.path):
            with self._partial.open("rb") as file:
                os.fsync(file.fileno())
            stated = cv2.VideoCapture(
                cast("str", os.fsencode(self._partial.absolute())), cv2.CAP_FFMPEG
            )
            if stated.get(cv2.CAP_PROP_FRAME_COUNT) < self._written - 2:
                raise InputError(
                    f"cannot write {self.path}: it came out damaged; is the disk full?"
                )
            self._partial.replace(self.path)


def _fit(height: int, width: int) -> tuple[int, int]:
    """The size at which frames are drawn: even, as codecs need it, and a whole multiple if they are small."""
    scale = min(max(1, math.ceil(LEAST / width)), MOST / max(height, width))
    return _even(scale * height), _even(scale * width)


def _even(length: float) -> int:
    return max(2, round(length / 2) * 2)


def _band_height(width: int) -> int:
    return _even(min(max(28, width / 13), 56))


@cache
def _band(name: str, colour: tuple[int, int, int], width: int) -> Image.Image:
    """The name of a label, after its colour."""
    height = _band_height(width)
    band = Image.new("RGB", (width, height), PAPER)
    draw, letters, gap = ImageDraw.Draw(band), font(height // 2), height // 4
    draw.rounded_rectangle((gap, gap, height - gap, height - gap), gap // 2, colour)
    room = width - height - 3 * gap - letters.getlength("0:00:00.0")
    draw.text((height, height / 2), cut(name, letters, room), INK, letters, "lm")
    return band


def _stamp(band: Image.Image, seconds: float) -> Pixels:
    """The band with a time at its end."""
    stamped, height = band.copy(), band.height
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
