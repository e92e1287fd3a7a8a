"""The flags of the commands, each a dataclass.

Importing this file does not import torch.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from core.training.cli import Computing


@dataclass(frozen=True, kw_only=True)
class Lines(Computing):
    """Translate the lines of standard input; an empty line stays empty."""

    run: Annotated[Path, tyro.conf.Positional]
    """Run directory or checkpoint."""
    beam: int | None = None
    """Beam width; by default as in the configuration of the run."""
    n_best: int = 1
    """Translations of each line; if several: the line's number, log p and the text, with tabs between."""
    attention: Path | None = None
    """PNG of which words were looked at for which; those of later lines are NAME-2.png, NAME-3.png, ..."""
    batch: int = 1
    """Lines to translate together: more are faster, but the first waits for the last."""


@dataclass(frozen=True, kw_only=True)
class Evaluate(Computing):
    """Measure a trained translator on its validation pairs, or on others."""

    run: Annotated[Path, tyro.conf.Positional]
    """Run directory or checkpoint."""
    data: tuple[str, ...] = ()
    """Other pairs: two files, or what their names begin with."""
    beam: int | None = None
    """Beam width; by default as in the configuration of the run."""
    baselines: bool = True
    """Measure what takes no learning, too; for that the training pairs are read."""
    tokenize: Literal["13a", "intl", "char", "none"] = "13a"
    """How sacrebleu splits into words for BLEU; none for text that is already split by spaces."""
    lowercase: bool = False
    """Let capitals count as small letters."""
    json: bool = False
    """Print the scores as JSON instead of a table."""
