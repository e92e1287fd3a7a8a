"""A character model that is ready for use: the net and its alphabet, from a run."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from core.training import checkpoint
from core.training.config import from_dict
from datasets.alphabets import Alphabet
from sequences.charlm.config import Config
from sequences.charlm.model import CharacterModel


@dataclass(frozen=True, eq=False)
class Trained:
    """All that writes text."""

    config: Config
    model: CharacterModel
    alphabet: Alphabet
    first: int
    """The number to read before a text without a beginning: a line's end, where there is one."""

    @property
    def device(self) -> torch.device:
        """Where the model computes."""
        return self.model.V.weight.device


def open_model(path: str | Path, device: torch.device | str) -> tuple[Trained, dict[str, Any]]:
    """Return a trained model, ready to read and write, and the checkpoint it came in.

    Raises `InputError` for a file that is no checkpoint of this application.
    """
    saved = checkpoint.open_run(path, "charlm")
    config, extras = from_dict(Config, saved["config"], str(path)), saved["extras"]
    alphabet = Alphabet(extras["characters"])
    model = CharacterModel(config, len(alphabet))
    checkpoint.restore(model, checkpoint.part(saved["weights"], "model"), path)
    return Trained(config, model.to(device).eval(), alphabet, extras["first"]), saved
