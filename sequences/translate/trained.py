"""A translator that is ready for use, from a run: network and vocabularies."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from core.training import checkpoint
from core.training.config import from_dict
from datasets.pieces import Pieces
from sequences.translate.config import Config
from sequences.translate.data import Vocabularies
from sequences.translate.model import Translator


@dataclass(frozen=True, eq=False)
class Trained:
    """All that turns a sentence into its translation."""

    config: Config
    network: Translator
    pieces: Vocabularies

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self.network.bias.device


def open_model(path: str | Path, device: torch.device | str) -> tuple[Trained, dict[str, Any]]:
    """Return a trained translator, ready to write, and the checkpoint it came in.

    Raises:
        InputError: the file is no checkpoint of this application.
    """
    saved = checkpoint.open_run(path, "translate")
    config = from_dict(Config, saved["config"], str(path))
    extras = saved["extras"]
    source, target = Pieces.from_json(extras["source"]), Pieces.from_json(extras["target"])
    network = Translator(config, len(source), len(target))
    checkpoint.restore(network, checkpoint.part(saved["weights"], "network"), path)
    trained = Trained(config, network.to(device).eval(), Vocabularies(source, target))
    return trained, saved
