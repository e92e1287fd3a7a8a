"""A labeller that is ready for use: encoder, net and the names of the labels, from a run or from this package."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from core.cells import State
from core.training import checkpoint
from video.config import Config
from video.model import Labeller, describe
from vision import encoder as encoders
from vision.encoder import TINY, Encoder

DEFAULT = Path(__file__).parent / "default.pt"


@dataclass(frozen=True, eq=False)
class Trained:
    """All that turns frames into labels."""

    config: Config
    encoder: Encoder
    labeller: Labeller
    classes: tuple[str, ...]

    @torch.no_grad()
    def features(
        self, pixels: UInt8[Tensor, "frames 3 size size"]
    ) -> Float[Tensor, "frames features"]:
        """Return what the encoder sees in frames that it has preprocessed."""
        grid = self.encoder(pixels.to(self.labeller.V.weight.device))
        return describe(grid, whole=self.config.trains_encoder)

    @torch.no_grad()
    def label(
        self, features: Float[Tensor, "frames features"], state: State | None = None
    ) -> tuple[Float[Tensor, "frames classes"], State | None]:
        """Return log p of each frame's labels, and the state to go on from."""
        logits, state = self.labeller(features.to(self.labeller.V.weight.device)[:, None], state)
        return logits[:, 0].log_softmax(-1), state


def encoder_of(config: Config) -> Encoder:
    """Return the encoder that a configuration names; one that is trained from scratch is shown frames of its `side`.

    Raises `InputError` as `make_encoder` does.
    """
    return encoders.encoder_of(
        config, preprocessing=replace(TINY, size=config.side) if config.trains_encoder else None
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
    with checkpoint.opened(path, "video", Config) as (config, saved):
        encoder = encoders.open_encoder(config, saved, path)
        classes = tuple(saved["extras"]["classes"])
        weights = checkpoint.part(saved["weights"], "labeller")
        labeller = checkpoint.build(lambda: build(config, encoder, classes).labeller, weights, path)
        trained = Trained(config, encoder, labeller, classes)
    trained.encoder.to(device)
    trained.labeller.to(device).eval()
    return trained, saved
