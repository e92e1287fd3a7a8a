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

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from datasets.text_files import Line, read_table
from datasets.videos.bouts import (
    NOBODY,
    in_order,
    require_all_or_no_parts,
)
from datasets.videos.clips import UNLABELLED, Parts
from datasets.videos.columns import (
    CLIP,
    LABEL,
    SPLIT,
    by_clip,
    clip_of,
    clips_by_part,
    column_of,
    label_of,
)
from datasets.videos.segment_tables import BOUNDS, segments

_FRAME = ("frame", "frames", "frame_number", "")  # "": the index that pandas writes
_TIMES = ("time", "seconds", "time_s", "probability")
_WRITTEN = {"frame", "seconds", "label", "probability"}
"""The columns of NAME.frames.csv, in which several behaviours of a frame are joined by " + "."""
_OTHER_KINDS = (*LABEL, *(name for bounds in BOUNDS for name in bounds))
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
    of_another_kind = any(column_of(row, _OTHER_KINDS) for row in rows)
    if not of_another_kind and any(_looks_onehot(row) for row in rows):
        return _onehot(rows, root, where, background, multi)
    if _joins_labels(rows):
        return _joined(rows, root, where)
    for row in rows:
        if not label_of(row):
            hint = "a column label is needed, and a value in each of its rows"
            raise row.error(f"there is no label; {hint}")
    if all("frame" in row.values for row in rows):
        return _frames(rows, root, where, multi)
    return segments(rows, root, where, background, multi)


def _frames(rows: Sequence[Line], root: Path, where: Path, multi: bool) -> Parts:
    """Return the clips of a table with a label for each frame."""
    names = {label_of(row) for row in rows} - {NOBODY}
    classes = in_order(names)
    numbers = {name: n for n, name in enumerate(classes)}
    numbers[NOBODY] = UNLABELLED
    labels = {}
    for name, lines in by_clip(rows).items():
        _require_every_frame(lines, "frame")
        labels[name] = torch.tensor([numbers[label_of(row)] for row in lines])
        if multi:
            labels[name] = _as_columns(labels[name], len(classes))
    parts = clips_by_part(rows, root, labels)
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
    return any(not label_of(row) or " + " in label_of(row) for row in rows)


def _joined(rows: Sequence[Line], root: Path, where: Path) -> Parts:
    """Return the clips of tables in which a frame has no label, or several joined by " + "."""
    names = {name for row in rows for name in label_of(row).split(" + ")}
    classes = in_order(names - {""})
    labels = {}
    for clip, lines in by_clip(rows).items():
        _require_every_frame(lines, "frame")
        labels[clip] = torch.zeros(len(lines), len(classes), dtype=torch.int64)
        for frame, row in enumerate(lines):
            occurring = label_of(row).split(" + ")
            labels[clip][frame] = torch.tensor([name in occurring for name in classes])
    return Parts(where, clips_by_part(rows, root, labels), classes, True)


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
    others = (*CLIP, *SPLIT, *_FRAME, *_TIMES)
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
    for name, lines in by_clip(rows).items():
        column = column_of(lines[0], _FRAME)
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
        parts = clips_by_part(rows, root, matrices)
        require_all_or_no_parts(parts, where)
        return Parts(where, parts, titles, True)
    labels = {}
    for name, matrix in matrices.items():
        labels[name] = torch.where((matrix == 1).any(1), matrix.argmax(1) + 1, 0)
        labels[name][(matrix == UNLABELLED).any(1)] = UNLABELLED
    parts = clips_by_part(rows, root, labels)
    require_all_or_no_parts(parts, where)
    return Parts(where, parts, [background, *titles])


def _require_every_frame(rows: Sequence[Line], column: str) -> None:
    """Raise InputError where a frame is missing, twice there or out of order."""
    for frame, row in enumerate(rows):
        value = row.values[column]
        if value != str(frame):
            raise row.error(f"frame {value} of {clip_of(row)}, where {frame} is the next (from 0)")


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
            raise row.error(f"row {value} of {clip_of(row)} comes after {before}; {hint}")
