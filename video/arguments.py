"""The flags of the commands, each a dataclass.

Importing this file does not import torch.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

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
class Evaluate(Computing):
    """Measure a trained net on its own data, or on other videos."""

    run: Annotated[Path, tyro.conf.Positional]
    """Run directory or checkpoint."""
    part: Literal["test", "validation"] | None = None
    """Part of the data; by default test where there is one."""
    data: str | None = None
    """Other data than in training: a folder or a table."""
    shortest: int = 1
    """Frames that a segment has at least; shorter ones go to a neighbour."""
    staying: float = 0.0
    """Probability that a label stays from a frame to the next, for Viterbi smoothing; 0: no smoothing."""
    json: bool = False
    """Print the scores as JSON instead of a table."""


@dataclass(frozen=True, kw_only=True)
class Label(Computing):
    """Label every frame of videos."""

    sources: Annotated[
        tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="FILE|FOLDER|URL|CAMERA...")
    ]
    """Video files, folders of frames, addresses of streams, numbers of cameras."""
    run: Path | None = None
    """Run directory or checkpoint; by default the model that comes with this package."""
    out: Path = Path("labels")
    """Folder for the files that the next five ask for."""
    csv: bool = False
    """Write NAME.frames.csv: frame, seconds, label, probability."""
    segments: bool = False
    """Write NAME.segments.csv: start, end, label."""
    srt: bool = False
    """Write NAME.srt, subtitles for players."""
    vtt: bool = False
    """Write NAME.vtt, subtitles for browsers."""
    eaf: bool = False
    """Write NAME.eaf, annotations for ELAN."""
    overlay: Path | None = None
    """Write this video, .webm or .mp4: the source with its labels on it."""
    timeline: Path | None = None
    """Write this picture, .png: the segments over time."""
    shortest: int = 1
    """Frames that a segment has at least; shorter ones go to a neighbour."""
    staying: float = 0.0
    """Probability that a label stays from a frame to the next, for Viterbi smoothing; 0: no smoothing."""
    live: bool = False
    """Play recordings in their own time, as a camera would."""

    @property
    def kinds(self) -> list[str]:
        """The kinds of files to write into the folder `out`."""
        kinds = ("csv", "segments", "srt", "vtt", "eaf")
        return [kind for kind in kinds if getattr(self, kind)]
