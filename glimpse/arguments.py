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
class Evaluate(Computing):
    """Measure a trained model on its own data, or on other data."""

    run: RunPath
    """Run directory or checkpoint."""
    data: str | None = None
    """Another data set or class folder; all of it is measured unless --split picks a part."""
    split: Literal["train", "validation", "test"] | None = None
    """Part of the data set; by default the test part of the data of training."""
    glimpses: int | None = None
    """Glimpses at each image; by default as in training. Up to twice as many are reported."""
    samples: int = 1
    """Rollouts of each image with the noisy policy; the mean of their probabilities is measured."""
    root: str | None = None
    """Folder of the data sets, if it is not where it was in training."""
    boxes: Path | None = None
    """Table of boxes (file, x1, y1, x2, y2): the share of images with a glimpse on one is told."""
    curve: Path | None = None
    """Draw error against the mean number of glimpses into this PNG file."""
    json: bool = False
    """Print the report as JSON instead of tables."""


@dataclass(frozen=True, kw_only=True)
class Stop(Computing):
    """Set when a trained model is sure enough to answer, by its validation images."""

    run: RunPath
    """Run directory or checkpoint; the threshold is written into it."""
    error: float | None = None
    """Use as few glimpses as this error allows, in percent."""
    glimpses: float | None = None
    """Err as little as this number of glimpses on average allows."""
    most: int | None = None
    """Glimpses at most; by default as in training."""


@dataclass(frozen=True, kw_only=True)
class Show(Computing):
    """Draw where a trained model looks at pictures."""

    paths: Annotated[
        tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="[RUN] IMAGE...")
    ]
    """Run directory or checkpoint, if not the model of this package, which finds defects of circuit
    boards; then pictures of any format Pillow reads, and folders of them.
    """
    out: Path = Path("scanpaths")
    """Folder of the drawings: NAME.scanpath.png for each picture NAME."""
    gif: bool = False
    """Draw NAME.scanpath.gif too, one glimpse after another."""
    csv: Path | None = None
    """Write all scanpaths into this table: image, sample, t, x, y in pixels of the picture."""
    json: bool = False
    """Print locations and probabilities as JSON."""
    samples: int = 1
    """Scanpaths of each picture; more than one are sampled from the policy of the end of training,
    and drawn together.
    """
    glimpses: int | None = None
    """Glimpses at each picture; by default until the model is sure, or as many as in training."""
    native: bool = False
    """Keep the pictures' own sizes: do not bring them to that of the training images."""
    invert: bool = False
    """Exchange dark and light."""


@dataclass(frozen=True, kw_only=True)
class Sample(Computing):
    """Draw circuit boards with a defect each, to try the others on."""

    path: Annotated[Path, tyro.conf.Positional]
    """The picture to write, or with --count a folder of class folders and boxes.csv."""
    size: tuple[int, int] = (256, 256)
    """Height and width in pixels."""
    seed: int = 0
    """All that is random follows from it and the number."""
    number: int = 0
    """Which board of this seed."""
    count: int | None = None
    """Boards of a folder: 70 % to train on, 15 % to validate, 15 % to test."""
