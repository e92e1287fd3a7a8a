"""Reads what BORIS exports: aggregated events (a row a bout) and tabular events (a row an event).

    films = read(Path("boris.csv"), Path("boris"))    # see `datasets.videos.bouts`

Columns are looked up by name, as they differ between versions of BORIS (7, 8 and 9); lines above
the heading, which older versions write, are skipped. An observation of several media has them
parted by `;`: its times run through media that were played one after another, or hold for all of
those that were played side by side, by what is stated of their length (or else read from them).
"""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath

import cv2

from core.errors import InputError
from datasets.text_files import Line, read_text
from datasets.videos.bouts import Bout, Film
from datasets.videos.files import find_video

_BEHAVIOUR = ("behavior", "behaviour")
_TYPE = ("behavior_type", "behaviour_type", "status", "type")
_MEDIA = ("media_file_name", "media_file", "media_file_path", "source")
_START, _STOP, _TIME = "start_s", "stop_s", "time"
_TOTAL = ("total_length", "media_duration_s")
_NONE = ("", "na", "nan", "none")


def is_boris(file: Path) -> bool:
    """Return whether a file is an export of BORIS."""
    return any(_is_heading(_plain_row(row)) for row in _fields(file)[:60])


def read(file: Path, root: Path) -> list[Film]:
    """Return the films of an export, with their bouts; videos are looked for in `root`.

    Raises:
        InputError: a state is not closed, a time is none, or no media are named.
    """
    rows = _rows(file)
    films: dict[str, Film] = {}
    aggregated = all(_START in row.values for row in rows)
    for row in rows:
        for name in _media(row):
            films.setdefault(name, Film(name, "all", row))
    bouts = _aggregated(rows) if aggregated else _tabular(rows)
    for media, stated, bout in bouts:
        for name, part in _spread(bout, media, stated, root):
            films[name].bouts.append(part)
    return list(films.values())


def _aggregated(rows: Sequence[Line]) -> Iterator[tuple[list[str], float | None, Bout]]:
    """Yield each bout, with the media of its observation and their length as stated."""
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
        yield _media(row), _total(row), Bout(start, end, label, row)


def _tabular(rows: Sequence[Line]) -> Iterator[tuple[list[str], float | None, Bout]]:
    """Yield each bout; a state is a row START and a row STOP of the same subject and behaviour."""
    opened: dict[tuple[str, str, str, str], Line] = {}
    for row in rows:
        label = _value(row, _BEHAVIOUR)
        if label.lower() in _NONE:
            continue
        kind = _value(row, _TYPE).upper()
        observation = row.values.get("observation_id", "")
        media = ";".join(_media(row))
        subject = row.values.get("subject", "")
        key = (observation, media if not observation else "", subject, label)
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
            bout = Bout(_seconds(first, _TIME), _seconds(row, _TIME), label, first)
            yield _media(first), _total(first), bout
        elif kind == "POINT":
            time = _seconds(row, _TIME)
            yield _media(row), _total(row), Bout(time, time, label, row)
        else:
            raise row.error(f"the type of an event is START, STOP or POINT, not {kind!r}")
    for (*_, label), row in opened.items():
        raise row.error(f"the state {label!r} has no end: close it in BORIS, then export anew")


def _spread(
    bout: Bout, media: Sequence[str], stated: float | None, root: Path
) -> Iterator[tuple[str, Bout]]:
    """Yield the parts of a bout that lie in each of the media of an observation, in their time."""
    if len(media) == 1:
        yield media[0], bout
        return
    lengths = [_length(find_video(root, name, bout.line)) for name in media]
    total = bout.end if stated is None else stated
    if total <= max(lengths) + 0.5:  # played side by side
        for name in media:
            yield name, bout
        return
    start = 0.0
    for name, length in zip(media, lengths, strict=True):
        first = max(bout.start - start, 0.0)
        last = min(bout.end - start, length)
        if first < last or (bout.start == bout.end and 0 <= bout.start - start < length):
            yield name, bout._replace(start=first, end=max(first, last))
        start += length


def _length(video: Path) -> float:
    """Return how many seconds a video states that it lasts."""
    capture = cv2.VideoCapture(str(video))
    frames = capture.get(cv2.CAP_PROP_FRAME_COUNT)
    rate = capture.get(cv2.CAP_PROP_FPS)
    capture.release()
    if frames <= 0 or rate <= 0:
        raise InputError(f"{video}: states no length, which several media of an observation need")
    return frames / rate


def _media(row: Line) -> list[str]:
    """Return the file names of the media of a row; folders are those of another machine."""
    text = next((row.values[name] for name in _MEDIA if row.values.get(name)), "")
    names = [
        re.sub(r"^player #\d+:", "", part.strip(), flags=re.I) for part in re.split("[;|]", text)
    ]
    names = [PureWindowsPath(PurePosixPath(name).name).name for name in names if name]
    if not names or names == ["NA"]:
        raise row.error("no media file is named")
    return names


def _total(row: Line) -> float | None:
    """Return the length in seconds that the media of a row have together, if it is stated."""
    text = _value(row, _TOTAL)
    try:
        return sum(float(part) for part in text.split(";")) if text else None
    except ValueError:
        return None


def _seconds(row: Line, column: str) -> float:
    text = row.values.get(column, "")
    try:
        value = float(text.replace(",", "."))
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise row.error(f"{column} is {text!r}, not a time in seconds")
    return value


def _value(row: Line, columns: Sequence[str]) -> str:
    return next((row.values[name] for name in columns if name in row.values), "")


def _rows(file: Path) -> list[Line]:
    """Return the rows below the heading, with the numbers of their lines."""
    table: list[Line] = []
    columns: list[str] = []
    for number, row in enumerate(_fields(file), 1):
        if not columns and _is_heading(_plain_row(row)):
            columns = _plain_row(row)
        elif columns and any(row):
            if len(row) != len(columns):
                counts = f"{len(row)} fields, but the heading names {len(columns)} columns"
                raise Line(file, number).error(counts)
            values = dict(zip(columns, (field.strip() for field in row), strict=True))
            table.append(Line(file, number, values=values))
    if not table:
        raise InputError(f"{file}: there is no row below the names of the columns")
    return table


def _is_heading(columns: Sequence[str]) -> bool:
    has_behaviour = any(name in columns for name in _BEHAVIOUR)
    has_time = _TIME in columns or (_START in columns and _STOP in columns)
    has_media = any(name in columns for name in _MEDIA)
    return has_behaviour and has_time and has_media


def _fields(file: Path) -> list[list[str]]:
    text = read_text(file)
    delimiter = max("\t,;", key=text.count)
    return list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))


def _plain_row(row: Sequence[str]) -> list[str]:
    return [re.sub(r"\W+", "_", name.strip().lower()).strip("_") for name in row]
