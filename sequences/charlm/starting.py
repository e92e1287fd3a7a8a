"""A training that starts from the weights of another character model."""

import torch

from core.errors import InputError
from sequences.charlm.config import Config
from sequences.charlm.trained import Trained

SIZES = ("cell", "hidden", "layers", "embedding", "tied", "bytes")
"""What two models must have in common for one to take the weights of the other."""


@torch.no_grad()
def initialise_from(trained: Trained, source: Trained) -> None:
    """Give a model the weights of another, each character those that the other has for it.

    Characters that the other lacks keep their initial weights; those that only the other has are
    forgotten.

    Raises:
        InputError: the other has another cell, another size, or reads bytes and not characters.
    """
    _require_same_sizes(trained.config, source.config)
    here, there = _shared(trained, source)
    rows = source.model.rows_of_characters()
    for name, own in trained.model.rows_of_characters().items():
        own[here] = rows[name][there]
    weights = dict(source.model.named_parameters())
    for name, own in trained.model.named_parameters():
        if name not in rows:
            own.copy_(weights[name])


def _require_same_sizes(config: Config, source: Config) -> None:
    unlike = [name for name in SIZES if getattr(source, name) != getattr(config, name)]
    if unlike:
        flags = " ".join(_flag(name, source) for name in unlike)
        hint = f"give {flags} here too"
        raise InputError(f"{config.start} holds a model of another kind or size: {hint}")


def _flag(name: str, config: Config) -> str:
    value = getattr(config, name)
    if isinstance(value, bool):
        return f"--{name}" if value else f"--no-{name}"
    return f"--{name} {value}"


def _shared(trained: Trained, source: Trained) -> tuple[list[int], list[int]]:
    """Return the numbers in two models of the characters, or bytes, that both know."""
    if trained.alphabet.characters is None or source.alphabet.characters is None:
        numbers = list(range(len(trained.alphabet)))
        return numbers, numbers
    text = source.alphabet.known(trained.alphabet.characters)
    return trained.alphabet.encode(text).tolist(), source.alphabet.encode(text).tolist()
