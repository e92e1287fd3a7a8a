"""The flags of the commands, each a dataclass.

Importing this file does not import torch.
"""

from dataclasses import dataclass
from typing import Literal

from core.training.arguments import RunPath
from core.training.cli import Computing


@dataclass(frozen=True, kw_only=True)
class Classify(Computing):
    """Classify the lines of standard input."""

    run: RunPath
    """Run directory or checkpoint."""


@dataclass(frozen=True, kw_only=True)
class Evaluate(Computing):
    """Measure a trained net on its own data, or on other sentences."""

    run: RunPath
    """Run directory or checkpoint."""
    data: tuple[str, ...] = ()
    """Other data than in training, in the same formats; all of it is measured."""
    text_column: str | None = None
    """Column of the texts in tables of --data; by default one with a usual name, as in training."""
    label_column: str | None = None
    """Column of the labels in tables of --data."""
    split: Literal["train", "validation", "test"] | None = None
    """Measure this split only; by default test where the run has one, and all of --data."""
    baselines: bool = True
    """Whether baselines are measured too, which learn from the training data again."""
    json: bool = False
    """Print the metrics as JSON instead of a table."""
