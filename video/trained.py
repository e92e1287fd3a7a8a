"""A labeller that is ready for use: encoder, net and the names of the labels, from a run or from this package."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from core import checkpoint
from core.cells import State
from core.config import from_dict
from core.errors import InputError
from video.config import Config
from video.model import Labeller, describe
from vision.encoder import TINY, Encoder, Preprocessing, make_encoder

DEFAULT = Path(__file__).parent / "default.pt"


@dataclass(frozen=True, eq=False)
class Trained:
    """All that turns frames into labels."""

    config: Config
    encoder: Encoder
    labeller: Labeller
    classes: tuple[str, ...]

    @torch.no_grad()
    def features(self, pixels: UInt8[Tensor, "frames 3 size size"]) -> Float[Tensor, "frames features"]:
        """Return what the encoder sees in frames that it has preprocessed."""
        grid = self.encoder(pixels.to(self.labeller.V.weight.device))
        return describe(grid, whole=self.config.trains_encoder)

    @torch.no_grad()
    def label(
        self, features: Float[Tensor, "frames features"], state: State = None
    ) -> tuple[Float[Tensor, "frames classes"], State]:
        """Return log p of each frame's labels, and the state to go on from."""
        logits, state = self.labeller(features.to(self.labeller.V.weight.device)[:, None], state)
        return logits[:, 0].log_softmax(-1), state


def encoder_of(config: Config, *, pretrained: bool = True, preprocessing: Preprocessing | None = None) -> Encoder:
    """Return the encoder that a configuration names; raises `InputError` as `make_encoder` does."""
    if config.encoder == "tiny":
        preprocessing = preprocessing or Preprocessing(config.side, TINY.mean, TINY.std, TINY.interpolation)
    weights = Path(config.encoder_weights) if config.encoder_weights else None
    return make_encoder(
        config.encoder, weights, download=config.download, pretrained=pretrained, preprocessing=preprocessing
    )


def build(config: Config, encoder: Encoder, classes: tuple[str, ...]) -> Trained:
    """Return a labeller whose net is untrained."""
    whole = config.trains_encoder
    features = encoder.cells * encoder.channels if whole else 2 * encoder.channels
    return Trained(config, encoder, Labeller(config, features, len(classes)), classes)


def open_model(path: str | Path, device: torch.device | str) -> tuple[Trained, dict[str, Any]]:
    """Return a trained labeller, ready to look, and the checkpoint it came in.

    Raises `InputError` for a file that is no checkpoint of this application, or an encoder whose own weights are
    not those it was trained with.
    """
    saved = checkpoint.open_run(path, "video")
    config, extras = from_dict(Config, saved["config"], str(path)), saved["extras"]
    preprocessing = from_dict(Preprocessing, extras["preprocessing"], str(path))
    encoder = encoder_of(config, pretrained=not config.trains_encoder, preprocessing=preprocessing)
    if not config.trains_encoder and encoder.fingerprint != extras["fingerprint"]:
        raise InputError(f"{path} was trained with other weights of the encoder {config.encoder}")
    trained = build(config, encoder, tuple(extras["classes"]))
    for name in ("encoder", "labeller"):
        if part := checkpoint.part(saved["weights"], name):
            checkpoint.restore(getattr(trained, name), part, path)
    encoder.to(device)
    trained.labeller.to(device).eval()
    return trained, saved
