"""One self-contained run file: written atomically, loaded without running code.

A checkpoint is a dict of tensors and plain values:

    project, format, app, version   who wrote it; added by `save`
    config                          the application's configuration
    step, seconds, metrics          how long it was trained, and the last validation's results
    weights                         the model's state dict
    extras                          what the application adds: class names, preprocessing, ...
    training                        in last.pt only: optimiser state and what later steps depend on

    with checkpoint.opened("runs/app/name", "app", Config) as (config, saved):
        build = lambda: Model(config, len(saved["extras"]["classes"]))
        model = checkpoint.build(build, saved["weights"], "runs/app/name")
"""

import io
import os
import pickle
import reprlib
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.serialization import get_unsafe_globals_in_checkpoint

from core.errors import InputError
from core.files import replace
from core.training.config import from_dict

PROJECT = "recurrent-vision"
FORMAT = 1
HEADER = {"project": str, "format": int, "app": str, "version": str}
CONTENT = {"config": dict, "weights": dict, "extras": dict}
RESULTS = {"step": int, "seconds": (int, float), "metrics": dict, "training": dict}
MARGIN = 2**28  # bytes that initialisation may use, whatever the size of the weights,
FACTOR = 50  # and bytes more for each byte of the weights
LEAST = 4096  # bytes that each operation counts for, so that their number is bounded too
# What code that reads a file which somebody altered may stumble over.
ALTERED = (
    LookupError,
    TypeError,
    ValueError,
    AttributeError,
    OverflowError,
    RecursionError,
    RuntimeError,
)

C = TypeVar("C")
Network = TypeVar("Network", bound=nn.Module)


def save(path: Path, app: str, payload: dict[str, Any]) -> None:
    """Write a checkpoint of application `app`.

    Raises:
        InputError: it could not be written; what stood at `path` before still does.
        TypeError: the payload holds something else than tensors and plain values, which `load`
            would refuse.
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
        InputError: the file is missing, damaged, no checkpoint, carries code, belongs to another
            application, was written by a later version, or one of its parts has another type.
    """
    payload = _read(Path(path))
    if not isinstance(payload, dict):
        raise InputError(f"{path} is not a checkpoint of {PROJECT}")
    if payload.get("project") != PROJECT or not payload.keys() >= HEADER.keys():
        raise InputError(f"{path} is not a checkpoint of {PROJECT}")
    for name, kind in {**HEADER, **CONTENT, **RESULTS}.items():
        if name in payload and not isinstance(payload[name], kind):
            raise InputError(f"{path} was altered: its {name} is of another type")
    if payload["format"] > FORMAT:
        raise InputError(
            f"{path} was written by the later version {payload['version']}: upgrade {_version()}"
        )
    if payload["app"] != app:
        raise InputError(f"{path} is a checkpoint of {payload['app']}, not of {app}")
    if not all(_is_sound(*item) for item in payload.get("weights", {}).items()):
        raise InputError(f"{path} was altered: its weights are not tensors by name")
    return payload


