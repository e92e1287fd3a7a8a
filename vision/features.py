"""Features of a frozen encoder, computed once and kept on disk as float16.

Each picture has a file of its own, `<cache>/<encoder>/<first two digits>/<digest>.npy`. It is named
by the hash of the picture's content, and its folder by the hash of the encoder's weights and
preprocessing. So nothing goes out of date, a job that was killed resumes where it stopped, and
several jobs can share the folder. Each file ends with a checksum of what comes before it: a
damaged file is found, whatever its size, and computed anew.
"""

import hashlib
import io
import sys
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
import torch
from jaxtyping import Float16, UInt8
from PIL import Image
from torch import Tensor

from core.cache import user_cache
from core.errors import InputError
from core.training import batches
from core.training.progress import display
from vision.encoder import Encoder
from vision.tuning import Trunk

T = TypeVar("T")
CHECKSUM = 16  # bytes of the checksum at the end of a file
LINE_EVERY = 10.0  # seconds between two lines of progress


class Item(Protocol):
    """A picture among others."""

    @property
    def name(self) -> str:
        """What its user calls it."""
        ...

    def open(self) -> Image.Image:
        """Return the picture; raises `InputError` if that cannot be done."""
        ...

    def digest(self) -> str:
        """Return the hash of its content; raises `InputError` if that cannot be read."""
        ...


class Features:
    """The features of pictures by number, read from the cache batch by batch.

    Attributes:
        items: the numbers of the pictures that could be read.
    """

    def __init__(self, items: Sequence[int], entries: Sequence[Path | np.ndarray]):
        self.items = tuple(items)
        self._entries = entries

    def __len__(self) -> int:
        return len(self.items)

    def __call__(self, rows: Sequence[int]) -> Float16[Tensor, "batch cells channels"]:
        """Return the features of pictures `items[row]`.

        Raises:
            InputError: a file of the cache was deleted or damaged since it was checked.
        """
        grids = [_grid(self._entries[row]) for row in rows]
        return torch.from_numpy(np.stack(grids))


class _Cache:
    """A folder of features; if it cannot be written, they stay in memory."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.memory: dict[Path, np.ndarray] = {}
        self.writable = True

    def path(self, digest: str) -> Path:
        """Return the file for the features of the picture with that digest."""
        return self.folder / digest[:2] / f"{digest}.npy"

    def __contains__(self, path: Path) -> bool:
        """Whether the features are in memory, or whole and undamaged in a file."""
        return path in self.memory or _read(path) is not None

    def write(self, path: Path, grid: np.ndarray) -> None:
        """Keep the features of a picture."""
        try:
            if self.writable:
                _write(path, grid)
        except OSError as error:
            self.writable = False
            reason = error.strerror or error
            print(
                f"warning: cannot write {path.parent} ({reason}): features stay in memory",
                file=sys.stderr,
            )
        if not self.writable:
            self.memory[path] = grid


def default_cache() -> Path:
    """Return the folder for features in the user's cache."""
    return user_cache("features")


