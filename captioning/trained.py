"""A captioner that is ready for use: encoder, decoder and vocabulary, from a run or from this package."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from captioning.config import Config
from captioning.model import Captioner
from core.training import checkpoint
from datasets.text import Vocabulary
from vision.encoder import Encoder
from vision.opening import open_encoder

DEFAULT = Path(__file__).parent / "default.pt"


@dataclass(frozen=True, eq=False)
class Trained:
    """All that turns a picture into a sentence."""

    config: Config
    encoder: Encoder
    decoder: Captioner
    vocabulary: Vocabulary

    @torch.no_grad()
    def look(
        self, pixels: UInt8[Tensor, "images 3 size size"]
    ) -> Float[Tensor, "images cells channels"]:
        """Return what the encoder sees of pictures that it has preprocessed."""
        return self.encoder(pixels.to(self.decoder.bias.device))


def open_model(path: str | Path, device: torch.device | str) -> tuple[Trained, dict[str, Any]]:
    """Return a trained captioner, ready to write, and the checkpoint it came in.

    Raises `InputError` for a file that is no checkpoint of this application, or an encoder whose own weights are
    not those it was trained with.
    """
    with checkpoint.opened(path, "captioning", Config) as (config, saved):
        encoder = open_encoder(config, saved, path)
        vocabulary = Vocabulary.from_json(saved["extras"]["vocabulary"])
        weights = checkpoint.part(saved["weights"], "decoder")
        decoder = checkpoint.build(
            lambda: Captioner(config, encoder.channels, len(vocabulary)), weights, path
        )
    return Trained(config, encoder.to(device), decoder.to(device).eval(), vocabulary), saved
