"""Frames of a video file, a folder of pictures, a camera or a stream: in order, each with its true time.

    for frame in open_source("film.mp4"):
        print(frame.index, frame.seconds, frame.pixels.shape)

Frames are decoded one after another, never sought for: in H.264 of variable rate OpenCV seeks to wrong frames.
Their times are those the container states, not index over frame rate. Memory does not grow with the length.
"""

import os
import re
import time
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple, cast

import cv2
import numpy as np
from jaxtyping import UInt8

from core.errors import InputError
from datasets.pictures import SUFFIXES, open_picture, pictures_in
from datasets.video_files import videos_in

RATE = 25.0  # frames a second where neither the source nor the user states them
FASTEST = 1000.0  # frames a second; a higher rate is that of a clock
PATIENCE = 10_000  # milliseconds to wait for a stream
COMPLETE = 0.98  # of the frames a header states, for headers are not that exact
CUT = "it is cut off or damaged, unless it was trimmed or its sound is longer"

Pixels = UInt8[np.ndarray, "height width 3"]


@dataclass(frozen=True)
class Frame:
    """One frame of a source."""

    index: int
    """Its number in the source, from 0; frames left out by a stride count too."""
    seconds: float
    """Its time since the first frame; later than that of the frame before."""
    pixels: Pixels
    """RGB."""


