"""A character model that is ready for use: the net and its alphabet, from a run."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from core.training import checkpoint
from core.training.packing import from_bytes
from datasets.text.alphabets import Alphabet
from sequences.charlm.config import Config
from sequences.charlm.model import CharacterModel

DEFAULT = Path(__file__).parent / "default.pt"
"""The model of this package, which writes in the manner of Shakespeare (MODEL_CARD.md)."""


@dataclass(frozen=True, eq=False)
class Trained:
    """All that writes text."""

    config: Config
    model: CharacterModel
    alphabet: Alphabet
    first: int
    """The character to read before a text that has no beginning."""

    @property
    def device(self) -> torch.device:
        """Where the model computes."""
        return self.model.V.weight.device


def open_model(path: str | Path, device: torch.device | str) -> tuple[Trained, dict[str, Any]]:
    """Return a trained model, ready to read and write, and the checkpoint it came in.

    Raises:
        InputError: the file is no checkpoint of this application.
    """
    with checkpoint.opened(path, "charlm", Config) as (config, saved):
        alphabet = Alphabet(saved["extras"]["characters"])
        weights = from_bytes(checkpoint.part(saved["weights"], part_that_writes(config)))
        model = checkpoint.build(lambda: CharacterModel(config, len(alphabet)), weights, path)
        first = saved["extras"]["first"]
    return Trained(config, model.to(device).eval(), alphabet, first), saved


def part_that_writes(config: Config) -> str:
    """Return the part of a checkpoint's weights that validated and is to be used."""
    return "average" if config.averaging else "model"
