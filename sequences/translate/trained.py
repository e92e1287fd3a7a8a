"""A translator that is ready for use, from a run: network and vocabularies."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from core.training import checkpoint
from datasets.text.subwords import Subwords
from sequences.translate.config import Config
from sequences.translate.data import Vocabularies
from sequences.translate.model import Translator


@dataclass(frozen=True, eq=False)
class Trained:
    """All that turns a sentence into its translation."""

    config: Config
    network: Translator
    subwords: Vocabularies

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self.network.bias.device


def open_model(path: str | Path, device: torch.device | str) -> tuple[Trained, dict[str, Any]]:
    """Return a trained translator, ready to write, and the checkpoint it came in.

    Raises:
        InputError: the file is no checkpoint of this application.
    """
    with checkpoint.opened(path, "translate", Config) as (config, saved):
        sides = [saved["extras"][side] for side in Vocabularies._fields]
        subwords = Vocabularies(*map(Subwords.from_json, sides))
        weights = checkpoint.part(saved["weights"], "network")
        network = checkpoint.build(lambda: Translator(config, *map(len, subwords)), weights, path)
    return Trained(config, network.to(device).eval(), subwords), saved
