"""A labeller that is ready for use: encoder, net and the names of the labels.

trained, saved = open_model("runs/video/sprites", "cpu")    # or DEFAULT, that of this package
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from core.base_cell import State
from core.errors import InputError
from core.training import checkpoint
from video.config import Config
from video.model import Labeller, encode
from video.streams.preparation import Preparation
from vision import encoder as encoders
from vision.encoder import LITE0, TINY, Encoder
from vision.options import FROM_SCRATCH

DEFAULT = Path(__file__).parent / "default.pt"


@dataclass(frozen=True, eq=False)
class Trained:
    """All that turns frames into labels."""

    config: Config
    encoder: Encoder
    labeller: Labeller
    classes: tuple[str, ...]
    rate: float | None = None
    """Frames a second that the net was shown in training, where they are known."""

    @property
    def multi(self) -> bool:
        """Whether several classes can occur at once."""
        return self.labeller.multi

    @property
    def thresholds(self) -> Float[Tensor, " classes"] | None:
        """The probability from which on each behaviour occurs, where several can at once."""
        return self.labeller.thresholds.cpu() if self.multi else None

    def preparation(self) -> Preparation:
        """Return what prepares the frames of one source for the encoder."""
        return Preparation(self.config, self.encoder.preprocessing)

    @torch.no_grad()
    def features(
        self, pixels: UInt8[Tensor, "frames channels size size"]
    ) -> Float[Tensor, "frames features"]:
        """Return the encoder's features of frames that are prepared."""
        device = self.labeller.V.weight.device
        return encode(self.encoder, pixels.to(device), whole=self.config.trains_encoder)

    @torch.no_grad()
    def label(
        self, features: Float[Tensor, "frames features"], state: State | None = None
    ) -> tuple[Float[Tensor, "frames classes"], State | None]:
        """Return log p of each frame's labels, and the state to go on from.

        The probabilities of a frame's labels sum to 1; where several can occur at once each is one
        by itself.
        """
        logits, state = self.labeller(features.to(self.labeller.V.weight.device)[:, None], state)
        return self.labeller.log_p(logits[:, 0]), state


def encoder_of(config: Config) -> Encoder:
    """Return the encoder that a configuration names, to be shown frames of its `frame_size`.

    Raises `InputError` as `make_encoder` does.
    """
    own = {**dict.fromkeys(FROM_SCRATCH, TINY), "lite0": LITE0}.get(config.encoder)
    if own and config.frame_size:
        own = replace(own, size=config.frame_size)
    elif config.frame_size:
        raise InputError(f"--frame-size is for lite0, tiny and micro, not {config.encoder}")
    return encoders.encoder_of(config, preprocessing=own)


def build(
    config: Config,
    encoder: Encoder,
    classes: tuple[str, ...],
    *,
    rate: float | None = None,
    multi: bool = False,
) -> Trained:
    """Return a labeller whose net is untrained."""
    cells = encoder.cells if config.trains_encoder else 2
    pictures = 2 if config.motion else 1
    features = pictures * cells * encoder.channels
    labeller = Labeller(config, features, len(classes), multi=multi)
    return Trained(config, encoder, labeller, classes, rate)


def open_model(path: str | Path, device: torch.device | str) -> tuple[Trained, dict[str, Any]]:
    """Return a trained labeller, ready for use, and the checkpoint it came in.

    Raises:
        InputError: the file is no checkpoint of this application, or an encoder's own weights are
            not those it was trained with.
    """
    with checkpoint.opened(path, "video", Config) as (config, saved):
        encoder = encoders.open_encoder(config, saved, path)
        extras = saved["extras"]
        classes = tuple(extras["classes"])
        rate = extras.get("rate")
        multi = extras.get("multi", False)
        weights = checkpoint.part(saved["weights"], "labeller")
        labeller = checkpoint.build(
            lambda: build(config, encoder, classes, multi=multi).labeller, weights, path
        )
        trained = Trained(config, encoder, labeller, classes, rate)
    trained.encoder.to(device)
    trained.labeller.to(device).eval()
    return trained, saved
