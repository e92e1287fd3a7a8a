"""What scorers noted of films, as bouts in time: the common form of tables, BORIS, ELAN, subtitles.

    films = [Film("a.mp4", "all", [Bout(0.5, 1.5, "walk", line)], line)]
    parts = clips_of(films, Path("labels"), background="rest")

Bouts of one film that overlap mean that several behaviours occur at once (`multi`).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from core.errors import InputError
from datasets.text_files import Line
from datasets.videos.clips import HALF_MILLISECOND, UNLABELLED, Clip, Parts, SegmentLabels
from datasets.videos.files import find_video

NOBODY = "unlabelled"
"""The label of stretches that nobody scored, which is not the same as the background."""

ROUNDING = 0.0011  # seconds; scoring programs write milliseconds


class Bout(NamedTuple):
    """A behaviour from `start` up to but without `end`; a point event ends where it starts."""

    start: float
    end: float
    label: str
    line: Line
    """Where it was noted."""


@dataclass
class Film:
    """The bouts of one film."""

    name: str
    part: str
    """train, validation, test, or "all" where none is given."""
    line: Line
    """Where the film was named first."""
    bouts: list[Bout] = field(default_factory=list)
    video: Path | None = None
    """Its file, where it is not to be looked for by name."""


def clips_of(
    films: Sequence[Film],
    root: Path,
    background: str,
    *,
    where: Path,
    in_frames: bool = False,
    multi: bool = False,
    rounding: float = HALF_MILLISECOND,
) -> Parts:
    """Return films as clips; videos are looked for in `root` and in a folder as videos/ in it.

    Args:
        films: the films, with their bouts.
        root: the folder of the labels.
        background: label of frames in no bout, the first class; `NOBODY`: they are not scored.
        where: the file or folder to name in errors.
        in_frames: whether bouts are in frames instead of seconds.
        multi: whether several behaviours can occur at once though no bouts overlap.
        rounding: by how many seconds times may be too late.

    Raises:
        InputError: a video is missing, or only some films are given parts.
    """
    multi = multi or any(overlapping(film) for film in films)
    names = {bout.label for film in films for bout in film.bouts} - {NOBODY}
    classes = in_order(names - {background})
    if not multi and background != NOBODY:
        classes = [background, *classes]
    numbers = {name: n for n, name in enumerate(classes)}
    numbers[NOBODY] = UNLABELLED
    rest = UNLABELLED if background == NOBODY else 0
    parts: dict[str, list[Clip]] = {}
    for film in films:
        bouts = sorted(film.bouts, key=lambda bout: (bout.start, bout.end))
        if multi:  # the background is where no behaviour occurs, also where it was scored as such
            bouts = [bout for bout in bouts if bout.label in numbers]
        labels = SegmentLabels(
            [bout.start for bout in bouts],
            [bout.end for bout in bouts],
            [numbers[bout.label] for bout in bouts],
            rest,
            in_frames,
            film.line.file,
            behaviours=len(classes) if multi else 0,
            rounding=rounding,
        )
        video = film.video or find_video(root, film.name, film.line)
        clip = Clip(film.name, video, labels, group=film.name)
        parts.setdefault(film.part, []).append(clip)
    require_all_or_no_parts(parts, where)
    return Parts(where, parts, classes, multi)


def overlapping(film: Film) -> bool:
    """Return whether two behaviours of a film occur at once, for longer than rounding explains."""
    latest: dict[str, float] = {}  # the end of each behaviour so far
    for bout in sorted(film.bouts, key=lambda bout: (bout.start, bout.end)):
        others = [end for label, end in latest.items() if label != bout.label]
        if bout.label != NOBODY and others and bout.start < max(others) - ROUNDING:
            return True
        if bout.label != NOBODY:
            latest[bout.label] = max(bout.end, latest.get(bout.label, 0.0))
    return False


def in_order(names: Iterable[str]) -> list[str]:
    """Sort class names, numbers by their value and before words."""
    return sorted(names, key=lambda name: (0, int(name), "") if name.isdecimal() else (1, 0, name))


def require_all_or_no_parts(parts: dict[str, list[Clip]], where: Path) -> None:
    """Raise InputError, naming `where`, if only some clips are given a part."""
    if len(parts) > 1 and "all" in parts:
        name = parts["all"][0].name
        reason = "is not named, as others are; name all or none"
        raise InputError(f"{where}: the split of {name} {reason}")


def touching(films: Iterable[Film]) -> set[float]:
    """Return by how much each bout of a film starts after the end of the one before it."""
    gaps = set[float]()
    for film in films:
        bouts = sorted(film.bouts, key=lambda bout: (bout.start, bout.end))
        gaps |= {right.start - left.end for left, right in pairwise(bouts)}
    return gaps
