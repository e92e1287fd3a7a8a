"""A captioner that is ready for use: encoder, decoder and vocabulary, from a run or from this package."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from captioning.config import Config
from captioning.model import Captioner
from core import checkpoint
from core.config import from_dict
from core.errors import InputError
from datasets.text import Vocabulary
from vision.encoder import Encoder, Preprocessing, make_encoder

DEFAULT = Path(__file__).parent / "default.pt"


@dataclass(frozen=True, eq=False)
class Trained:
    """All that turns a picture into a sentence."""

    config: Config
    encoder: Encoder
    decoder: Captioner
    vocabulary: Vocabulary

    @torch.no_grad()
    def look(self, pixels: UInt8[Tensor, "images 3 size size"]) -> Float[Tensor, "images cells channels"]:
        """Return what the encoder sees of pictures that it has preprocessed."""
        return self.encoder(pixels.to(self.decoder.bias.device))


def encoder_of(config: Config, *, pretrained: bool = True, preprocessing: Preprocessing | None = None) -> Encoder:
    """Return the encoder that a configuration names; `pretrained` asks for its own weights.

    Raises `InputError` where it is unknown or its weights are not to be had.
    """
    weights = Path(config.encoder_weights) if config.encoder_weights else None
    return make_encoder(
        config.encoder, weights, download=config.download, pretrained=pretrained, preprocessing=preprocessing
    )


def open_model(path: str | Path, device: torch.device | str) -> tuple[Trained, dict[str, Any]]:
    """Return a trained captioner, ready to write, and the checkpoint it came in.

    Raises `InputError` for a file that is no checkpoint of this application, or an encoder whose own weights are
    not those it was trained with.
    """
    saved = checkpoint.open_run(path, "captioning")
    config, extras = from_dict(Config, saved["config"], str(path)), saved["extras"]
    preprocessing = from_dict(Preprocessing, extras["preprocessing"], str(path))
    parts = {name: checkpoint.part(saved["weights"], name) for name in ("encoder", "decoder")}
    encoder = encoder_of(config, pretrained=not parts["encoder"], preprocessing=preprocessing)
    if parts["encoder"]:
        checkpoint.restore(encoder, parts["encoder"], path)
    elif encoder.fingerprint != extras["fingerprint"]:
        raise InputError(f"{path} was trained with other weights of the encoder {config.encoder}")
    vocabulary = Vocabulary.from_json(extras["vocabulary"])
    decoder = Captioner(config, encoder.channels, len(vocabulary))
    checkpoint.restore(decoder, parts["decoder"], path)
    return Trained(config, encoder.to(device), decoder.to(device).eval(), vocabulary), saved
