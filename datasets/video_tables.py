"""Labels of videos in tables: a row for each segment, or a row for each frame.

    clip,start,end,label          segments in seconds (a decimal point or colon, or columns like start_seconds)
    clip,start,end,label          segments in frames (whole numbers, or columns like start_frame)
    clip,frame,label              a label for every frame, from frame 0

`clip`, `file` or `video` is a video's name; without such a column the video has the table's own name. With a
column `split` or `suggested_split` (train, val or validation, test) the splits are the given ones. Segments in
frames end before their end frame, unless they show that it is the last one: no segment begins at the end of
another, and some do at the frame after it.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import torch

from core.errors import InputError
from datasets.clips import Clip, FrameLabels, SegmentLabels, VideoSplits, make_splits
from datasets.text_files import Line, read_table
from datasets.video_files import find_video

_CLIP = ("clip", "file", "video")
_SPLIT = ("split", "suggested_split")
_PARTS = {"train": "train", "val": "validation", "validation": "validation", "test": "test"}
_BOUNDS = {
    ("start_frame", "end_frame"): "frames",
    ("start_frame", "stop_frame"): "frames",
    ("start_seconds", "end_seconds"): "seconds",
    ("start_s", "end_s"): "seconds",
    ("start_time", "end_time"): "seconds",
    ("start", "end"): "either",
    ("start", "stop"): "either",
}


class _Segment(NamedTuple):
    start: float
    end: float
    label: str
    line: Line


def load(files: Sequence[Path], root: Path, background: str) -> VideoSplits:
    """Load the clips that tables of one kind label; their videos are in `root` or in a folder as videos/ in it.

    Frames in no segment have the label `background`, then the first class. Raises InputError where a table or
    the labels in it make no sense, and for missing videos.
    """
    rows = [row for file in files for row in read_table(file)]
    clips: dict[str, list[Line]] = defaultdict(list)
    for row in rows:
        if not row.values.get("label"):
            raise row.error(
                "there is no label; a column label is needed, and a value in each of its rows"
            )
        clips[_clip(row)].append(row)
    videos = {name: find_video(root, name, lines[0]) for name, lines in clips.items()}
    names = {row.values["label"] for row in rows}
    of_frames = all("frame" in row.values for row in rows)
    classes = _sorted(names) if of_frames else [background, *_sorted(names - {background})]
    if len(classes) < 2:
        raise InputError(f"{files[0]}: one class only ({classes[0]}); at least two are needed")
    given = _frames(clips, classes) if of_frames else _segments(clips, classes)
    parts: dict[str, list[Clip]] = defaultdict(list)
    for name, lines in clips.items():
        parts[_part(lines)].append(Clip(name, videos[name], given[name], group=name))
    where = files[0] if len(files) == 1 else root
    if len(parts) > 1 and "all" in parts:
        raise InputError(
            f"{where}: the split of {parts['all'][0].name} is not named, as others are; name all or none"
        )
    return make_splits(where, parts, classes)


def _sorted(names: Iterable[str]) -> list[str]:
    """Sort class names, numbers by their value and before words."""
    return sorted(names, key=lambda name: (0, int(name), "") if name.isdecimal() else (1, 0, name))


def _clip(row: Line) -> str:
    name = next((row.values[column] for column in _CLIP if column in row.values), row.file.stem)
    if not name:
        raise row.error("no video is named")
    return name


def _part(rows: Sequence[Line]) -> str:
    """Return the split that a clip's rows name, or "all" if they have no column for it."""
    part = None
    for row in rows:
        value = next((row.values[column] for column in _SPLIT if column in row.values), None)
        if value is not None and value not in _PARTS:
            raise row.error(f"unknown split {value!r}; it must be train, val, validation or test")
        if row is not rows[0] and value != part:
            raise row.error(f"{_clip(row)} is in the split {value} here, and in {part} above")
        part = value
    return _PARTS[part] if part else "all"


def _frames(clips: Mapping[str, Sequence[Line]], classes: Sequence[str]) -> dict[str, FrameLabels]:
    """Return the label of each frame; raises InputError where one is missing, twice there or out of order."""
    index = {name: label for label, name in enumerate(classes)}
    for rows in clips.values():
        for frame, row in enumerate(rows):
            if row.values["frame"] != str(frame):
                raise row.error(
                    f"frame {row.values['frame']} of {_clip(row)}, where {frame} is the next (from 0)"
                )
    return {
        name: FrameLabels(torch.tensor([index[row.values["label"]] for row in rows]), rows[0].file)
        for name, rows in clips.items()
    }


def _segments(
    clips: Mapping[str, Sequence[Line]], classes: Sequence[str]
) -> dict[str, SegmentLabels]:
    """Return the segments of each clip; raises InputError where they are empty or overlap."""
    in_frames = _unit([row for rows in clips.values() for row in rows]) == "frames"
    found = {
        name: _in_order(_segment(row, in_frames) for row in rows) for name, rows in clips.items()
    }
    gaps = {right.start - left.end for each in found.values() for left, right in pairwise(each)}
    extra = 1 if in_frames and 1 in gaps and 0 not in gaps else 0  # the end frame is the last one
    labels = {}
    for name, segments in found.items():
        for segment in segments:
            if segment.end + extra <= segment.start:
                raise segment.line.error(
                    f"the segment ends at {segment.end:g} and begins at {segment.start:g}"
                )
        for left, right in pairwise(segments):
            if right.start < left.end + extra:
                raise right.line.error(f"the segment overlaps that of line {left.line.number}")
        starts, ends, names, lines = zip(*segments, strict=True)
        ends = tuple(end + extra for end in ends)
        labels[name] = SegmentLabels(
            starts, ends, [classes.index(n) for n in names], 0, in_frames, lines[0].file
        )
    return labels


def _in_order(segments: Iterable[_Segment]) -> list[_Segment]:
    return sorted(segments, key=lambda segment: (segment.start, segment.end))


def _bounds(row: Line) -> tuple[str, str]:
    """Return the columns of a segment's start and end."""
    for columns in _BOUNDS:
        if row.values.keys() >= set(columns):
            return columns
    raise row.error(
        "neither start and end, nor a frame; name the columns clip,start,end,label or clip,frame,label"
    )


def _unit(rows: Sequence[Line]) -> str:
    """Return whether segments are in "frames" or "seconds": by their columns' names, or else by their form."""
    columns = {_bounds(row): row for row in rows}
    units = {_BOUNDS[each] for each in columns}
    if len(units) > 1:
        raise InputError(
            f"{' and '.join(str(row.file) for row in columns.values())}: name the columns alike"
        )
    if units == {"either"}:
        whole = all(row.values[column].isdecimal() for row in rows for column in _bounds(row))
        units = {"frames" if whole else "seconds"}
    return units.pop()


def _segment(row: Line, in_frames: bool) -> _Segment:
    start, end = (_position(row, column, in_frames) for column in _bounds(row))
    return _Segment(start, end, row.values["label"], row)


def _position(row: Line, column: str, in_frames: bool) -> float:
    """Read 12.5, 12,5 or 0:12.5 seconds, or the number of a frame."""
    text = row.values[column]
    try:
        parts = [float(part) for part in text.replace(",", ".").split(":")]
    except ValueError:
        parts = [math.nan]
    value = sum(part * 60**power for power, part in enumerate(reversed(parts)))
    if not 0 <= value < math.inf or (in_frames and value % 1):
        raise row.error(
            f"{column} is {text!r}, not {'the number of a frame' if in_frames else 'a time in seconds'}"
        )
    return value
