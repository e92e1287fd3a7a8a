"""The encoder that a configuration names: as it begins, and as a checkpoint has it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from core.errors import InputError
from core.training import checkpoint
from core.training.config import from_dict
from vision.encoder import Encoder, Preprocessing, make_encoder


class Choice(Protocol):
    """The fields of a configuration that choose an encoder."""

    @property
    def encoder(self) -> str:
        """Its name."""
        ...

    @property
    def encoder_weights(self) -> str | None:
        """File of its weights."""
        ...

    @property
    def download(self) -> bool:
        """Whether torchvision may fetch them."""
        ...


def encoder_of(
    config: Choice, *, pretrained: bool = True, preprocessing: Preprocessing | None = None
) -> Encoder:
    """Return the encoder that a configuration names; arguments and errors are those of `make_encoder`."""
    weights = Path(config.encoder_weights) if config.encoder_weights else None
    return make_encoder(
        config.encoder,
        weights,
        download=config.download,
        pretrained=pretrained,
        preprocessing=preprocessing,
    )


def open_encoder(config: Choice, saved: Mapping[str, Any], path: str | Path) -> Encoder:
    """Return the encoder of a checkpoint, which holds its weights if they were trained.

    Args:
        config: the checkpoint's configuration.
        saved: the checkpoint.
        path: where it came from.

    Raises:
        InputError: its own weights, which the checkpoint does not hold, are not those it was trained with.
    """
    preprocessing = from_dict(Preprocessing, saved["extras"]["preprocessing"], str(path))
    weights = checkpoint.part(saved["weights"], "encoder")
    encoder = encoder_of(config, pretrained=not weights, preprocessing=preprocessing)
    if weights:
        checkpoint.restore(encoder, weights, path)
    elif encoder.fingerprint != saved["extras"]["fingerprint"]:
        raise InputError(f"{path} was trained with other weights of the encoder {config.encoder}")
    return encoder
