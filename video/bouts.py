"""Bout statistics of labelled films, an ethogram, and the agreement of two scorers.

    uv run video bouts labels --films films                       # a table
    uv run video bouts DATA --csv bouts.csv --ethogram bouts.png
    uv run video bouts ours.csv --against theirs.csv              # Cohen's kappa and F1

Labels are in any of the forms that `video train --data` takes. The films are read for the times of
their frames, nothing else. Every film has a row for each behaviour that any of them has. A
behaviour's latency is the time until its first bout, its share that of the time in which it was
scored; transitions are counted from each bout to the next of the film, the background left out.
Films of one name are told apart by their folders.
"""

import os
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from core.errors import InputError, counted
from core.files import make_folder, replace, require_apart, require_free
from core.training import cli
from core.training.config import require_at_least, require_positive
from datasets.text_files import warn
from datasets.videos import labelled
from datasets.videos.bouts import NOBODY
from datasets.videos.clips import UNLABELLED, Clip, VideoSplits
from video.arguments import Bouts
from video.labels.formats import Span, csv_text, end, spans
from video.metrics.behaviours import lanes
from video.metrics.segmentation import f1
from video.pictures.drawing import timeline
from video.streams.reader import open_source

COLUMNS = ("film", "behaviour", "bouts", "total_s", "mean_s", "latency_s", "share")


def main(arguments: Bouts) -> None:
    """Read the labels, print and write what was asked for."""
    require_positive(arguments, "fps")
    require_at_least(0, arguments, "excess")
    if not arguments.labels:
        raise InputError("no labels to count: name files or folders of them")
    outputs = [path for path in (arguments.csv, arguments.transitions, arguments.ethogram) if path]
    for path in outputs:
        require_apart(path, arguments.labels)
        make_folder(path.parent)
        require_free(path, arguments.overwrite)
    films = _films(arguments.labels, arguments)
    behaviours = list(dict.fromkeys(name for film in films for name in film.behaviours))
    rows = [row for film in films for row in film.rows(behaviours)]
    if arguments.csv:
        replace(arguments.csv, csv_text(COLUMNS, rows).encode(errors="replace"))
    if arguments.transitions:
        replace(arguments.transitions, _transitions(films).encode(errors="replace"))
    if arguments.ethogram:
        replace(arguments.ethogram, _ethogram(films))
    if arguments.against:
        theirs = _films([arguments.against], arguments)
        Console().print(_agreement(films, theirs, arguments.against))
    elif not outputs:
        Console().print(_table(COLUMNS, rows, "bouts"))
    for path in outputs:
        cli.say(f"written: {path}")


class _Film:
    """A film and its labels."""

    def __init__(self, clip: Clip, splits: VideoSplits, arguments: Bouts):
        if not isinstance(clip.source, Path):
            raise InputError(f"{clip.name}: a drawn clip is no film")
        source = open_source(clip.source, rate=arguments.fps)
        for _ in source:
            pass
        self.file = clip.source.resolve()
        self.name = clip.source.stem
        self.seconds = source.times.tolist()
        self.classes = splits.classes
        self.labels = clip.labels(self.seconds, arguments.excess)
        self.behaviours = [name for name in splits.classes if name != arguments.background]
        self.spans = self._bouts(arguments.background)

    def _bouts(self, background: str) -> list[Span]:
        """Return the segments that are behaviours; a frame that nobody scored is in none."""
        numbers = self.labels.clamp(min=0)
        if self.labels.ndim == 1:
            numbers[self.labels == UNLABELLED] = len(self.classes)
        found = spans(numbers, self.seconds, (*self.classes, NOBODY))
        return [span for span in found if span.label not in (background, NOBODY)]

    def columns(self, behaviours: Sequence[str]) -> torch.Tensor:
        """Return 0 and 1 for each behaviour in each frame, -1 where nobody scored it."""
        return torch.stack([self._column(name) for name in behaviours], 1)

    def _column(self, behaviour: str) -> torch.Tensor:
        """Return the column of one behaviour; one that the labels lack does not occur."""
        if self.labels.ndim == 2 and behaviour in self.classes:
            return self.labels[:, self.classes.index(behaviour)]
        column = torch.zeros(len(self.seconds), dtype=torch.int64)
        if self.labels.ndim == 2:
            unscored = (self.labels < 0).all(1)
        else:
            unscored = self.labels < 0
        if behaviour in self.classes:
            column[self.labels == self.classes.index(behaviour)] = 1
        column[unscored] = UNLABELLED
        return column

    def rows(self, behaviours: Sequence[str]) -> list[tuple[object, ...]]:
        """Return for each behaviour the values of `COLUMNS`."""
        lasting = np.diff([*self.seconds, end(self.seconds)])
        rows = []
        for name in behaviours:
            scored = float(lasting[(self._column(name) >= 0).numpy()].sum())
            bouts = [span for span in self.spans if span.label == name]
            total = sum(span.end - span.start for span in bouts)
            mean = ""
            latency = ""
            if bouts:
                mean = f"{total / len(bouts):.3f}"
                latency = f"{bouts[0].start:.3f}"
            share = f"{total / scored:.4f}" if scored else ""
            rows.append((self.name, name, len(bouts), f"{total:.3f}", mean, latency, share))
        return rows