def extract(
    encoder: Encoder | Trunk,
    items: Sequence[Item],
    cache: Path | None = None,
    *,
    mirrored: bool = False,
    batch: int | None = None,
    quiet: bool = False,
) -> Features:
    """Return the features of pictures; those that the cache lacks are computed.

    Pictures that cannot be read are named on standard error and left out.

    Args:
        encoder: the encoder, with the weights that it is to keep.
        items: the pictures.
        cache: the folder; by default that in the user's cache.
        mirrored: encode the pictures with left and right exchanged.
        batch: pictures encoded at once; by default 1 on a CPU, where that is fastest, else 32.
        quiet: plain lines instead of a progress bar.
    """
    device = encoder.mean.device
    batch = batch or (1 if device.type == "cpu" else 32)
    kind = f"{encoder.name}-{encoder.fingerprint[:16]}{'-mirrored' * mirrored}"
    store = _Cache((cache or default_cache()) / kind)
    broken: dict[int, InputError] = {}
    digests = readable(items, range(len(items)), lambda item: item.digest(), broken)
    paths = {n: store.path(digest) for n, digest in digests}
    missing = [n for n, path in paths.items() if path not in store]
    progress = display(len(items) - len(missing), len(items), (), quiet=quiet)
    last_line = time.monotonic()
    for part in batches.in_order(len(missing), batch):
        # Another process, or a picture with the same content, may have filled the gap by now.
        still = [n for n in missing[part] if paths[n] not in store]
        opened = readable(items, still, lambda item: encoder.preprocessing(item.open()), broken)
        pixels = dict(opened)
        if mirrored:
            pixels = {n: x.flip(-1) for n, x in pixels.items()}
        if pixels:
            grids = _encode(encoder, list(pixels.values()), batch)
            for n, grid in zip(pixels, grids, strict=True):
                store.write(paths[n], grid)
        done = len(items) - len(missing) + part.stop
        progress.tick(done)
        if time.monotonic() - last_line > LINE_EVERY:
            last_line = time.monotonic()
            progress.show(done, {})
    progress.close()
    report_broken(items, broken)
    kept = [n for n in paths if n not in broken]
    return Features(kept, [store.memory.get(paths[n], paths[n]) for n in kept])


def readable(
    items: Sequence[Item],
    numbers: Iterable[int],
    read: Callable[[Item], T],
    broken: dict[int, InputError],
) -> Iterator[tuple[int, T]]:
    """Yield `read(item)` for the items of these numbers; errors of the others go to `broken`."""
    for number in numbers:
        try:
            yield number, read(items[number])
        except InputError as error:
            broken[number] = error


def _encode(
    encoder: Encoder | Trunk, pixels: Sequence[UInt8[Tensor, "3 size size"]], batch: int
) -> np.ndarray:
    """Return the features of at most `batch` pictures; the batch is filled up with empty ones.

    Libraries choose their algorithms, and so the order of their sums, by the size of the batch.
    With one size for all, the features of a picture do not depend on those computed beside it.
    """
    empty = [torch.zeros_like(pixels[0])] * (batch - len(pixels))
    shown = torch.stack([*pixels, *empty]).to(encoder.mean.device)
    with torch.no_grad():
        return encoder(shown)[: len(pixels)].half().cpu().numpy()


def _write(path: Path, grid: np.ndarray) -> None:
    """Write a file that is whole from the moment it has its name.

    Files are not fsynced, which would take longer than computing them: one that a power cut damaged
    is found by its checksum. Temporary names are unique.
    """
    buffer = io.BytesIO()
    np.save(buffer, grid)
    content = buffer.getvalue()
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{uuid.uuid4().hex}")
    try:
        partial.write_bytes(content + _checksum(content))
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _read(path: Path) -> np.ndarray | None:
    """Return the features in a file, or None if it is missing or damaged."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    body, checksum = content[:-CHECKSUM], content[-CHECKSUM:]
    if _checksum(body) != checksum:
        return None
    return np.load(io.BytesIO(body))


def _checksum(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=CHECKSUM).digest()


def _grid(entry: Path | np.ndarray) -> np.ndarray:
    """Return features that were found before: from memory, or from their file."""
    if isinstance(entry, np.ndarray):
        return entry
    grid = _read(entry)
    if grid is None:
        hint = "start again to compute them anew"
        raise InputError(f"{entry}: these features are gone or damaged; {hint}")
    return grid


def report_broken(items: Sequence[Item], broken: Mapping[int, InputError]) -> None:
    """Name the pictures that could not be read, each with the reason, on standard error."""
    for number in sorted(broken):
        reason = str(broken[number])
        name = items[number].name
        if name not in reason:
            reason = f"{name}: {reason}"
        print(f"warning: {reason}", file=sys.stderr)
    if broken:
        print(
            f"warning: {len(broken)} of {len(items)} pictures cannot be read and are left out",
            file=sys.stderr,
        )
