"""Frames of a video file, a folder of pictures, a camera or a stream: in order, each with its time.

    for frame in open_source("film.mp4"):
        print(frame.index, frame.seconds, frame.pixels.shape)

Memory does not grow with the length, but for eight bytes a frame (`Frames.times`).
"""

import os
import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np

from core.errors import InputError
from datasets.images.files import SUFFIXES, open_picture, pictures_in
from datasets.videos.files import videos_in
from video.streams.decoding import FASTEST, RATE, Video
from video.streams.frames import Frames, Pixels, Wanted
from video.streams.sampling import Sampling


def open_source(
    source: str | Path,
    *,
    stride: int = 1,
    shown_rate: float | None = None,
    size: tuple[int, int] | None = None,
    rate: float | None = None,
    live: bool = False,
) -> Frames:
    """Open a source of frames, and decode the first one.

    Args:
        source: a video file; a folder of pictures, one a frame, ordered by the numbers in their
            names; a camera, as "0"; or a URL. What http brings is a recording if it states its
            length, and live if it does not.
        stride: of how many frames one is kept.
        shown_rate: frames a second that the net is to be shown, where the film's rate over the
            stride is another: frames are then chosen by their times (see `video.streams.sampling`).
        size: height and width to bring the frames to, without cropping; by default those of the
            first frame.
        rate: frames a second, for sources that state neither them nor times.
        live: play a recording in its own time, as a camera would.

    Raises:
        InputError: there is no such source, it is no video but a folder of them, or not one frame
            of it can be decoded. A picture of a folder that cannot be read raises it in its turn.
    """
    if stride < 1:
        raise InputError(f"a stride must be at least 1, not {stride}")
    if size and min(size) < 1:
        raise InputError(f"a frame must be at least 1x1, not {size[0]}x{size[1]}")
    if rate is not None and not 0 < rate <= FASTEST:
        limit = f"above 0 and at most {FASTEST:g} frames a second"
        raise InputError(f"a rate must be {limit}, not {rate:g}")
    text = os.fspath(source)
    wanted = Wanted(Sampling(stride, shown_rate), size, rate, live)
    if os.path.isdir(text):
        return _Folder(Path(text), wanted)
    if os.path.isfile(text):
        return Video(Path(text), text, wanted)
    if "://" in text:
        without_password = re.sub("//[^/@]*@", "//", text)
        return Video(text, without_password, wanted)
    if text.isdecimal():
        return Video(int(text), f"camera {int(text)}", wanted)
    if os.path.exists(text):
        hint = "name a file, or a camera by its number, as 0"
        raise InputError(f"{text}: a device or a FIFO, not a file: {hint}")
    raise InputError(f"{text}: no such file")


class _Folder(Frames):
    """Pictures in a folder, sub-folders left alone: those are other videos."""

    def __init__(self, folder: Path, wanted: Wanted):
        files = [file for file in pictures_in(folder) if file.parent == folder]
        videos = videos_in(folder)
        if len(videos) > len(files):
            hint = f"name them, as {videos[0]}"
            raise InputError(f"{folder}: a folder of videos, not of frames: {hint}")
        files.sort(key=_natural)
        self._files = iter(files)
        self._gaps = _gaps(files)
        self._given = wanted.rate is not None
        super().__init__(str(folder), wanted.rate or RATE, False, wanted)

    @property
    def remarks(self) -> list[str]:
        lines = []
        if not self._given:
            lines.append(f"pictures have no times, taken as {self.rate:g} a second (--fps)")
        if self._gaps:
            lines.append(_missing(self._gaps))
        return [f"{self.name}: {line}" for line in lines]

    def _advance(self) -> float | None:
        self._file = next(self._files, None)
        return None if self._file is None else self.read / self.rate

    def _pixels(self) -> Pixels:
        assert self._file is not None
        return np.array(open_picture(self._file).convert("RGB"))

    def _why_empty(self) -> str:
        return f"no pictures in this folder to take as frames (of {' '.join(SUFFIXES)})"

    def _release(self) -> None:
        self._files = iter(())


def _natural(file: Path) -> list[str | int]:
    """A key to sort names by: frame 2 before frame 10."""
    parts: list[str | int] = list(re.split("([0-9]+)", file.name))
    parts[1::2] = [int(part) for part in parts[1::2]]
    return parts


class _Gap(NamedTuple):
    """Two neighbours whose numbers are farther apart than most."""

    left: str
    right: str
    missing: int
    """How many frames are between them, to judge by the usual step."""


def _gaps(files: Sequence[Path]) -> list[_Gap]:
    """Return where frames are missing, by the last numbers in the names of pictures."""
    numbers = [re.findall("[0-9]+", file.stem) for file in files]
    if len(files) < 3 or not all(numbers):
        return []
    steps = [int(right[-1]) - int(left[-1]) for left, right in pairwise(numbers)]
    usual = sorted(steps)[len(steps) // 2]
    gaps = []
    for step, (left, right) in zip(steps, pairwise(files), strict=True):
        if step > usual:
            missing = round(step / max(usual, 1)) - 1
            gaps.append(_Gap(left.name, right.name, max(missing, 1)))
    return gaps


def _missing(gaps: Sequence[_Gap]) -> str:
    """Say where frames are missing, and how many."""
    left, right, missing = gaps[0]
    if len(gaps) == 1:
        frames = "a frame is" if missing == 1 else f"{missing} frames are"
        return f"the numbers jump from {left} to {right}: {frames} missing there"
    total = sum(gap.missing for gap in gaps)
    jumps = f"the numbers jump {len(gaps)} times, first from {left} to {right}"
    return f"{jumps}: {total} frames are missing"
