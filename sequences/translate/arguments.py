"""The flags of the commands, each a dataclass.

Importing this file does not import torch.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from core.errors import InputError
from core.training.arguments import RunPath
from core.training.cli import Computing
from core.training.config import WIDEST_BEAM, require_at_least, require_within


@dataclass(frozen=True, kw_only=True)
class Lines(Computing):
    """Translate the lines of standard input; an empty line stays empty."""

    run: RunPath
    """Run directory or checkpoint."""
    beam: int | None = None
    """Beam width; by default as in the configuration of the run."""
    n_best: int = 1
    """Translations of each line; if several, each after the line's number and log p, and tabs. A
    narrower beam is widened to as many."""
    attention: Path | None = None
    """PNG of the attention weights of the first line; later ones get NAME-2.png, NAME-3.png, ..."""
    overwrite: bool = False
    """Replace pictures that exist."""
    batch: int = 1
    """Lines to translate together: more are faster, but the first waits for the last."""

    def __post_init__(self):
        require_at_least(1, self, "batch")
        require_within(1, WIDEST_BEAM, self, "beam", "n_best")


@dataclass(frozen=True, kw_only=True)
class Evaluate(Computing):
    """Measure a trained translator on its validation pairs, or on others."""

    run: RunPath
    """Run directory or checkpoint."""
    data: tuple[str, ...] = ()
    """Other pairs, all of which are measured: two files, or what their names begin with."""
    split: Literal["train", "validation"] | None = None
    """The split of the run's own pairs to measure; by default validation."""
    beam: int | None = None
    """Beam width; by default as in the configuration of the run."""
    baselines: bool = True
    """Measure the baselines too, for which the training pairs are read."""
    tokenize: Literal["13a", "intl", "char", "none"] = "13a"
    """How sacrebleu splits text into words for BLEU; none for text that is split already."""
    lowercase: bool = False
    """Let capitals count as small letters."""
    json: bool = False
    """Print the metrics as JSON instead of a table."""

    def __post_init__(self):
        require_within(1, WIDEST_BEAM, self, "beam")
        if self.data and self.split:
            raise InputError("two parallel files have no splits: leave out --split or --data")
