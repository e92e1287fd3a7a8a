"""One self-contained run file: written atomically, loaded without running code.

A checkpoint is a dict of tensors and plain values:

    project, format, app, version   who wrote it; added by `save`
    config                          the application's configuration
    step, seconds, metrics          how long it was trained, and the results of the last validation
    weights                         the model's state dict
    extras                          what the application adds: class names, preprocessing, ...
    training                        in last.pt only: optimiser state and all else that later steps depend on
"""

import io
import pickle
import struct
import zipfile
import zlib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.serialization import get_unsafe_globals_in_checkpoint

from core.errors import InputError
from core.files import replace

PROJECT = "recurrent-vision"
FORMAT = 1


def save(path: Path, app: str, payload: dict[str, Any]) -> None:
    """Write a checkpoint of application `app`.

    Raises:
        InputError: it could not be written; what stood at `path` before still does.
        TypeError: the payload holds something else than tensors and plain values, which `load` would refuse.
    """
    header = {"project": PROJECT, "format": FORMAT, "app": app, "version": _version()}
    buffer = io.BytesIO()
    torch.save(header | payload, buffer)
    buffer.seek(0)
    if unsafe := get_unsafe_globals_in_checkpoint(buffer):
        raise TypeError(
            f"a checkpoint holds tensors and plain values only, not {', '.join(unsafe)}"
        )
    replace(path, buffer)


def load(path: Path | str, app: str) -> dict[str, Any]:
    """Read a checkpoint of application `app`, its tensors to the CPU.

    Raises:
        InputError: the file is missing, damaged, no checkpoint, carries code, belongs to another application,
            or was written by a later version.
    """
    payload = _read(Path(path))
    header = {"project", "format", "app", "version"}
    if (
        not isinstance(payload, dict)
        or not header <= payload.keys()
        or payload["project"] != PROJECT
    ):
        raise InputError(f"{path} is not a checkpoint of {PROJECT}")
    if payload["format"] > FORMAT:
        raise InputError(
            f"{path} was written by the later version {payload['version']}: upgrade {_version()}"
        )
    if payload["app"] != app:
        raise InputError(f"{path} is a checkpoint of {payload['app']}, not of {app}")
    return payload


def open_run(path: Path | str, app: str) -> dict[str, Any]:
    """Read the best checkpoint of a run directory, or the last one if none is best yet, or one .pt file.

    Raises:
        InputError: as `load`, or there is no checkpoint in the directory.
    """
    path = Path(path)
    if not path.is_dir():
        return load(path, app)
    for name in ("best.pt", "last.pt"):
        if (path / name).exists():
            return load(path / name, app)
    raise InputError(
        f"{path} holds neither best.pt nor last.pt: give the directory of a run, or a .pt file"
    )


def part(weights: dict[str, Any], name: str) -> dict[str, Any]:
    """Return the state dict of one part of a model from that of the whole; empty if it is not in it."""
    return {
        key.removeprefix(f"{name}."): value
        for key, value in weights.items()
        if key.startswith(f"{name}.")
    }


def restore(network: nn.Module, weights: dict[str, Any], source: Path | str) -> None:
    """Load a state dict into a network.

    Raises:
        InputError: the weights, of the file `source`, are another network's, or not all finite.
    """
    try:
        network.load_state_dict(weights)
    except RuntimeError:
        raise InputError(
            f"{source} holds the weights of a network of other parts or sizes"
        ) from None
    for name, value in weights.items():
        if not torch.isfinite(value).all():
            raise InputError(f"{source}: the weights {name} are not finite: train anew")


def _read(path: Path) -> object:
    try:
        with path.open("rb") as file:
            if file.read(1) == b"\x80":
                raise InputError(f"{path} is a bare pickle, which may carry code; it was not run")
            with zipfile.ZipFile(file) as archive:
                if not any(name.endswith("/data.pkl") for name in archive.namelist()):
                    raise zipfile.BadZipFile
                if archive.testzip() is not None:  # torch.load does not compare checksums
                    raise InputError(f"{path} is damaged: a checksum does not match")
        return torch.load(path, map_location="cpu", weights_only=True)
    except zipfile.BadZipFile:
        raise InputError(f"{path} is truncated, or not a checkpoint") from None
    except pickle.UnpicklingError:
        raise InputError(
            f"{path} carries pickled code or foreign objects; it was not run"
        ) from None
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from None
    except (RuntimeError, EOFError, LookupError, TypeError, ValueError, zlib.error, struct.error):
        raise InputError(f"{path} is not a checkpoint") from None


def _version() -> str:
    try:
        return version(PROJECT)
    except PackageNotFoundError:  # run from a source tree that was never installed
        return "unknown"
