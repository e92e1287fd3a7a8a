"""One small file of a trained model, to keep or to ship, without what training needs to go on.

Weights are stored in float16 (`halve`), or in a byte each (`to_bytes`, `from_bytes`).
"""

from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from core import files
from core.errors import InputError
from core.training import checkpoint
from core.training.arguments import Pack
from core.training.config import to_dict

KEPT = "step", "seconds", "metrics", "extras"  # beside weights and configuration
SCALE = "scale of "  # begins the name of the scales of a matrix in bytes

Weights = dict[str, Tensor]


def halve(weights: Weights) -> Weights:
    """Return weights in float16."""
    halved = dict(weights)
    for name, value in weights.items():
        if value.is_floating_point():
            halved[name] = value.half()
    return halved


def to_bytes(weights: Weights) -> Weights:
    """Return matrices as integers of 8 bits, each row with a scale of its own; the rest in float16.

    A row w becomes round(w / s), where s = max |w| / 127 is its scale.
    """
    packed = {}
    for name, value in halve(weights).items():
        packed[name] = value
        if value.dim() == 2 and value.is_floating_point():
            scale = weights[name].float().abs().amax(1, keepdim=True).clamp(min=1e-12) / 127
            packed[name] = (weights[name].float() / scale).round().to(torch.int8)
            packed[SCALE + name] = scale
    return packed


def from_bytes(packed: Weights) -> Weights:
    """Return the matrices that `to_bytes` packed, in float32; other weights stay as they are."""
    weights = {}
    for name, value in packed.items():
        if SCALE + name in packed:
            weights[name] = value * packed[SCALE + name]
        elif not name.startswith(SCALE):
            weights[name] = value
    return weights


def pack(
    app: str,
    config: type,
    parts: Sequence[str],
    arguments: Pack,
    compress: Callable[[Weights], Weights] = halve,
) -> None:
    """Read the best checkpoint of a run and write the file: the command `APP pack`.

    Args:
        app: the application.
        config: its configuration.
        parts: those of the model that are used once it is trained.
        arguments: which run, and the file to write.
        compress: `halve` or `to_bytes`, for each part.

    Raises:
        InputError: the run cannot be read, the file not written, or it is no .pt file, is the one
            that is read or lies in a run's directory.
    """
    _check(arguments.file)
    files.require_apart(arguments.file, [arguments.run])
    with checkpoint.opened(arguments.run, app, config) as (trained, saved):
        config_values = to_dict(without_places(trained))
        kept = {name: saved[name] for name in KEPT}
    weights = {}
    for part in parts:
        # A model that was packed into bytes is unpacked first.
        compressed = compress(from_bytes(checkpoint.part(saved["weights"], part)))
        weights |= {f"{part}.{name}": value for name, value in compressed.items()}
    checkpoint.save(
        arguments.file,
        app,
        {**kept, "config": config_values, "weights": weights},
    )
    print(f"{arguments.file}: {arguments.file.stat().st_size / 1e6:.3g} MB")


def _check(file: Path) -> None:
    """Refuse a file that may be something else than a packed model."""
    if file.suffix != ".pt":
        raise InputError(f"{file}: a packed model is a .pt file; call it {file.stem or 'model'}.pt")
    if (file.parent / "config.json").exists():
        raise InputError(
            f"{file}: {file.parent} holds a run, whose own files are called so: write it elsewhere"
        )


def without_places(config: Any) -> Any:
    """Return a configuration without the places of files on the machine that trained it."""
    places = {field.name: field.default for field in fields(config) if field.metadata.get("place")}
    data = getattr(config, "data", None)
    if isinstance(data, str):
        places["data"] = Path(data).name
    elif data:
        places["data"] = tuple(Path(source).name for source in data)
    return replace(config, **places)
