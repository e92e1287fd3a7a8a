"""Configurations are frozen dataclasses: to and from plain JSON values, how two of them differ,
ranges of fields.
"""

import json
import math
import reprlib
import sys
import types
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from textwrap import shorten
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from core.errors import InputError

C = TypeVar("C")
LARGEST = 2**53  # beyond, neither JSON nor float64 holds every integer

WIDEST_BEAM = 100
"""Hypotheses of a beam at most: time and memory grow with them, sentences hardly change."""


@dataclass(frozen=True)
class LoopConfig:
    """How to train.

    Raises:
        InputError: a number is out of its range.
    """

    steps: int = 1000
    """Training steps, one batch each."""
    batch: int = 128
    """Samples in a batch, over all processes."""
    seed: int = 0
    """Random seed: of initial weights, the order of samples, and noise."""
    optimiser: Literal["adam", "adamw", "sgd"] = "adam"
    """How gradients change the weights; sgd is plain gradient descent."""
    learning_rate: float = 1e-3
    """Learning rate before the schedule."""
    schedule: Literal["cosine", "constant", "step"] = "cosine"
    """How the learning rate changes: to 0 along a cosine, never, or multiplied by --drop every
    --drop-every steps.
    """
    warm_up: int = 0
    """Steps of linear warm-up of the learning rate."""
    drop: float = 0.5
    """Factor of the step schedule."""
    drop_every: int = 1000
    """Steps between two drops of the step schedule."""
    momentum: float = 0.0
    """Momentum of sgd."""
    weight_decay: float = 0.0
    """Weight decay: decoupled with adamw (Loshchilov and Hutter 2019), else an L2 penalty in the
    gradient."""
    clip: float = 0.0
    """Clip the norm of the gradient to this; 0: no clipping."""
    log_every: int = 100
    """Steps between two rows of training metrics."""
    validate_every: int = 1000
    """Steps between two validations; 0: only at the end."""
    save_every: int = 0
    """Steps between two checkpoints to resume from; 0: at every validation."""
    precision: Literal["float32", "bf16"] = "float32"
    """Arithmetic of forward passes in training; bf16 pays on recent GPUs only."""

    def __post_init__(self) -> None:
        require_at_least(1, self, "steps", "batch", "drop_every", "log_every")
        require_at_least(
            0, self, "learning_rate", "warm_up", "drop", "momentum", "weight_decay", "clip"
        )
        require_at_least(0, self, "validate_every", "save_every")


def to_dict(config: Any) -> dict[str, Any]:
    """A (nested) dataclass as plain JSON values; tuples become lists, as JSON has it."""
    return {field.name: _plain(getattr(config, field.name)) for field in fields(config)}


def from_dict(cls: type[C], data: Any, source: str = "the configuration") -> C:
    """The dataclass `cls` from what `to_dict` gave.

    A field with the metadata {"added": True} is younger than some checkpoints: where it is missing,
    it takes its default, which must mean what was done before.

    Raises:
        InputError: a field is unknown, missing or of the wrong type; the line names it and
            `source`.
    """
    return _parse(cls, data, "", source)


def read_config(directory: Path, app: str, cls: type[C]) -> C:
    """The configuration of a run of application `app`, as an instance of `cls`.

    Raises:
        InputError: there is no such run.
    """
    path = directory / "config.json"
    if not path.is_file():
        raise InputError(f"{directory} is not the directory of a run: it has no config.json")
    try:
        data = json.loads(path.read_text())
    except (ValueError, RecursionError):
        raise InputError(f"{path} is not JSON of a configuration") from None
    owner = "something else"
    if isinstance(data, dict) and isinstance(data.get("app"), str):
        owner = data.pop("app")
    if owner != app:
        raise InputError(f"{directory} is a run of {shorten(owner, 80)}, not of {app}")
    return from_dict(cls, data, str(path))


def differences(saved: Any, given: Any) -> list[str]:
    """One entry "field: saved X, given Y" for each field in which two configurations of one class
    differ.

    Fields with the metadata {"place": True} say where files lie, which does not change the result.
    """
    entries = []
    for field in fields(saved):
        old = getattr(saved, field.name)
        new = getattr(given, field.name)
        if is_dataclass(old) and type(old) is type(new):
            entries += differences(old, new)
        elif old != new and not field.metadata.get("place"):
            entries.append(f"{field.name}: saved {old}, given {new}")
    return entries


