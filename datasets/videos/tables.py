"""Labels of videos in tables: a row for each segment, or a row for each frame.

    clip,start,end,label          segments in seconds (12.5, 0:12.5, or start_seconds, ...)
    clip,start,end,label          segments in frames (whole numbers, or columns like start_frame)
    clip,frame,label              a label for every frame, from frame 0
    clip,frame,walk,sit,...       a column of 0 and 1 for every behaviour (DeepEthogram, A-SOiD)

`clip`, `file` or `video` is a video's name; without such a column the video has the table's own
name, less an ending such as .frames or _labels. The column `label` may be called `behavior` or
`behaviour`. With a column `split` or `suggested_split` (train, val or validation, test) the splits
are the given ones.

Seconds with two decimal places are rounded: a frame up to 5 ms earlier is in its segment.
Segments in frames end before their end frame, unless they show that it is the last one: no segment
begins at the end of another, and some do at the frame after it. Segments that overlap, and columns
of 0 and 1 with several 1 in a row, mean that several behaviours occur at once. Frames with the
label `unlabelled`, and those with an empty field in a column of 0 and 1, are not scored. In the
tables NAME.frames.csv that `video label` writes, several labels of a frame are joined by " + ".
"""

import math
import re
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from core.errors import InputError
from datasets.text_files import Line, read_table
from datasets.videos.bouts import (
    NOBODY,
    Bout,
    Film,
    clips_of,
    in_order,
    require_all_or_no_parts,
    touching,
)
from datasets.videos.clips import HALF_MILLISECOND, UNLABELLED, Clip, FrameLabels, Parts
from datasets.videos.files import find_video

_CLIP = ("clip", "file", "video", "film")
_ENDS = ("_labels", ".labels", ".frames", ".segments", ".onehot")  # of tables' names
_LABEL = ("label", "behavior", "behaviour")
_SPLIT = ("split", "suggested_split")
_PARTS = {"train": "train", "val": "validation", "validation": "validation", "test": "test"}
_FRAME = ("frame", "frames", "frame_number", "")  # "": the index that pandas writes
_TIMES = ("time", "seconds", "time_s", "probability")
_BOUNDS = {
    ("start_frame", "end_frame"): "frames",
    ("start_frame", "stop_frame"): "frames",
    ("start_seconds", "end_seconds"): "seconds",
    ("start_seconds", "stop_seconds"): "seconds",
    ("start_s", "end_s"): "seconds",
    ("start_s", "stop_s"): "seconds",
    ("start_time", "end_time"): "seconds",
    ("start", "end"): "either",
    ("start", "stop"): "either",
}
_WRITTEN = {"frame", "seconds", "label", "probability"}
"""The columns of NAME.frames.csv, in which several behaviours of a frame are joined by " + "."""
_EVENTS = {"START", "STOP", "POINT"}  # what a table of events says of each
_OTHER_KINDS = (*_LABEL, *(name for bounds in _BOUNDS for name in bounds))
_VALUES = {"0": 0, "0.0": 0, "1": 1, "1.0": 1, "false": 0, "true": 1}
_VALUES |= dict.fromkeys(("", "na", "nan", "-1"), UNLABELLED)


def load(files: Sequence[Path], root: Path, background: str, multi: bool = False) -> Parts:
    """Return the clips that tables of one kind label.

    Videos are looked for in `root`, and in a folder as videos/ in it. Frames in no segment have the
    label `background`, then the first class.

    Raises:
        InputError: a table or the labels in it make no sense, or a video is missing.
    """
    rows = [row for file in files for row in read_table(file)]
    where = files[0] if len(files) == 1 else root
    of_another_kind = any(_column(row, _OTHER_KINDS) for row in rows)
    if not of_another_kind and any(_looks_onehot(row) for row in rows):
        return _onehot(rows, root, where, background, multi)
    if _joins_labels(rows):
        return _joined(rows, root, where)
    for row in rows:
        if not _label(row):
            hint = "a column label is needed, and a value in each of its rows"
            raise row.error(f"there is no label; {hint}")
    if all("frame" in row.values for row in rows):
        return _frames(rows, root, where, multi)
    in_frames = _unit(rows) == "frames"
    films = []
    for name, lines in _by_clip(rows).items():
        bouts = [_bout(row, in_frames) for row in lines]
        films.append(Film(name, _part(lines), lines[0], bouts))
    _close(films, in_frames)
    flags = {"in_frames": in_frames, "multi": multi}
    return clips_of(films, root, background, where=where, rounding=_rounding(rows), **flags)


def _column(row: Line, names: Sequence[str]) -> str | None:
    """Return which of several columns a table has."""
    return next((name for name in names if name in row.values), None)


def _label(row: Line) -> str:
    column = _column(row, _LABEL)
    return row.values[column] if column else ""


def _clip(row: Line) -> str:
    column = _column(row, _CLIP)
    if column is None:
        name = row.file.stem
        return next((name.removesuffix(end) for end in _ENDS if name.endswith(end)), name)
    if not row.values[column]:
        raise row.error("no video is named")
    return row.values[column]


