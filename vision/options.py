"""The options that choose an encoder, shared by the configurations of the applications.

Importing this file does not import torch.
"""

from dataclasses import dataclass, field

FROM_SCRATCH = ("tiny", "micro")
"""Encoders that have no weights until they are trained."""


@dataclass(frozen=True)
class EncoderOptions:
    """Which encoder, and where its weights and its features are kept."""

    encoder: str = "tiny"
    """tiny, micro (trained from scratch); lite0, lite1, lite2 (with weights); or torchvision's."""
    encoder_weights: str | None = field(default=None, metadata={"place": True})
    """File of the encoder's weights, for encoders that come without."""
    download: bool = field(default=False, metadata={"place": True})
    """Let torchvision download the encoder's weights."""
    cache: str | None = field(default=None, metadata={"place": True})
    """Folder of the frozen encoder's features; default: in the user's cache."""