def require_at_least(least: float, config: Any, *names: str) -> None:
    """Raise InputError, naming the field, unless these fields are `least` or more, or None."""
    _require(lambda value: value >= least, f"at least {least}", config, names)


def require_within(least: float, most: float, config: Any, *names: str) -> None:
    """Raise InputError unless these fields are from `least` to `most`, or None."""
    _require(lambda value: least <= value <= most, f"from {least} to {most}", config, names)


def require_share(config: Any, *names: str) -> None:
    """Raise InputError unless these fields are from 0 to below 1, or None."""
    _require(lambda value: 0 <= value < 1, "from 0 to below 1", config, names)


def require_positive(config: Any, *names: str) -> None:
    """Raise InputError unless these fields are above 0 and finite, or None."""
    _require(lambda value: 0 < value < math.inf, "above 0 and finite", config, names)


def require_sound(value: Any, name: str = "") -> None:
    """Raise InputError if a number within a (nested) dataclass is negative, not finite or absurd.

    Fields with the metadata {"signed": True} may be negative.
    """
    if is_dataclass(value):
        for field in fields(value):
            if not field.metadata.get("signed"):
                require_sound(getattr(value, field.name), field.name)
    elif isinstance(value, tuple | list):
        for item in value:
            require_sound(item, name)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        if not math.isfinite(value):
            raise InputError(f"{name} must be finite, not {value}")
        if value < 0:
            raise InputError(f"{name} must be at least 0, not {value}")
        if isinstance(value, int) and value > LARGEST:
            raise InputError(f"{name} is too large: {_shown(value)}")


def _require(
    fits: Callable[[float], bool], allowed: str, config: Any, names: tuple[str, ...]
) -> None:
    for name in names:
        value = getattr(config, name)
        if value is not None and not fits(value):
            raise InputError(f"{name} must be {allowed}, not {value}")
        if value in (math.inf, -math.inf):
            raise InputError(f"{name} must be finite, not {value}")


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return to_dict(value)
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return value


def _parse(hint: Any, value: Any, name: str, source: str) -> Any:
    """`value` as an instance of the type `hint`, or InputError."""
    origin, options = get_origin(hint), get_args(hint)
    if is_dataclass(hint) and isinstance(value, dict):
        return _parse_dataclass(hint, value, source)
    if origin is tuple and isinstance(value, list):
        items = options
        if options[1:] == (...,):
            items = options[:1] * len(value)
        if len(items) == len(value):
            return tuple(
                _parse(item, v, name, source) for item, v in zip(items, value, strict=True)
            )
    if origin in (Union, types.UnionType):
        for option in options:
            try:
                return _parse(option, value, name, source)
            except InputError:
                continue
    if origin is Literal and value in options:
        return value
    if hint is float and type(value) is float and math.isfinite(value):
        return value
    if hint is float and type(value) is int and abs(value) <= sys.float_info.max:
        return float(value)
    if hint is int and type(value) is int and abs(value) <= LARGEST:
        return value
    if hint in (str, bool, type(None)) and type(value) is hint:
        return value
    raise InputError(f"{source}: {name or 'the whole'} cannot be {_shown(value)}")


def _parse_dataclass(cls: Any, values: dict[Any, Any], source: str) -> Any:
    names = {field.name for field in fields(cls)}
    if unknown := values.keys() - names:
        listed = ", ".join(sorted(map(_shown_name, unknown)))
        raise InputError(f"{source}: unknown field {listed}")
    added = {field.name for field in fields(cls) if field.metadata.get("added")}
    if missing := names - values.keys() - added:
        raise InputError(f"{source}: missing field {', '.join(sorted(missing))}")
    hints = get_type_hints(cls)
    present = names & values.keys()
    parsed = {name: _parse(hints[name], values[name], name, source) for name in present}
    try:
        return cls(**parsed)
    except InputError as error:
        raise InputError(f"{source}: {error}") from None


def _shown_name(value: Any) -> str:
    if isinstance(value, str):
        return shorten(value, 80)
    return _shown(value)


def _shown(value: Any) -> str:
    """Return a value as a few words of one line, however deep, long or large it is."""
    try:
        return shorten(reprlib.repr(value), 80)
    except ValueError:  # Python refuses to print integers of more than 4,300 digits
        return "an integer of thousands of digits"
