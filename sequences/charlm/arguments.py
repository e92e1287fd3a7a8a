"""The flags of the commands, each a dataclass.

Importing this file does not import torch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from core.errors import InputError
from core.training.arguments import RunPath, TrainArguments, Training
from core.training.cli import Computing
from core.training.config import require_at_least, require_positive, require_within
from sequences.charlm.config import EXPECTED, PRESETS, Config

HIGHEST_ORDER = 10
LOWEST_TEMPERATURE = 1e-30  # that of core.decoding, which imports torch


@dataclass(frozen=True, kw_only=True)
class Sample(Computing):
    """Write text, which appears as it is written."""

    run: Annotated[Path | None, tyro.conf.Positional, tyro.conf.arg(metavar="[RUN]")] = None
    """Run directory or checkpoint; by default the model that comes with this package."""
    prompt: str = ""
    """The beginning of the text; by default the model begins it."""
    temperature: float = 1.0
    """Below 1 the probable becomes more probable; 0: always the most probable character."""
    top_p: float = 1.0
    """Draw from the fewest characters that have this probability together."""
    length: int = 1000
    """Characters (or bytes) to write after the prompt."""
    seed: int = 0
    """Another seed, another text."""

    def __post_init__(self):
        require_at_least(1, self, "length")
        if self.temperature:
            require_positive(self, "temperature")
            require_at_least(LOWEST_TEMPERATURE, self, "temperature")
        require_positive(self, "top_p")
        require_within(0, 1, self, "top_p")


@dataclass(frozen=True, kw_only=True)
class Evaluate(Computing):
    """Measure a trained model on the held-out tail of its text, or on all of another text."""

    run: RunPath
    """Run directory or checkpoint."""
    file: Annotated[Path | None, tyro.conf.Positional, tyro.conf.arg(metavar="[FILE]")] = None
    """The text, if it is another than in training, or has moved."""
    orders: tuple[int, ...] = (6,)
    """The n of the n-gram models beside it."""
    dynamic: float = 0.0
    """Add a row for dynamic evaluation, which learns from the text it has read, with this learning
    rate (about 0.1); 0: none."""
    structure: Literal["xml", "c", "latex"] | None = None
    """Instead, sample texts and print the share of such marks that are paired."""
    pieces: int = 10
    """For --structure: number of samples, and of pieces of real text."""
    length: int = 2000
    """For --structure: characters of each."""
    temperature: float = 1.0
    """For --structure: temperature of the samples, the n-gram model's too."""
    seed: int = 0
    """For --structure: seed of the samples."""
    json: bool = False
    """Print the metrics as JSON instead of a table."""

    def __post_init__(self):
        require_at_least(1, self, "pieces", "length")
        if not all(1 <= order <= HIGHEST_ORDER for order in self.orders):
            raise InputError(f"orders must be from 1 to {HIGHEST_ORDER}")
        if self.dynamic:
            require_positive(self, "dynamic")
        if self.temperature:
            require_positive(self, "temperature")
            require_at_least(LOWEST_TEMPERATURE, self, "temperature")


class TextTraining(Training[Config]):
    """Training flags; without --preset they start from the preset that goes with the text."""

    def parse(self, prog: str, argv: Sequence[str]) -> TrainArguments[Config]:
        """Parse the flags; a file of the user's own takes the preset "small"."""
        arguments = super().parse(prog, argv)
        if any(word.startswith(("--preset", "--resume")) for word in argv):
            return arguments
        config = arguments.config
        preset = config.corpus or next(iter(PRESETS))
        if config.file:
            preset = "small"
        return super().parse(prog, ["--preset", preset, *argv])


TRAINING = TextTraining(Config, PRESETS, EXPECTED)
