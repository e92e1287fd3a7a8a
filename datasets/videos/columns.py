"""Columns that tables of labels have in common: the video, its part, the label."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor

from datasets.text_files import Line
from datasets.videos.clips import Clip, FrameLabels
from datasets.videos.files import find_video

CLIP = ("clip", "file", "video", "film")
_ENDS = ("_labels", ".labels", ".frames", ".segments", ".onehot")  # of tables' names
LABEL = ("label", "behavior", "behaviour")
SPLIT = ("split", "suggested_split")
_PARTS = {"train": "train", "val": "validation", "validation": "validation", "test": "test"}


def column_of(row: Line, names: Sequence[str]) -> str | None:
    """Return which of several columns a table has."""
    return next((name for name in names if name in row.values), None)


def label_of(row: Line) -> str:
    """Return the label of a row, "" if it has none."""
    column = column_of(row, LABEL)
    return row.values[column] if column else ""


def clip_of(row: Line) -> str:
    """Return the video of a row: as its column says, or the table's own name."""
    column = column_of(row, CLIP)
    if column is None:
        name = row.file.stem
        return next((name.removesuffix(end) for end in _ENDS if name.endswith(end)), name)
    if not row.values[column]:
        raise row.error("no video is named")
    return row.values[column]


def part_of(rows: Sequence[Line]) -> str:
    """Return the part that a clip's rows name, or "all" if they have no column for it."""
    part = None
    for row in rows:
        column = column_of(row, SPLIT)
        value = row.values[column] if column else None
        if value is not None and value not in _PARTS:
            raise row.error(f"unknown split {value!r}; it must be train, val, validation or test")
        if row is not rows[0] and value != part:
            raise row.error(f"{clip_of(row)} is in the split {value} here, and in {part} above")
        part = value
    return _PARTS[part] if part else "all"


def by_clip(rows: Sequence[Line]) -> dict[str, list[Line]]:
    """Return the rows of each video."""
    clips: dict[str, list[Line]] = defaultdict(list)
    for row in rows:
        clips[clip_of(row)].append(row)
    return clips


def clips_by_part(
    rows: Sequence[Line], root: Path, labels: Mapping[str, Tensor]
) -> dict[str, list[Clip]]:
    """Return clips by their part, from the labels of each."""
    parts: dict[str, list[Clip]] = defaultdict(list)
    for name, lines in by_clip(rows).items():
        video = find_video(root, name, lines[0])
        given = FrameLabels(labels[name], lines[0].file)
        parts[part_of(lines)].append(Clip(name, video, given, group=name))
    return parts
