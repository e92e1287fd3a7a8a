"""A labelled clip: frames from a file or from a seed, and the labels of each frame.

How many frames a file has, and at what times, is sure only when it has been read. So labels are
computed from the times of its frames:

    labels = clip.labels([frame.seconds for frame in frames])

Labels are int64. Where one behaviour excludes the others they are [frames], an index into the
classes; where several can occur at once they are [frames, classes], 1 (occurs) or 0. `UNLABELLED`
stands for what nobody scored, which is neither learned from nor measured.
"""

from __future__ import annotations

import hashlib
import sys
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from core.errors import InputError

UNLABELLED = -1
_SHARE = 0.15
_SLACK = 1.0  # seconds after the time of the last frame, within which the last segment may end
HALF_MILLISECOND = 0.0005

Drawn = Callable[[], UInt8[Tensor, "frames 1 height width"]]
Labels = Int[Tensor, " frames"] | Int[Tensor, "frames classes"]


@dataclass(frozen=True, eq=False)
class FrameLabels:
    """The labels of every frame, read from `file` or drawn."""

    labels: Labels
    file: Path | None = None

    def at(self, seconds: Sequence[float], excess: int = 0) -> Labels:
        """Return the labels of frames at these times.

        Up to `excess` labels may be too many (the last ones are dropped) or too few (the last
        frames are unlabelled); a warning says so.

        Raises:
            InputError: the numbers of frames and labels differ by more.
        """
        surplus = len(self.labels) - len(seconds)
        if surplus == 0:
            return self.labels
        where = f" in {self.file}" if self.file else ""
        counts = f"{len(seconds)} frames, but {len(self.labels)} are labelled{where}"
        if abs(surplus) > excess:
            hint = f"cut or complete the labels, or allow it with --excess {abs(surplus)}"
            raise InputError(f"{counts}; {hint}")
        print(f"warning: {counts}: allowed, as they differ by {abs(surplus)}", file=sys.stderr)
        if surplus > 0:
            return self.labels[: len(seconds)]
        missing = self.labels.new_full((-surplus, *self.labels.shape[1:]), UNLABELLED)
        return torch.cat((self.labels, missing))


@dataclass(frozen=True, eq=False)
class SegmentLabels:
    """Segments read from `file`, each from its start up to but without its end.

    A segment whose end is its start is a point: it labels the frame nearest to it.
    """

    starts: Sequence[float]
    ends: Sequence[float]
    labels: Sequence[int]
    rest: int  # label of frames in no segment, where only one can occur at a time
    in_frames: bool  # otherwise in seconds
    file: Path
    behaviours: int = 0  # how many classes can occur at once; 0: one at a time
    unscored: tuple[int, ...] = ()  # classes that nobody scored here, where several can occur
    rounding: float = HALF_MILLISECOND  # by how much times in seconds may be too late

    def at(self, seconds: Sequence[float], excess: int = 0) -> Labels:
        """Return the labels of frames at these times; `excess` has no meaning for segments.

        Raises:
            InputError: a segment goes on after the last frame.
        """
        self._require_inside(seconds)
        times = range(len(seconds)) if self.in_frames else seconds
        positions = torch.as_tensor(times, dtype=torch.float64)
        segments = list(zip(self.starts, self.ends, self.labels, strict=True))
        if self.behaviours:
            return self._matrix(positions, segments)
        labels = torch.full((len(positions),), self.rest)
        segments.sort(key=lambda segment: segment[2] == UNLABELLED)  # which overrules the others
        for start, end, label in segments:
            labels[self._frames(positions, start, end)] = label
        return labels

    def _matrix(
        self, positions: Tensor, segments: Sequence[tuple[float, float, int]]
    ) -> Int[Tensor, "frames classes"]:
        rest = UNLABELLED if self.rest == UNLABELLED else 0
        scored = torch.zeros(len(positions), dtype=torch.bool)
        labels = torch.zeros(len(positions), self.behaviours, dtype=torch.int64)
        for start, end, label in segments:
            frames = self._frames(positions, start, end)
            if label != UNLABELLED:
                labels[frames, label] = 1
                scored[frames] = True
        if rest == UNLABELLED:
            labels[~scored] = UNLABELLED
        for start, end, label in segments:
            if label == UNLABELLED:
                labels[self._frames(positions, start, end)] = UNLABELLED
        labels[:, list(self.unscored)] = UNLABELLED
        return labels

    def _frames(self, positions: Tensor, start: float, end: float) -> slice:
        """Return which of the sorted positions a segment contains."""
        if len(positions) and start == end:
            nearest = int((positions - start).abs().argmin())
            return slice(nearest, nearest + 1)
        early = 0.0 if self.in_frames else self.rounding
        bounds = torch.tensor([start - early, end - early], dtype=torch.float64)
        first, stop = torch.searchsorted(positions, bounds).tolist()
        return slice(first, stop)

    def _require_inside(self, seconds: Sequence[float]) -> None:
        if not self.ends:
            return
        last = max(self.ends)
        if self.in_frames:
            length, slack, unit = len(seconds), 0, "frames"
        else:
            length, slack, unit = max(seconds, default=0.0), _SLACK, "seconds"
        if last > length + slack:
            labelled = f"{self.file} labels a segment up to {last:g}"
            raise InputError(f"{length:g} {unit} long, but {labelled}; correct the segment")