def _part(rows: Sequence[Line]) -> str:
    """Return the part that a clip's rows name, or "all" if they have no column for it."""
    part = None
    for row in rows:
        column = _column(row, _SPLIT)
        value = row.values[column] if column else None
        if value is not None and value not in _PARTS:
            raise row.error(f"unknown split {value!r}; it must be train, val, validation or test")
        if row is not rows[0] and value != part:
            raise row.error(f"{_clip(row)} is in the split {value} here, and in {part} above")
        part = value
    return _PARTS[part] if part else "all"


def _by_clip(rows: Sequence[Line]) -> dict[str, list[Line]]:
    clips: dict[str, list[Line]] = defaultdict(list)
    for row in rows:
        clips[_clip(row)].append(row)
    return clips


def _clips(rows: Sequence[Line], root: Path, labels: Mapping[str, Tensor]) -> dict[str, list[Clip]]:
    """Return clips by their part, from the labels of each."""
    parts: dict[str, list[Clip]] = defaultdict(list)
    for name, lines in _by_clip(rows).items():
        video = find_video(root, name, lines[0])
        given = FrameLabels(labels[name], lines[0].file)
        parts[_part(lines)].append(Clip(name, video, given, group=name))
    return parts


def _frames(rows: Sequence[Line], root: Path, where: Path, multi: bool) -> Parts:
    """Return the clips of a table with a label for each frame."""
    names = {_label(row) for row in rows} - {NOBODY}
    classes = in_order(names)
    numbers = {name: n for n, name in enumerate(classes)}
    numbers[NOBODY] = UNLABELLED
    labels = {}
    for name, lines in _by_clip(rows).items():
        _require_every_frame(lines, "frame")
        labels[name] = torch.tensor([numbers[_label(row)] for row in lines])
        if multi:
            labels[name] = _as_columns(labels[name], len(classes))
    parts = _clips(rows, root, labels)
    require_all_or_no_parts(parts, where)
    return Parts(where, parts, classes, multi)


def _as_columns(labels: Tensor, classes: int) -> Tensor:
    """Return labels [frames] as [frames, classes] of 0 and 1."""
    columns = (labels[:, None] == torch.arange(classes)).long()
    columns[labels == UNLABELLED] = UNLABELLED
    return columns


def _joins_labels(rows: Sequence[Line]) -> bool:
    """Return whether rows are those of NAME.frames.csv, of behaviours that can occur at once."""
    if any(set(row.values) != _WRITTEN for row in rows):
        return False
    return any(not _label(row) or " + " in _label(row) for row in rows)


def _joined(rows: Sequence[Line], root: Path, where: Path) -> Parts:
    """Return the clips of tables in which a frame has no label, or several joined by " + "."""
    names = {name for row in rows for name in _label(row).split(" + ")}
    classes = in_order(names - {""})
    labels = {}
    for clip, lines in _by_clip(rows).items():
        _require_every_frame(lines, "frame")
        labels[clip] = torch.zeros(len(lines), len(classes), dtype=torch.int64)
        for frame, row in enumerate(lines):
            occurring = _label(row).split(" + ")
            labels[clip][frame] = torch.tensor([name in occurring for name in classes])
    return Parts(where, _clips(rows, root, labels), classes, True)


def _looks_onehot(row: Line) -> bool:
    """Return whether a row has behaviours as columns: one of them at least is 0, 1 or nothing."""
    return any(row.values[name].lower() in _VALUES for name in _behaviours(row))


def _occurrence(row: Line, name: str) -> int:
    """Return what a row says of a behaviour: 1, 0 or `UNLABELLED`."""
    value = row.values[name].lower()
    if value not in _VALUES:
        title = row.titles.get(name, name)
        hint = "leave out columns that are no behaviours, such as positions"
        raise row.error(f"{title} is {row.values[name]}, not 0 or 1: {hint}")
    return _VALUES[value]


def _behaviours(row: Line) -> list[str]:
    others = (*_CLIP, *_SPLIT, *_FRAME, *_TIMES)
    return [name for name in row.values if name not in others]


