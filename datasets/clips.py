"""A labelled clip: frames from a file or from a seed, and the label of each, known when the frames are.

How many frames a file has, and at what times, is sure only when it has been read. So the labels are asked for
with the times of the frames that were read:

    labels = clip.labels([frame.seconds for frame in frames])     # int64, one for each frame
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from core.errors import InputError

_SHARE = 0.15
_SLACK = 1.0  # seconds after the time of the last frame, within which the last segment may end

Drawn = Callable[[], UInt8[Tensor, "frames 1 height width"]]


@dataclass(frozen=True, eq=False)
class FrameLabels:
    """A label for every frame, as `file` says, or a seed."""

    each: Int[Tensor, " frames"]
    file: Path | None = None

    def at(self, seconds: Sequence[float], stride: int) -> Int[Tensor, " read"]:
        """Return every `stride`-th label; raises InputError unless there are as many as frames."""
        labels = self.each[::stride]
        if len(labels) != len(seconds):
            every = f" (one in {stride} was read)" if stride > 1 else ""
            where = f" in {self.file}" if self.file else ""
            raise InputError(
                f"{len(seconds)} frames{every}, but {len(self.each)} are labelled{where}; cut or complete the labels"
            )
        return labels


@dataclass(frozen=True, eq=False)
class SegmentLabels:
    """Segments, read from `file`: sorted, apart, each from its start up to but without its end."""

    starts: Sequence[float]
    ends: Sequence[float]
    labels: Sequence[int]
    rest: int  # the label of frames in no segment
    in_frames: bool  # otherwise in seconds
    file: Path

    def at(self, seconds: Sequence[float], stride: int) -> Int[Tensor, " read"]:
        """Return the label of each frame; raises InputError if the segments go on after the last one."""
        read = range(0, len(seconds) * stride, stride) if self.in_frames else seconds
        positions = torch.as_tensor(read, dtype=torch.float64)
        end = len(seconds) * stride if self.in_frames else max(seconds, default=0.0)
        if self.ends[-1] > end + (0 if self.in_frames else _SLACK):
            unit = "frames" if self.in_frames else "seconds"
            raise InputError(
                f"{end:g} {unit} long, but {self.file} labels a segment up to {self.ends[-1]:g}; correct the segment"
            )
        starts, ends = torch.tensor([self.starts, self.ends], dtype=torch.float64)
        row = (
            torch.searchsorted(starts, positions, right=True) - 1
        )  # the last that has begun; -1: none has
        inside = (row >= 0) & (positions < ends[row])
        return torch.where(inside, torch.tensor(self.labels)[row], self.rest)


@dataclass(frozen=True)
class OneLabel:
    """The same label for all frames."""

    label: int

    def at(self, seconds: Sequence[float], stride: int) -> Int[Tensor, " read"]:
        """Return the label, once for each frame."""
        return torch.full((len(seconds),), self.label)


@dataclass(frozen=True, eq=False)
class Clip:
    """One video with its labels."""

    name: str
    source: Path | Drawn  # a file or a folder of frames; or what draws the frames, grey
    given: FrameLabels | SegmentLabels | OneLabel
    group: str  # clips of one group look alike, and are never in two splits

    def labels(self, seconds: Sequence[float], *, stride: int = 1) -> Int[Tensor, " read"]:
        """Return the label of each frame that was read: every `stride`-th one, at these times from the start.

        Raises InputError, naming the video and the file with its labels, where the two are of different length.
        """
        try:
            return self.given.at(seconds, stride)
        except InputError as error:
            raise InputError(
                f"{self.source if isinstance(self.source, Path) else self.name}: {error}"
            ) from None


@dataclass(frozen=True, eq=False)
class VideoSplits:
    """Train on `train`, choose the model on `validation`, report once on `test`, which may be empty."""

    train: Sequence[Clip]
    validation: Sequence[Clip]
    test: Sequence[Clip]
    classes: tuple[str, ...]


def make_splits(
    where: Path, parts: Mapping[str, Sequence[Clip]], classes: Sequence[str]
) -> VideoSplits:
    """Make splits of the given parts, train, validation or test; or of all clips, under the name "all".

    All are split 70 / 15 / 15%, and a missing validation part is 15% of train: in the order of a hash of the
    groups' names, so that it is the same in every run and on every machine. Where a clip has one label alone,
    this is done for each class. Raises InputError, naming `where`, if there are too few clips.
    """
    if not any(parts.values()):
        raise InputError(f"{where}: there is no clip")
    train, validation, test = (
        tuple(parts.get(name, ())) for name in ("train", "validation", "test")
    )
    if "all" in parts:
        test, train = _hold_out(where, parts["all"], _SHARE, spare=2)
        validation, train = _hold_out(where, train, _SHARE / (1 - _SHARE))
    elif not train:
        raise InputError(f"{where}: no clip is in the train split")
    elif not validation:
        validation, train = _hold_out(where, train, _SHARE)
    return VideoSplits(train, validation, test, tuple(classes))


def _hold_out(
    where: Path, clips: Sequence[Clip], share: float, spare: int = 1
) -> tuple[tuple[Clip, ...], tuple[Clip, ...]]:
    """Split into (held out, rest) by groups: of each stratum a share, at least one, and `spare` or more are left."""
    strata: dict[int | None, set[str]] = defaultdict(set)
    for clip in clips:
        strata[clip.given.label if isinstance(clip.given, OneLabel) else None].add(clip.group)
    held = set[str]()
    for groups in strata.values():
        if len(groups) <= spare:
            names = ", ".join(sorted(groups))
            raise InputError(
                f"{where}: {spare + 1} clips or groups of clips are needed to split, not {names} alone"
            )
        held |= set(sorted(groups, key=_hash)[: max(1, round(share * len(groups)))])
    return tuple(c for c in clips if c.group in held), tuple(
        c for c in clips if c.group not in held
    )


def _hash(name: str) -> bytes:
    return hashlib.sha256(name.encode(errors="surrogateescape")).digest()