@dataclass(frozen=True)
class OneLabel:
    """The same label for all frames."""

    label: int

    def at(self, seconds: Sequence[float], excess: int = 0) -> Int[Tensor, " frames"]:
        """Return the label, once for each frame."""
        return torch.full((len(seconds),), self.label)


@dataclass(frozen=True, eq=False)
class Clip:
    """One video with its labels."""

    name: str
    source: Path | Drawn  # a file or a folder of frames; or what draws the frames, grey
    given: FrameLabels | SegmentLabels | OneLabel
    group: str  # clips of one group look alike, and are never in two splits

    def labels(self, seconds: Sequence[float], excess: int = 0) -> Labels:
        """Return the labels of all frames of the video, at these times from its start.

        Raises:
            InputError: labels and video differ in length (by more than `excess` frames); the line
                names the video and the file with its labels.
        """
        try:
            return self.given.at(seconds, excess)
        except InputError as error:
            video = self.source if isinstance(self.source, Path) else self.name
            raise InputError(f"{video}: {error}") from None


@dataclass(frozen=True, eq=False)
class VideoSplits:
    """Train on `train`, choose the model on `validation`, report on `test`, which may be empty."""

    train: Sequence[Clip]
    validation: Sequence[Clip]
    test: Sequence[Clip]
    classes: tuple[str, ...]
    multi: bool = False
    """Whether several classes can occur at once."""

    @property
    def clips(self) -> tuple[Clip, ...]:
        """The clips of all parts."""
        return (*self.train, *self.validation, *self.test)


class Parts(NamedTuple):
    """Clips by the part they are given for: train, validation, test, or "all" if none is given."""

    where: Path
    """The file or folder that names them."""
    clips: Mapping[str, Sequence[Clip]]
    classes: Sequence[str]
    multi: bool = False

    def everything(self) -> VideoSplits:
        """Return all clips as test clips, whatever parts they are given for.

        Raises:
            InputError: there is no clip.
        """
        clips = tuple(clip for part in self.clips.values() for clip in part)
        if not clips:
            raise InputError(f"{self.where}: there is no clip")
        return VideoSplits((), (), clips, tuple(self.classes), self.multi)

    def splits(self) -> VideoSplits:
        """Return the given parts; clips without one are split 70 / 15 / 15 %.

        A missing validation part is 15 % of train. The split is in the order of a hash of the
        groups' names, so that it is the same in every run and on every machine. Where a clip has
        one label, each class is split by itself.

        Raises:
            InputError: there are too few clips, or one class only.
        """
        if not any(self.clips.values()):
            raise InputError(f"{self.where}: there is no clip")
        if len(self.classes) < 2 and not self.multi:
            only = "".join(self.classes)
            raise InputError(f"{self.where}: one class only ({only}); at least two are needed")
        train = tuple(self.clips.get("train", ()))
        validation = tuple(self.clips.get("validation", ()))
        test = tuple(self.clips.get("test", ()))
        if "all" in self.clips:
            test, train = _hold_out(self.where, self.clips["all"], _SHARE, spare=2)
            validation, train = _hold_out(self.where, train, _SHARE / (1 - _SHARE))
        elif not train:
            raise InputError(f"{self.where}: no clip is in the train split")
        elif not validation:
            validation, train = _hold_out(self.where, train, _SHARE)
        return VideoSplits(train, validation, test, tuple(self.classes), self.multi)


def _hold_out(
    where: Path, clips: Sequence[Clip], share: float, spare: int = 1
) -> tuple[tuple[Clip, ...], tuple[Clip, ...]]:
    """Split into (held out, rest) by groups: of each stratum a share, and at least one group.

    Raises:
        InputError: a stratum has not more than `spare` groups.
    """
    strata: dict[int | None, set[str]] = defaultdict(set)
    for clip in clips:
        stratum = clip.given.label if isinstance(clip.given, OneLabel) else None
        strata[stratum].add(clip.group)
    held = set[str]()
    for groups in strata.values():
        if len(groups) <= spare:
            needed = f"{spare + 1} clips or groups of clips are needed to split"
            raise InputError(f"{where}: {needed}, not {', '.join(sorted(groups))} alone")
        held |= set(sorted(groups, key=_hash)[: max(1, round(share * len(groups)))])
    chosen = tuple(clip for clip in clips if clip.group in held)
    return chosen, tuple(clip for clip in clips if clip.group not in held)


def _hash(name: str) -> bytes:
    return hashlib.sha256(name.encode(errors="surrogateescape")).digest()
