"""The flags of the commands, each a dataclass.

Importing this file does not import torch.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from core.training.cli import Computing


@dataclass(frozen=True, kw_only=True)
class Caption(Computing):
    """Write sentences about pictures."""

    paths: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="PATH...")]
    """Pictures of any format Pillow reads, folders of them, or - for a list of paths on standard input."""
    run: Path | None = None
    """Run directory or checkpoint; by default the model that comes with this package."""
    beam: int = 3
    """Sentences followed at a time; 1 is greedy."""
    n_best: int = 1
    """Sentences to tell of each picture; in percent, how probable their words were on average."""
    json: bool = False
    """Print a JSON object for each picture, on a line of its own."""
    overlay: Path | None = None
    """Folder for NAME.caption.png: each picture with its caption, and where the model looked for each word."""
    html: Path | None = None
    """File for one page with all pictures and their captions."""


@dataclass(frozen=True, kw_only=True)
class Evaluate(Computing):
    """Measure a trained captioner on its own data, or on other captions."""

    run: Annotated[Path, tyro.conf.Positional]
    """Run directory or checkpoint."""
    split: Literal["train", "validation", "test"] | None = None
    """Part of the data; default: test images of the run's own data, all images of other data."""
    data: tuple[str, ...] = ()
    """Other data than in training: caption files or folders."""
    images: str | None = None
    """Folder of the pictures, if it is not found beside the captions."""
    cache: str | None = None
    """Folder of the encoder's features; default: in the user's cache."""
    beam: int | None = None
    """Beam width; default: as in training."""
    baselines: bool = False
    """Measure captions copied from the nearest training images, too."""
    json: bool = False
    """Print the scores as JSON instead of a table."""


@dataclass(frozen=True, kw_only=True)
class Export:
    """Write a trained captioner as programs that run without this package."""

    run: Annotated[Path, tyro.conf.Positional]
    """Run directory or checkpoint."""
    folder: Annotated[Path, tyro.conf.Positional]
    """The folder to write encode.pt2 and step.pt2 to."""