class Wanted(NamedTuple):
    """What `open_source` was asked for."""

    stride: int
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
        read: how many frames were decoded so far; those left out by a stride count too.
    """

    def __init__(self, name: str, rate: float, live: bool, wanted: Wanted):
        self.name, self.rate, self.live, self.read = name, rate, live or wanted.live, 0
        self._paced, self._start = wanted.live, 0.0
        self._rest = self._decode(wanted.stride, wanted.size)
        self._first = next(self._rest, None)
        if self._first is None:
            raise InputError(f"{name}: {self._why_empty()}")
        self.size = self._first.pixels.shape[:2]

    def __next__(self) -> Frame:
        frame, self._first = self._first or next(self._rest), None
        if self._paced:
            self._start = self._start or time.monotonic() - frame.seconds
            time.sleep(max(0.0, self._start + frame.seconds - time.monotonic()))
        return frame

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

    def _decode(self, stride: int, size: tuple[int, int] | None) -> Generator[Frame]:
        try:
            while (seconds := self._advance()) is not None:
                self.read += 1
                if (self.read - 1) % stride == 0:
                    pixels = self._pixels()
                    size = size or pixels.shape[:2]
                    yield Frame(self.read - 1, seconds, resize(pixels, size))
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


def open_source(
    source: str | Path,
    *,
    stride: int = 1,
    size: tuple[int, int] | None = None,
    rate: float | None = None,
    live: bool = False,
) -> Frames:
    """Open a source of frames, and decode the first one.

    Args:
        source: a video file; a folder of pictures, one a frame, ordered by the numbers in their names; a camera, as
            "0"; or a URL. What http brings is a recording if it states its length, and live if it does not.
        stride: of how many frames one is kept.
        size: height and width to bring the frames to, without cropping; by default those of the first frame.
        rate: frames a second, for sources that state neither them nor times.
        live: play a recording in its own time, as a camera would.

    Raises:
        InputError: there is no such source, it is no video but a folder of them, or not one frame of it can be
            decoded. A picture of a folder that cannot be read raises it in its turn.
    """
    if stride < 1:
        raise InputError(f"a stride must be at least 1, not {stride}")
    if size and min(size) < 1:
        raise InputError(f"a frame must be at least 1x1, not {size[0]}x{size[1]}")
    if rate is not None and not 0 < rate <= FASTEST:
        raise InputError(
            f"a rate must be above 0 and at most {FASTEST:g} frames a second, not {rate:g}"
        )
    text, wanted = os.fspath(source), Wanted(stride, size, rate, live)
    if os.path.isdir(text):
        return _Folder(Path(text), wanted)
    if os.path.isfile(text):
        return _Video(Path(text), text, wanted)
    if "://" in text:
        return _Video(
            text, re.sub("//[^/@]*@", "//", text), wanted
        )  # passwords are not for messages
    if text.isdecimal():
        return _Video(int(text), f"camera {int(text)}", wanted)
    raise InputError(f"{text}: no such file")


class _Folder(Frames):
    """Pictures in a folder, sub-folders left alone: those are other videos."""

    def __init__(self, folder: Path, wanted: Wanted):
        files, videos = (
            [file for file in pictures_in(folder) if file.parent == folder],
            videos_in(folder),
        )
        if len(videos) > len(files):
            raise InputError(
                f"{folder}: a folder of videos, not of frames: name them, as {videos[0]}"
            )
        self._files = iter(sorted(files, key=_natural))
        self._given = wanted.rate is not None
        super().__init__(str(folder), wanted.rate or RATE, False, wanted)

    @property
    def remarks(self) -> list[str]:
        return (
            []
            if self._given
            else [f"{self.name}: pictures have no times, taken as {self.rate:g} a second"]
        )

    def _advance(self) -> float | None:
        self._file = next(self._files, None)
        return None if self._file is None else self.read / self.rate

    def _pixels(self) -> Pixels:
        assert self._file is not None
        return np.array(open_picture(self._file).convert("RGB"))

    def _why_empty(self) -> str:
        return f"no picture in this folder (of {' '.join(SUFFIXES)})"

    def _release(self) -> None:
        self._files = iter(())


class _Video(Frames):
    """A file, a camera or a stream, as OpenCV decodes it."""

    def __init__(self, source: Path | str | int, name: str, wanted: Wanted):
        self._capture = _capture(source, name)
        stated = self._capture.get(cv2.CAP_PROP_FPS)
        self._stated = max(
            0, round(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
        )  # below zero if unknown
        self._codec = _codec(self._capture)
        camera = isinstance(source, int)
        endless = isinstance(source, str) and not (self._stated and source.startswith("http"))
        # Cameras and streams of JPEGs send no times: those that OpenCV states follow from a supposed rate.
        self._by_clock = camera or (endless and self._codec == "MJPG")
        self._zero = self._seconds = 0.0
        self._made_up = self._reached = 0
        super().__init__(
            name,
            wanted.rate or (stated if 0 < stated <= FASTEST else RATE),
            camera or endless,
            wanted,
        )

    @property
    def truncated(self) -> bool:
        return 0 < self._reached < COMPLETE * self._stated - 1

    @property
    def remarks(self) -> list[str]:
        lines = []
        if self._made_up:
            lines.append(
                f"{self._made_up} of {self.read} frames have no times, taken as {self.rate:g} a second"
            )
        if self.truncated:
            about = round(self.read * self._stated / self._reached)
            lines.append(f"read {self.read} of about {about} frames: {CUT}")
        return [f"{self.name}: {line}" for line in lines]

    def _advance(self) -> float | None:
        if not self._capture.grab():
            # In frames of the mean rate, as is the number stated: in Matroska that is a duration times a rate.
            self._reached = max(self.read, round(self._capture.get(cv2.CAP_PROP_PTS)) + 1)
            return None
        now = (
            time.monotonic() if self._by_clock else self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
        )
        if self.read == 0:
            self._zero = now
        elif now - self._zero > self._seconds:
            self._seconds = now - self._zero
        else:  # no time at all, or one that does not go on
            self._seconds += 1 / self.rate
            self._made_up += 1
        return self._seconds

    def _pixels(self) -> Pixels:
        decoded, pixels = self._capture.retrieve()
        if not decoded:
            raise InputError(f"{self.name}: frame {self.read - 1} cannot be converted to RGB")
        return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)

    def _why_empty(self) -> str:
        if not self._stated:
            return "no frame comes from it"
        convert = "convert it, e.g. ffmpeg -i VIDEO -c:v libx264 CONVERTED.mp4"
        return f"OpenCV {cv2.__version__} decodes none of its {self._stated} frames (codec {self._codec}); {convert}"

    def _release(self) -> None:
        self._capture.release()


@cache
def silence() -> None:
    """Keep OpenCV and FFmpeg from writing to standard error: what matters becomes an error or a remark here."""
    os.environ.setdefault(
        "OPENCV_FFMPEG_LOGLEVEL", "-8"
    )  # AV_LOG_QUIET; read when the first video is opened
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


def _capture(source: Path | str | int, name: str) -> cv2.VideoCapture:
    silence()
    if isinstance(source, int):
        capture, mend = cv2.VideoCapture(source), "does not open: is it plugged in, and free?"
    elif isinstance(source, str):
        waits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, PATIENCE, cv2.CAP_PROP_READ_TIMEOUT_MSEC, PATIENCE]
        capture = cv2.VideoCapture(source, cv2.CAP_FFMPEG, waits)
        mend = "does not open: is the address right, the sender on, and what it sends a video?"
    elif source.stat().st_size == 0:
        raise InputError(f"{name}: the file is empty")
    else:  # as bytes, for OpenCV crashes on names that are not UTF-8; absolute, for "a:b.mp4" is no URL
        capture = cv2.VideoCapture(cast("str", os.fsencode(source.absolute())), cv2.CAP_FFMPEG)
        mend = "not a video that OpenCV reads, or cut off before the index at its end"
    if (
        not capture.isOpened() or _codec(capture) == "ansi"
    ):  # any text is a film of terminal graphics to FFmpeg
        raise InputError(f"{name}: {mend}")
    return capture


def _codec(capture: cv2.VideoCapture) -> str:
    """The four letters that name a codec."""
    return (
        (int(capture.get(cv2.CAP_PROP_FOURCC)) & 0xFFFFFFFF).to_bytes(4, "little").decode("latin-1")
    )


def _natural(file: Path) -> list[str | int]:
    """A key to sort names by: frame 2 before frame 10."""
    return [int(part) if n % 2 else part for n, part in enumerate(re.split("([0-9]+)", file.name))]


def resize(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    """Return the frame at a size (height, width), averaging where it shrinks."""
    height, width = size
    if pixels.shape[:2] == size:
        return pixels
    shrinks = height * width < pixels.shape[0] * pixels.shape[1]
    return cv2.resize(
        pixels, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    )
