"""The flags of the commands, each a dataclass.

Importing this file does not import torch.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from core.training.cli import Computing


@dataclass(frozen=True, kw_only=True)
class Evaluate(Computing):
    """Measure a trained model on its own data, or on other data."""

    run: Annotated[Path, tyro.conf.Positional]
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
    json: bool = False
    """Print the report as JSON instead of tables."""


@dataclass(frozen=True, kw_only=True)
class Show(Computing):
    """Draw where a trained model looks at pictures."""

    run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """Run directory or checkpoint."""
    images: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="IMAGE...")]
    """Pictures of any format Pillow reads, and folders of them."""
    out: Path = Path("scanpaths")
    """Folder of the drawings: NAME.scanpath.png for each picture NAME."""
    gif: bool = False
    """Draw NAME.scanpath.gif too, one glimpse after another."""
    json: bool = False
    """Print locations and probabilities as JSON."""
    glimpses: int | None = None
    """Glimpses at each picture; by default as in training."""
    native: bool = False
    """Keep the pictures' own sizes: do not bring them to that of the training images."""
    invert: bool = False
    """Exchange dark and light."""