def _films(sources: Sequence[Path], arguments: Bouts) -> list[_Film]:
    """Return the films that files or folders label; those of one name get longer names."""
    films = []
    for source in sources:
        flags = {"background": arguments.background, "films": arguments.films}
        splits = labelled.read_labels(source, **flags).everything()
        for clip in splits.clips:
            films.append(_Film(clip, splits, arguments))
    files_of: dict[str, set[Path]] = {}
    for film in films:
        files_of.setdefault(film.name, set()).add(film.file)
    for film in films:
        files = files_of[film.file.stem]
        if len(files) > 1:
            folder = os.path.commonpath([file.parent for file in files])
            film.name = film.file.relative_to(folder).as_posix()
    return films


def _transitions(films: Sequence[_Film]) -> str:
    """Return a table of how often each behaviour follows each other one, film by film."""
    counts = Counter[tuple[str, str, str]]()
    for film in films:
        for before, after in pairwise(film.spans):
            counts[film.name, before.label, after.label] += 1
    rows = [(*key, count) for key, count in sorted(counts.items())]
    return csv_text(("film", "from", "to", "count"), rows)


def _ethogram(films: Sequence[_Film]) -> bytes:
    """Return a picture with a row for each film, or for each of its behaviours that overlap."""
    classes = list(dict.fromkeys(name for film in films for name in film.behaviours))
    rows: dict[str, list[Span]] = {}
    for film in films:
        if film.labels.ndim == 1:
            rows[film.name] = film.spans
            continue
        for name in film.behaviours:
            own = [span for span in film.spans if span.label == name]
            rows[f"{film.name}: {name}"] = own
    length = max(end(film.seconds) for film in films)
    return timeline(rows, classes, "Ethogram", limits=(0.0, length))


def _shared(films: Sequence[_Film], theirs: Sequence[_Film]) -> list[tuple[_Film, _Film]]:
    """Return the films that both scorers labelled: of one file, or else of one name."""
    by_file = {film.file: film for film in theirs}
    by_name = {film.name: film for film in theirs}
    pairs = [(film, by_file.get(film.file) or by_name.get(film.name)) for film in films]
    return [(ours, other) for ours, other in pairs if other]


def _agreement(films: Sequence[_Film], theirs: Sequence[_Film], against: Path) -> Table:
    """Return how far two scorers agree on the films that both scored, behaviour by behaviour."""
    matched = _shared(films, theirs)
    if not matched:
        raise InputError(f"{against} labels none of the same films")
    shared = [film for film, _ in matched]
    others = [film for _, film in matched]
    alone = [film.name for film in (*films, *theirs) if film not in (*shared, *others)]
    warn(against, "films that one scorer alone labelled", alone)
    names = list(dict.fromkeys(n for film in (*shared, *others) for n in film.behaviours))
    ours = [film.columns(names) for film in shared]
    second = [film.columns(names) for film in others]
    rows = []
    for n, name in enumerate(names):
        one = torch.cat([each[:, n] for each in ours])
        two = torch.cat([each[:, n] for each in second])
        scored = (one >= 0) & (two >= 0)
        if not scored.any():
            rows.append((name, "-", "-", "-"))
            continue
        pairs = [
            (lanes(a[:, n : n + 1], b[:, n : n + 1]), lanes(b[:, n : n + 1], a[:, n : n + 1]))
            for a, b in zip(ours, second, strict=True)
        ]
        both = int(((one == 1) & (two == 1) & scored).sum())
        either = int((one[scored] == 1).sum() + (two[scored] == 1).sum())
        frames = 200 * both / either if either else 100.0
        kappa = cohens_kappa(one[scored].numpy(), two[scored].numpy())
        row = (name, f"{kappa:.3f}", f"{frames:.1f}", f"{f1(pairs, 0.5):.1f}")
        rows.append(row)
    columns = ("behaviour", "Cohen's kappa", "frame F1, %", "bout F1@50, %")
    return _table(columns, rows, f"agreement on {counted(len(shared), 'film')}")


def cohens_kappa(one: np.ndarray, two: np.ndarray) -> float:
    """Return (p_o - p_e) / (1 - p_e): agreement beyond what the shares of labels give by chance.

    1 where both scorers use one and the same label alone (Cohen 1960).
    """
    labels = np.union1d(one, two)
    observed = float(np.mean(one == two))
    expected = float(sum(np.mean(one == label) * np.mean(two == label) for label in labels))
    if expected == 1:
        return 1.0
    return (observed - expected) / (1 - expected)


def _table(columns: Sequence[str], rows: Sequence[Sequence[object]], title: str) -> Table:
    table = Table(title=title)
    first, *figures = columns
    table.add_column(first)
    for column in figures:
        table.add_column(column, justify="right")
    for row in rows:
        table.add_row(*map(str, row))
    return table


if __name__ == "__main__":
    raise SystemExit(cli.script("video bouts"))
