"""A captioner that is ready for use: encoder, decoder and vocabulary, from a run or from this package."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from captioning.config import Config
from captioning.encoder import Encoder, make_encoder
from captioning.model import Captioner
from core import checkpoint
from core.config import from_dict
from core.errors import InputError
from datasets.text import Vocabulary

DEFAULT = Path(__file__).parent / "default.pt"


@dataclass(frozen=True, eq=False)
class Trained:
    """All that turns a picture into a sentence."""

    config: Config
    encoder: Encoder
    decoder: Captioner
    vocabulary: Vocabulary

    def to(self, device: torch.device | str) -> "Trained":
        """Return itself, its networks on `device`."""
        self.encoder.to(device)
        self.decoder.to(device)
        return self

    @torch.no_grad()
    def look(self, pixels: UInt8[Tensor, "images 3 size size"]) -> Float[Tensor, "images cells channels"]:
        """Return what the encoder sees of pictures that it has preprocessed."""
        return self.encoder(pixels.to(self.decoder.bias.device))


def build(config: Config, vocabulary: Vocabulary, *, pretrained: bool = True) -> Trained:
    """Return a captioner whose decoder is untrained; `pretrained` asks for the encoder's own weights.

    Raises `InputError` where the encoder is unknown or its weights are not to be had.
    """
    weights = Path(config.encoder_weights) if config.encoder_weights else None
    encoder = make_encoder(config.encoder, weights, download=config.download, pretrained=pretrained)
    return Trained(config, encoder, Captioner(config, encoder.channels, len(vocabulary)), vocabulary)


def open_model(path: str | Path, device: torch.device | str) -> tuple[Trained, dict[str, Any]]:
    """Return a trained captioner, ready to write, and the checkpoint it came in.

    Raises `InputError` for a file that is no checkpoint of this application.
    """
    saved = checkpoint.open_run(path, "captioning")
    config = from_dict(Config, saved["config"], str(path))
    vocabulary = Vocabulary.from_json(saved["extras"]["vocabulary"])
    trained = build(config, vocabulary, pretrained=not config.trains_encoder)
    if trained.encoder.fingerprint != saved["extras"]["encoder"] and not config.trains_encoder:
        raise InputError(f"{path} was trained with other weights of the encoder {config.encoder}")
    load(trained, saved["weights"])
    for network in (trained.encoder, trained.decoder):
        network.to(device).eval()
    return trained, saved


def load(trained: Trained, weights: dict[str, Tensor]) -> None:
    """Put the weights of a checkpoint into a captioner."""
    for name in ("decoder", "encoder"):
        part = {key.removeprefix(f"{name}."): value for key, value in weights.items() if key.startswith(f"{name}.")}
        if part:
            getattr(trained, name).load_state_dict(part)
