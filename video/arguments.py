"""The flags of the commands, each a dataclass.

Importing this file does not import torch.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from core.training.arguments import RunPath
from core.training.cli import Computing


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Write a video of a moving sprite."""

    path: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="SAMPLE.mp4")]
    """File to write."""
    seed: int = 0
    """Of the clips; training by default has those of seed 0."""
    number: int | None = None
    """Which clip; by default the first of the test, which no training sees."""


@dataclass(frozen=True, kw_only=True)
class Smoothing:
    """Flags of the commands that smooth labels."""

    shortest: int = 1
    """Minimum length of a segment in frames that the net is shown; shorter ones are merged into a
    neighbour."""
    self_transition: float = 0.0
    """Probability that a frame has the label of the one before, for Viterbi smoothing; 0: none."""


@dataclass(frozen=True, kw_only=True)
class Evaluate(Smoothing, Computing):
    """Measure a trained net on its own data, or on other videos."""

    run: RunPath
    """Run directory or checkpoint."""
    split: Literal["train", "validation", "test"] | None = None
    """Part of the data; by default test where there is one, and all of --data."""
    data: str | None = None
    """Other labels than in training, in any of the forms that --data of training takes."""
    json: bool = False
    """Print the metrics as JSON instead of a table."""


@dataclass(frozen=True, kw_only=True)
class Label(Smoothing, Computing):
    """Label every frame of videos."""

    sources: Annotated[
        tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="FILE|FOLDER|URL|CAMERA...")
    ]
    """Video files, folders of frames, addresses of streams, numbers of cameras."""
    run: Path | None = None
    """Run directory or checkpoint; by default the model that comes with this package."""
    out: Path = Path("labels")
    """Folder for the files of --csv to --json."""
    csv: bool = False
    """Write NAME.frames.csv: frame, seconds, label, probability."""
    segments: bool = False
    """Write NAME.segments.csv: start, end (seconds), label."""
    onehot: bool = False
    """Write NAME.onehot.csv: frame, and 0 or 1 for each label."""
    probabilities: bool = False
    """Write NAME.probabilities.csv: frame, seconds, and the probability of each label."""
    boris: bool = False
    """Write NAME.boris.csv, a table in the format of BORIS' aggregated events."""
    eaf: bool = False
    """Write NAME.eaf, annotations for ELAN."""
    srt: bool = False
    """Write NAME.srt, subtitles for players."""
    vtt: bool = False
    """Write NAME.vtt, subtitles for browsers."""
    json: bool = False
    """Write NAME.json: the segments, and the names of the labels."""
    overlay: Path | None = None
    """Write a video to this path, .webm or .mp4: the source with its labels on it."""
    timeline: Path | None = None
    """Write a picture to this path, .png: the segments over time."""
    review: Path | None = None
    """Write a page to this path, .html: the film and its labels, to correct in a browser."""
    overwrite: bool = False
    """Replace files that exist."""
    fps: float | None = None
    """Frames a second of folders of pictures, which have no times."""
    live: bool = False
    """Read files at their recorded speed, as a camera would."""

    @property
    def kinds(self) -> list[str]:
        """The kinds of files to write into the folder `out`."""
        kinds = (
            *("csv", "segments", "srt", "vtt", "eaf"),
            *("boris", "onehot", "probabilities", "json"),
        )
        return [kind for kind in kinds if getattr(self, kind)]


@dataclass(frozen=True, kw_only=True)
class Next(Computing):
    """Rank the stretches of films by how much their labels would teach the net."""

    run: RunPath
    """Run directory or checkpoint."""
    films: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="FILM...")]
    """Films that are not labelled yet, or not whole."""
    minutes: float = 5.0
    """Minutes to choose, all films together."""
    stretch: float = 10.0
    """Seconds of a stretch."""
    out: Path = Path("next")
    """Folder for next.csv, next.boris.csv and FILM.next.eaf."""
    fps: float | None = None
    """Frames a second of folders of pictures, which have no times."""
    overwrite: bool = False
    """Replace files that exist."""


@dataclass(frozen=True, kw_only=True)
class Bouts:
    """Count and measure the bouts of behaviours in labelled films."""

    labels: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="LABELS...")]
    """Folders or files of labels, in any of the forms that --data of training takes."""
    films: Path | None = None
    """Folder of the films, if it is not that of the labels."""
    against: Path | None = None
    """Labels of the same films by a second scorer: print how far the two agree."""
    csv: Path | None = None
    """Write the table: film, behaviour, bouts, total, mean, latency (seconds), share of
    the time that was scored."""
    transitions: Path | None = None
    """Write a table of how often a behaviour follows another."""
    ethogram: Path | None = None
    """Write a picture to this path, .png: the bouts of each film over time."""
    background: str = "background"
    """The label of frames in no segment, which is no behaviour."""
    excess: int = 0
    """How many more or fewer labels than frames a film may have, for tables with a row a frame."""
    fps: float | None = None
    """Frames a second of folders of pictures, which have no times."""
    overwrite: bool = False
    """Replace files that exist."""
