"""Reads what BORIS exports: aggregated events (a row a bout) and tabular events (a row an event).

    films = read([Path("boris.csv")], Path("boris"))    # see `datasets.videos.bouts`

Columns are looked up by name, as they differ between versions of BORIS (7, 8 and 9). Of the lines
that older versions write above the heading, those of the observation's name and time offset are
read. Times are those of the observation less its time offset; `datasets.videos.boris_media` says
where in which film they are. What several subjects do, or several observations say, of one film is
taken together, which a warning tells.
"""

import csv
import io
import math
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from core.errors import InputError
from datasets.text_files import Line, read_text
from datasets.videos.boris_media import (
    MEDIA,
    Media,
    media_of,
    require_all_media,
    warn_of_media,
)
from datasets.videos.bouts import Bout, Film

_BEHAVIOUR = ("behavior", "behaviour")
_TYPE = ("behavior_type", "behaviour_type", "status", "type")
_START, _STOP, _TIME = "start_s", "stop_s", "time"
_OFFSET, _OBSERVATION = "time_offset_s", "observation_id"
_NONE = ("", "na", "nan", "none")


def is_boris(file: Path) -> bool:
    """Return whether a file is an export of BORIS."""
    return any(_is_heading(_plain_row(row)) for row in _fields(file)[:60])


def read(files: Sequence[Path], root: Path) -> list[Film]:
    """Return the films of exports, with their bouts; videos are looked for in `root`.

    Raises:
        InputError: a state is not closed, a time is none, no media are named, or an old export
            does not tell all media of an observation.
    """
    where = files[0] if len(files) == 1 else root
    films: dict[str, Film] = {}
    all_media: list[Media] = []
    for file in files:
        rows = _rows(file)
        media = {row.number: media_of(row, root) for row in rows}
        require_all_media(rows, media)
        all_media += media.values()
        for row in rows:
            for name in media[row.number].names:
                films.setdefault(name, Film(name, "all", row))
        aggregated = all(_START in row.values for row in rows)
        for bout in _aggregated(rows) if aggregated else _tabular(rows):
            for name, part in media[bout.line.number].spread(bout, root):
                films[name].bouts.append(part)
    warn_of_media(where, all_media)
    _warn_of_union(where, films.values())
    return list(films.values())


def _warn_of_union(where: Path, films: Iterable[Film]) -> None:
    """Tell in which films several subjects, or several observations, are taken together."""
    for column, title in (("subject", "subjects"), (_OBSERVATION, "observations")):
        united = []
        for film in films:
            values = {bout.line.values.get(column, "") for bout in film.bouts} - {""}
            if len(values) > 1:
                united.append(f"{film.name} ({', '.join(sorted(values))})")
        if united:
            first = ", ".join(united[:3]) + (", ..." if len(united) > 3 else "")
            print(f"warning: {where}: {title} are taken together in {first}", file=sys.stderr)


def _aggregated(rows: Sequence[Line]) -> Iterator[Bout]:
    """Yield each bout, in the time of its observation's media."""
    for row in rows:
        label = _value(row, _BEHAVIOUR)
        if label.lower() in _NONE:
            continue  # an observation without events
        start = _seconds(row, _START)
        stop = row.values.get(_STOP, "").lower()
        point = _value(row, _TYPE).upper() == "POINT"
        if stop in _NONE and not point:
            raise row.error(f"the state {label!r} has no end: close it in BORIS, then export anew")
        end = start if point else _seconds(row, _STOP)
        if end < start:
            raise row.error(f"the bout ends at {end:g} and begins at {start:g}")
        yield Bout(start, end, label, row)


def _tabular(rows: Sequence[Line]) -> Iterator[Bout]:
    """Yield each bout, as `_aggregated`; a state is a row START and a row STOP of one `_state`."""
    opened: dict[tuple[str, ...], Line] = {}
    for row in rows:
        label = _value(row, _BEHAVIOUR)
        if label.lower() in _NONE:
            continue
        kind = _value(row, _TYPE).upper()
        key = _state(row, label)
        if kind == "START":
            if key in opened:
                raise row.error(
                    f"{label!r} starts, but did not stop since line {opened[key].number}"
                )
            opened[key] = row
        elif kind == "STOP":
            if key not in opened:
                raise row.error(f"{label!r} stops, but did not start")
            first = opened.pop(key)
            yield Bout(_seconds(first, _TIME), _seconds(row, _TIME), label, first)
        elif kind == "POINT":
            time = _seconds(row, _TIME)
            yield Bout(time, time, label, row)
        else:
            raise row.error(f"the type of an event is START, STOP or POINT, not {kind!r}")
    for row in opened.values():
        label = _value(row, _BEHAVIOUR)
        raise row.error(f"the state {label!r} has no end: close it in BORIS, then export anew")


def _state(row: Line, label: str) -> tuple[str, ...]:
    """Return what START and STOP of one state have in common: its modifiers too, as in BORIS."""
    observation = row.values.get(_OBSERVATION, "")
    if not observation:
        observation = next((row.values[name] for name in MEDIA if row.values.get(name)), "")
    modifiers = [value for name, value in row.values.items() if name.startswith("modifier")]
    return (observation, row.values.get("subject", ""), label, *modifiers)


def _seconds(row: Line, column: str) -> float:
    """Return a time in seconds from the start of the observation's media."""
    text = row.values.get(column, "")
    value = _number(text)
    if not 0 <= value < math.inf:
        raise row.error(f"{column} is {text!r}, not a time in seconds")
    offset = row.values.get(_OFFSET, "")
    if offset.lower() in _NONE:
        return value
    shifted = round(value - _number(offset), 6)
    if not 0 <= shifted < math.inf:
        raise row.error(f"{column} is {text}, before the time offset of {offset} s")
    return shifted


def _number(text: str) -> float:
    """Read 12.5 or 12,5; what is no number is NaN."""
    try:
        return float(text.replace(",", "."))
    except ValueError:
        return math.nan


def _value(row: Line, columns: Sequence[str]) -> str:
    return next((row.values[name] for name in columns if name in row.values), "")


def _rows(file: Path) -> list[Line]:
    """Return the rows below the heading, with the numbers of their lines.

    The observation's name and time offset are added to each row where they stand above the heading.
    """
    table: list[Line] = []
    columns: list[str] = []
    about: dict[str, str] = {}
    for number, row in enumerate(_fields(file), 1):
        if not columns and _is_heading(_plain_row(row)):
            columns = _plain_row(row)
        elif not columns:
            title, value = (*row, "", "")[:2]
            (name,) = _plain_row([title])
            if name in (_OBSERVATION, _OFFSET):
                about[name] = value.strip()
        elif any(row):
            if len(row) != len(columns):
                counts = f"{len(row)} fields, but the heading names {len(columns)} columns"
                raise Line(file, number).error(counts)
            values = dict(zip(columns, (field.strip() for field in row), strict=True))
            table.append(Line(file, number, values={**about, **values}))
    if not table:
        raise InputError(f"{file}: there is no row below the names of the columns")
    return table


def _is_heading(columns: Sequence[str]) -> bool:
    has_behaviour = any(name in columns for name in _BEHAVIOUR)
    has_time = _TIME in columns or (_START in columns and _STOP in columns)
    has_media = any(name in columns for name in MEDIA)
    return has_behaviour and has_time and has_media


def _fields(file: Path) -> list[list[str]]:
    text = read_text(file)
    delimiter = max("\t,;", key=text.count)
    return list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))


def _plain_row(row: Sequence[str]) -> list[str]:
    return [re.sub(r"\W+", "_", name.strip().lower()).strip("_") for name in row]
