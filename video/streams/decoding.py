"""Videos, cameras and streams as OpenCV decodes them.

Frames are decoded one after another, never sought for: in H.264 of variable rate OpenCV seeks to
wrong frames. Their times are those the container states, not index over frame rate.
"""

import os
import time
from functools import cache
from pathlib import Path
from typing import cast

import cv2

from core.errors import InputError
from video.streams.frames import Frames, Pixels, Wanted

RATE = 25.0  # frames a second where neither the source nor the user states them
FASTEST = 1000.0  # frames a second; a higher rate is that of a clock
PATIENCE = 10_000  # milliseconds to wait for a stream
COMPLETE = 0.98  # of the frames a header states, for headers are not that exact
CUT = "it is cut off or damaged, unless it was trimmed or its sound is longer"
JUMP = 60.0  # seconds between two frames that are worth a remark


class Video(Frames):
    """A file, a camera or a stream, as OpenCV decodes it."""

    def __init__(self, source: Path | str | int, name: str, wanted: Wanted):
        self._capture = _capture(source, name)
        stated = self._capture.get(cv2.CAP_PROP_FPS)
        count = round(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
        self._stated = max(0, count)  # below zero if unknown
        self._codec = codec_name(self._capture.get(cv2.CAP_PROP_FOURCC))
        camera = isinstance(source, int)
        endless = isinstance(source, str) and not (self._stated and source.startswith("http"))
        # Cameras and streams of JPEGs send no times: OpenCV supposes a rate and states its own.
        self._by_clock = camera or (endless and self._codec == "MJPG")
        self._zero = 0.0
        self._seconds = 0.0
        self._made_up = 0  # frames without a time
        self._reached = 0
        self._jump = 0.0  # the longest time between two frames
        plausible = stated if 0 < stated <= FASTEST else RATE
        rate = plausible
        if not self._stated:  # as of cameras, and of files without a container
            rate = wanted.rate or plausible
        super().__init__(name, rate, camera or endless, wanted)

    @property
    def truncated(self) -> bool:
        """Whether the source ended before the end it states; known after the last frame."""
        return 0 < self._reached < COMPLETE * self._stated - 1

    @property
    def remarks(self) -> list[str]:
        """What the user should know of the source, a line each."""
        lines = []
        if self._made_up:
            supposed = f"taken as {self.rate:g} a second"
            lines.append(f"{self._made_up} of {self.read} frames have no times, {supposed}")
        if self._jump > JUMP:
            lines.append(f"the time stamps jump by {self._jump:.0f} s from one frame to the next")
        if self.truncated:
            about = round(self.read * self._stated / self._reached)
            lines.append(f"read {self.read} of about {about} frames: {CUT}")
        return [f"{self.name}: {line}" for line in lines]

    def _advance(self) -> float | None:
        if not self._capture.grab():
            # In frames of the mean rate, as the stated number is: in Matroska, duration times rate.
            reached = round(self._capture.get(cv2.CAP_PROP_PTS)) + 1
            self._reached = max(self.read, reached)
            return None
        stamp = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
        now = time.monotonic() if self._by_clock else stamp
        if self.read == 0:
            self._zero = now
        elif now - self._zero > self._seconds:
            self._jump = max(self._jump, now - self._zero - self._seconds)
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
        convert = "if it plays elsewhere, ffmpeg -i VIDEO -c:v libx264 CONVERTED.mp4 converts it"
        decodes = f"OpenCV {cv2.__version__} decodes none of its {self._stated} frames"
        return f"{decodes} (codec {self._codec}); {convert}"

    def _release(self) -> None:
        self._capture.release()


@cache
def silence() -> None:
    """Keep OpenCV and FFmpeg from writing to standard error.

    What matters becomes an error or a remark here.
    """
    quiet = "-8"  # AV_LOG_QUIET; read when the first video is opened
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", quiet)
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


def _capture(source: Path | str | int, name: str) -> cv2.VideoCapture:
    silence()
    if isinstance(source, int):
        capture = cv2.VideoCapture(source)
        hint = "does not open: is it plugged in, and free?"
    elif isinstance(source, str):
        waits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, PATIENCE, cv2.CAP_PROP_READ_TIMEOUT_MSEC, PATIENCE]
        capture = cv2.VideoCapture(source, cv2.CAP_FFMPEG, waits)
        hint = "does not open: is the address right, the sender on, and what it sends a video?"
    elif source.stat().st_size == 0:
        raise InputError(f"{name}: the file is empty")
    else:
        # As bytes: OpenCV crashes on names that are not UTF-8. Absolute: "a:b.mp4" is no URL.
        place = cast("str", os.fsencode(source.absolute()))
        capture = cv2.VideoCapture(place, cv2.CAP_FFMPEG)
        hint = "not a video that OpenCV reads, cut off before the index at its end, or sound alone"
    # To FFmpeg any text is a film of terminal graphics.
    is_text = codec_name(capture.get(cv2.CAP_PROP_FOURCC)) == "ansi"
    if not capture.isOpened() or is_text:
        raise InputError(f"{name}: {hint}")
    return capture


def codec_name(fourcc: float) -> str:
    """Return the four letters that name a codec, from the value of cv2.CAP_PROP_FOURCC."""
    number = int(fourcc) & 0xFFFFFFFF
    return number.to_bytes(4, "little").decode("latin-1")
