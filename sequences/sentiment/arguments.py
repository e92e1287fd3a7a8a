"""The flags of the commands, each a dataclass.

Importing this file does not import torch.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from core.training.cli import Computing


@dataclass(frozen=True, kw_only=True)
class Classify(Computing):
    """Classify the lines of standard input."""

    run: Annotated[Path, tyro.conf.Positional]
    """Run directory or checkpoint."""


@dataclass(frozen=True, kw_only=True)
class Evaluate(Computing):
    """Measure a trained net on its own data, or on other sentences."""

    run: Annotated[Path, tyro.conf.Positional]
    """Run directory or checkpoint."""
    part: Literal["test", "validation"] | None = None
    """Part of its data; by default test where there is one."""
    data: tuple[str, ...] = ()
    """Other data than in training, all of which is measured: given as in training."""
    baselines: bool = True
    """Measure the baselines too, which learn from the training data again."""
    json: bool = False
    """Print the scores as JSON instead of a table."""