def open_run(path: Path | str, app: str) -> dict[str, Any]:
    """Read the best checkpoint of a run directory, or the last one, or one .pt file.

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


@contextmanager
def opened(path: Path | str, app: str, config: type[C]) -> Iterator[tuple[C, dict[str, Any]]]:
    """Read a checkpoint as `open_run` does; give its configuration and all that it holds.

    Within the block, an error that an altered file causes becomes one line.

    Raises:
        InputError: as `open_run`; a part is missing; or the block raises an error that comes of
            an altered file.
    """
    saved = open_run(path, app)
    require_whole(saved, path)
    with telling_alterations(path):
        yield from_dict(config, saved["config"], str(path)), saved


def require_whole(saved: Mapping[str, Any], path: Path | str) -> None:
    """Raise `InputError` unless a checkpoint holds a configuration, weights and extras."""
    for name in CONTENT:
        if name not in saved:
            raise InputError(f"{path} holds no {name}: it is no whole checkpoint")


@contextmanager
def telling_alterations(path: Path | str) -> Iterator[None]:
    """Turn the errors that an altered file causes into one line."""
    try:
        yield
    except torch.OutOfMemoryError:  # a RuntimeError, but none of the file
        raise
    except ALTERED as error:
        reason = str(error).partition("\n")[0][:200]
        raise InputError(f"{path} was altered: {type(error).__name__}: {reason}") from error


def build(make: Callable[[], Network], weights: Mapping[str, Tensor], path: Path | str) -> Network:
    """Make a network and load its weights.

    A configuration that was altered may ask for more memory than the machine has, so the memory of
    the network being made is bounded by that of its weights.

    Raises:
        InputError: the weights are those of another network, or not finite; the line names `path`.
    """
    size = sum(value.nbytes for value in weights.values())
    try:
        with _Allowance(MARGIN + FACTOR * size):
            network = make()
    except MemoryError:
        raise _of_another_network(path) from None
    restore(network, weights, path)
    return network


class _Allowance(TorchFunctionMode):
    """Raises `MemoryError` once the results of all operations together exceed so many bytes."""

    def __init__(self, left: float) -> None:
        super().__init__()
        self.left = left

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        try:
            result = func(*args, **(kwargs or {}))
        except RuntimeError as error:
            if "can't allocate memory" in str(error):
                raise MemoryError from None
            raise
        self.left -= max(result.nbytes, LEAST) if isinstance(result, Tensor) else LEAST
        if self.left < 0:
            raise MemoryError
        return result


def part(weights: dict[str, Any], name: str) -> dict[str, Any]:
    """Return the state dict of one part of a model from that of the whole, if it is there."""
    return {
        key.removeprefix(f"{name}."): value
        for key, value in weights.items()
        if key.startswith(f"{name}.")
    }


def restore(network: nn.Module, weights: Mapping[str, Tensor], path: Path | str) -> None:
    """Load a state dict into a network.

    Raises:
        InputError: it is that of another network, or not finite; the line names `path`.
    """
    try:
        network.load_state_dict(weights)
    except (RuntimeError, AttributeError):
        raise _of_another_network(path) from None
    if not all(value.isfinite().all() for value in weights.values()):
        raise InputError(f"{path} holds weights that are not finite: train anew")


def _of_another_network(path: Path | str) -> InputError:
    return InputError(f"{path} holds the weights of a network of other parts or sizes")


def _is_sound(name: object, value: object) -> bool:
    """Whether a weight is a dense real tensor no larger than the memory read for it."""
    if not (isinstance(name, str) and isinstance(value, Tensor)):
        return False
    if value.layout is not torch.strided or value.is_quantized or value.is_complex():
        return False
    return value.numel() * value.element_size() <= value.untyped_storage().nbytes()


def _read(path: Path) -> object:
    try:
        # A FIFO would otherwise wait for its writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:
            _require_archive(path, file)
            file.seek(0)
            return torch.load(file, map_location="cpu", weights_only=True)
    except zipfile.BadZipFile:
        raise InputError(f"{path} is truncated, or not a checkpoint") from None
    except pickle.UnpicklingError:
        raise InputError(
            f"{path} carries pickled code or foreign objects; it was not run"
        ) from None
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from None
    except (*ALTERED, EOFError, AssertionError, MemoryError, zlib.error, struct.error):
        raise InputError(f"{path} is not a checkpoint") from None


def _require_archive(path: Path, file: BinaryIO) -> None:
    """Raise an error unless a file is a whole archive of torch, no larger unpacked than packed."""
    status = os.fstat(file.fileno())
    if not stat.S_ISREG(status.st_mode):
        raise InputError(f"{path} is not a file")
    if file.read(1) == b"\x80":
        raise InputError(f"{path} is a bare pickle, which may carry code; it was not run")
    with zipfile.ZipFile(file) as archive:
        entries = archive.infolist()
        if not any(entry.filename.endswith("/data.pkl") for entry in entries):
            raise zipfile.BadZipFile
        is_compressed = any(entry.compress_type != zipfile.ZIP_STORED for entry in entries)
        if is_compressed or sum(entry.file_size for entry in entries) > status.st_size:
            raise InputError(f"{path} is compressed, as no checkpoint is; it was not unpacked")
        if archive.testzip() is not None:  # torch.load does not compare checksums
            raise InputError(f"{path} is damaged: a checksum does not match")


def _version() -> str:
    try:
        return version(PROJECT)
    except PackageNotFoundError:  # run from a source tree that was never installed
        return "unknown"


def changes(saved: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Tell what two checkpoints hold differently, in short: a vocabulary may be long."""
    lines = []
    for name in {**now, **saved}:
        before, after = saved.get(name), now.get(name)
        if name == "digest":
            if before not in (None, after):  # checkpoints of earlier versions have none
                lines.append("examples or labels")
        elif before != after:
            old, new = reprlib.repr(before), reprlib.repr(after)
            lines.append(name if old == new else f"{name}: saved {old}, now {new}")
    return "; ".join(lines)