def _onehot(rows: Sequence[Line], root: Path, where: Path, background: str, multi: bool) -> Parts:
    """Return the clips of a table with a column of 0 and 1 for each behaviour.

    Where no row has several 1 the labels exclude each other, and rows without any 1 are the
    background: that is a column of such tables too.
    """
    names = _behaviours(rows[0])
    titles_of = rows[0].titles
    columns = [name for name in names if background not in (name, titles_of.get(name, name))]
    for row in rows:
        if _behaviours(row) != names:
            raise row.error(f"the columns are not those of {rows[0].file}: {', '.join(names)}")
    matrices = {}
    for name, lines in _by_clip(rows).items():
        column = _column(lines[0], _FRAME)
        if column:
            _require_every_frame(lines, column)
        elif column is not None:
            _require_index(lines)
        values = [[_occurrence(row, behaviour) for behaviour in names] for row in lines]
        matrix = torch.tensor(values, dtype=torch.int64)
        matrices[name] = matrix[:, [names.index(column) for column in columns]]
    multi = multi or any(bool(((matrix == 1).sum(1) > 1).any()) for matrix in matrices.values())
    titles = [titles_of.get(name, name) for name in columns]
    if multi:
        parts = _clips(rows, root, matrices)
        require_all_or_no_parts(parts, where)
        return Parts(where, parts, titles, True)
    labels = {}
    for name, matrix in matrices.items():
        labels[name] = torch.where((matrix == 1).any(1), matrix.argmax(1) + 1, 0)
        labels[name][(matrix == UNLABELLED).any(1)] = UNLABELLED
    parts = _clips(rows, root, labels)
    require_all_or_no_parts(parts, where)
    return Parts(where, parts, [background, *titles])


def _require_every_frame(rows: Sequence[Line], column: str) -> None:
    """Raise InputError where a frame is missing, twice there or out of order."""
    for frame, row in enumerate(rows):
        value = row.values[column]
        if value != str(frame):
            raise row.error(f"frame {value} of {_clip(row)}, where {frame} is the next (from 0)")


def _require_index(rows: Sequence[Line]) -> None:
    """Raise InputError where an index without a name, if it is one of integers, does not go on.

    It may begin anywhere: that of R begins at 1, and that of joined tables goes on over all films.
    """
    values = [row.values[""] for row in rows]
    if not all(value.isdecimal() for value in values):
        return
    for row, before, value in zip(rows[1:], values, values[1:], strict=False):
        if int(value) != int(before) + 1:
            hint = "the table has a row for each frame, in their order"
            raise row.error(f"row {value} of {_clip(row)} comes after {before}; {hint}")


def _close(films: Sequence[Film], in_frames: bool) -> None:
    """Let segments in frames end after their end frame, if they show that it is the last one.

    Raises:
        InputError: a segment is empty.
    """
    gaps = touching(films)
    inclusive = in_frames and 1 in gaps and 0 not in gaps
    for film in films:
        if inclusive:
            film.bouts = [bout._replace(end=bout.end + 1) for bout in film.bouts]
        for bout in film.bouts:
            if bout.end <= bout.start:
                end = bout.end - inclusive
                raise bout.line.error(f"the segment ends at {end:g} and begins at {bout.start:g}")


def _bounds(row: Line) -> tuple[str, str]:
    """Return the columns of a segment's start and end."""
    for columns in _BOUNDS:
        if row.values.keys() >= set(columns):
            return columns
    hint = "name the columns clip,start,end,label or clip,frame,label"
    if _EVENTS.intersection(value.upper() for value in row.values.values()):
        hint = "name the columns of events as BORIS: Media file,Behavior,Behavior type,Time"
    raise row.error(f"neither start and end, nor a frame; {hint}")


def _unit(rows: Sequence[Line]) -> str:
    """Return "frames" or "seconds", the unit of segments, by their columns' names or form."""
    columns = {_bounds(row): row for row in rows}
    units = {_BOUNDS[column] for column in columns}
    if len(units) > 1:
        files = " and ".join(str(row.file) for row in columns.values())
        raise InputError(f"{files}: name the columns alike")
    unit = units.pop()
    if unit != "either":
        return unit
    start, end = _bounds(rows[0])
    if not all(row.values[column].isdecimal() for row in rows for column in (start, end)):
        return "seconds"
    taken = f"{start} and {end} are whole numbers, and taken for frames"
    hint = f"if they are seconds, call the columns {start}_seconds and {end}_seconds"
    print(f"warning: {rows[0].file}: {taken}: {hint}", file=sys.stderr)
    return "frames"


def _rounding(rows: Sequence[Line]) -> float:
    """Return by how many seconds times may be too late: half of a last place, the second or third.

    Spreadsheets write as many places as they show. Fewer than two would be frames too early.
    """
    times = [row.values[column] for row in rows for column in _bounds(row)]
    decimals = [re.search(r"[.,](\d*)$", time) for time in times]
    places = max((len(match[1]) for match in decimals if match), default=0)
    return 0.005 if places == 2 else HALF_MILLISECOND


def _bout(row: Line, in_frames: bool) -> Bout:
    start, end = (_position(row, column, in_frames) for column in _bounds(row))
    return Bout(start, end, _label(row), row)


def _position(row: Line, column: str, in_frames: bool) -> float:
    """Read 12.5, 12,5 or 0:12.5 seconds, or the number of a frame."""
    text = row.values[column]
    try:
        parts = [float(part) for part in text.replace(",", ".").split(":")]
    except ValueError:
        parts = [math.nan]
    value = sum(part * 60**power for power, part in enumerate(reversed(parts)))
    if not 0 <= value < math.inf or (in_frames and value % 1):
        kind = "the number of a frame" if in_frames else "a time in seconds"
        raise row.error(f"{column} is {text!r}, not {kind}")
    return value
