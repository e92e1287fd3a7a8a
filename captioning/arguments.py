"""The flags of the commands, each a dataclass.

Importing this file does not import torch.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from core.training.arguments import Pack as PackRun
from core.training.arguments import RunPath
from core.training.cli import Computing


@dataclass(frozen=True, kw_only=True)
class Caption(Computing):
    """Write sentences about pictures."""

    paths: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="PATH...")]
    """Pictures, folders of them, or - for a list of paths on standard input."""
    run: Path | None = None
    """Run directory or checkpoint; default: the model that comes with this package."""
    beam: int = 5
    """Beam width; 1 is greedy."""
    n_best: int = 1
    """Sentences about each picture, each with its confidence."""
    json: bool = False
    """Print a JSON object for each picture, on a line of its own."""
    txt: bool = False
    """Write the sentence to NAME.txt beside each picture; pictures that have one are skipped."""
    overlay: Path | None = None
    """Folder for NAME.caption.png: each picture, its caption, the attention for each word."""
    html: Path | None = None
    """File for one page with all pictures and their captions."""
    overwrite: bool = False
    """Replace .txt files, and a page which this command did not write."""


@dataclass(frozen=True, kw_only=True)
class Evaluate(Computing):
    """Measure a trained captioner on its own data, or on other captions."""

    run: RunPath
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
    """Print the metrics as JSON instead of a table."""


@dataclass(frozen=True, kw_only=True)
class Calibrate(Computing):
    """Fit to its data which words a captioner expects and how sure it is; the file is replaced."""

    run: RunPath
    """Run directory or checkpoint."""
    data: tuple[str, ...] = ()
    """Other data than in training: caption files or folders."""
    images: str | None = None
    """Folder of the pictures, if it is not found beside the captions."""
    cache: str | None = None
    """Folder of the encoder's features; default: in the user's cache."""


@dataclass(frozen=True, kw_only=True)
class Pack(PackRun):
    """Make one small file of a trained captioner, in half precision, to keep or to ship."""

    average: Path | None = None
    """Run that this one started from: the file has the means of both runs' weights."""


@dataclass(frozen=True, kw_only=True)
class Export:
    """Write a trained captioner as two files that run without this package."""

    run: RunPath
    """Run directory or checkpoint."""
    folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FOLDER")]
    """The folder to write encode.pt2 and step.pt2 to."""
    onnx: bool = False
    """Write encode.onnx and step.onnx, for ONNX Runtime, instead."""
