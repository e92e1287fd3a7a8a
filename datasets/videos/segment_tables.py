"""Tables of segments: the columns and the unit of their bounds, and the clips that they label."""

import math
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from core.errors import InputError
from datasets.text_files import Line
from datasets.videos.bouts import Bout, Film, clips_of, touching
from datasets.videos.clips import HALF_MILLISECOND, Parts
from datasets.videos.columns import by_clip, label_of, part_of

BOUNDS = {
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
_EVENTS = {"START", "STOP", "POINT"}  # what a table of events says of each


def segments(rows: Sequence[Line], root: Path, where: Path, background: str, multi: bool) -> Parts:
    """Return the clips of a table with a row for each segment.

    Raises:
        InputError: bounds are missing or make no sense, or a video is missing.
    """
    in_frames = _unit(rows) == "frames"
    films = []
    for name, lines in by_clip(rows).items():
        bouts = [_bout(row, in_frames) for row in lines]
        films.append(Film(name, part_of(lines), lines[0], bouts))
    _close(films, in_frames)
    flags = {"in_frames": in_frames, "multi": multi}
    return clips_of(films, root, background, where=where, rounding=_rounding(rows), **flags)


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
    for columns in BOUNDS:
        if row.values.keys() >= set(columns):
            return columns
    hint = "name the columns clip,start,end,label or clip,frame,label"
    if _EVENTS.intersection(value.upper() for value in row.values.values()):
        hint = "name the columns of events as BORIS: Media file,Behavior,Behavior type,Time"
    raise row.error(f"neither start and end, nor a frame; {hint}")


def _unit(rows: Sequence[Line]) -> str:
    """Return "frames" or "seconds", the unit of segments, by their columns' names or form."""
    columns = {_bounds(row): row for row in rows}
    units = {BOUNDS[column] for column in columns}
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
    return Bout(start, end, label_of(row), row)


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
