"""The flags of the commands, each a dataclass.

Importing this file does not import torch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from core.training.arguments import TrainArguments, Training
from core.training.cli import Computing
from core.training.config import require_at_least
from sequences.charlm.config import EXPECTED, PRESETS, Config


@dataclass(frozen=True, kw_only=True)
class Sample(Computing):
    """Write text, which appears as it is written."""

    run: Annotated[Path, tyro.conf.Positional]
    """Run directory or checkpoint."""
    prompt: str = ""
    """What the text begins with; by default the model begins it."""
    temperature: float = 1.0
    """Below 1 the probable becomes more probable; 0: always the most probable character."""
    top_p: float = 1.0
    """Draw from the fewest characters that have this probability together."""
    length: int = 1000
    """Characters (or bytes) to write after the prompt."""
    seed: int = 0
    """Another seed, another text."""


@dataclass(frozen=True, kw_only=True)
class Evaluate(Computing):
    """Measure a trained model on the held-out tail of its text, or on all of another."""

    run: Annotated[Path, tyro.conf.Positional]
    """Run directory or checkpoint."""
    file: Annotated[Path | None, tyro.conf.Positional, tyro.conf.arg(metavar="FILE")] = None
    """The text, if it is another than in training, or has moved."""
    structure: Literal["xml", "c", "latex"] | None = None
    """Instead, sample texts and print which share of these marks have their partner."""
    pieces: int = 10
    """For --structure: how many samples, and pieces of real text."""
    length: int = 2000
    """For --structure: characters of each."""
    temperature: float = 1.0
    """For --structure: that of the samples."""
    seed: int = 0
    """For --structure: that of the samples."""
    json: bool = False
    """Print the scores as JSON instead of a table."""

    def __post_init__(self):
        require_at_least(1, self, "pieces", "length")


class TextTraining(Training[Config]):
    """Training flags; without --preset they start from the one that goes with the text."""

    def parse(self, prog: str, argv: Sequence[str]) -> TrainArguments[Config]:
        """Parse the flags; a file of the user's own takes the preset "small"."""
        arguments = super().parse(prog, argv)
        if any(word.startswith(("--preset", "--resume")) for word in argv):
            return arguments
        config = arguments.config
        preset = "small" if config.file else config.corpus or next(iter(PRESETS))
        return super().parse(prog, ["--preset", preset, *argv])


TRAINING = TextTraining(Config, PRESETS, EXPECTED)
