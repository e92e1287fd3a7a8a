"""Features of a frozen encoder, computed once and kept on disk as float16.

Each picture has a file of its own, `<cache>/<encoder>/<first two digits>/<digest>.npy`, named by the hash of the
picture's content, in a folder named by the hash of the encoder's weights and preprocessing. So nothing ever goes out
of date, a job that was killed goes on where it stopped, and several can share the folder.
"""

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

T = TypeVar("T")
HEADER = 128  # bytes of a .npy file before the numbers
LINE_EVERY = 10.0  # seconds between the lines that tell how far it is


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
    """The features of pictures by number, read when they are asked for."""

    def __init__(self, items: Sequence[int], entries: Sequence[Path | np.ndarray]):
        self.items = tuple(items)
        """Which of the pictures they are of: those that are not broken."""
        self._entries = entries

    def __len__(self) -> int:
        return len(self.items)

    def __call__(self, rows: Sequence[int]) -> Float16[Tensor, "batch cells channels"]:
        """Return the features of pictures `items[row]`.

        Raises:
            InputError: files of the cache were deleted or damaged since they were checked.
        """
        return torch.from_numpy(np.stack([_read(self._entries[row]) for row in rows]))


class _Cache:
    """A folder of features; where it cannot be written they stay in memory."""

    def __init__(self, folder: Path, encoder: Encoder):
        self.folder, self.size = folder, HEADER + 2 * encoder.cells * encoder.channels
        self.memory: dict[Path, np.ndarray] = {}
        self.writable = True

    def path(self, digest: str) -> Path:
        """Where the features of the picture with that digest belong."""
        return self.folder / digest[:2] / f"{digest}.npy"

    def __contains__(self, path: Path) -> bool:
        """Whether the features are in memory, or all of them in a file."""
        try:
            return path in self.memory or path.stat().st_size == self.size
        except OSError:
            return False

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
    encoder: Encoder,
    items: Sequence[Item],
    cache: Path | None = None,
    *,
    mirrored: bool = False,
    batch: int | None = None,
    quiet: bool = False,
) -> Features:
    """Return the features of pictures; only those are computed, on the encoder's device, that the cache lacks.

    Pictures that cannot be read are named on standard error and left out.

    Args:
        encoder: the encoder, with the weights that it is to keep.
        items: the pictures.
        cache: the folder; by default that in the user's cache.
        mirrored: show the pictures to the encoder with left and right exchanged.
        batch: how many pictures are encoded at once; by default 1 on a CPU, where that is fastest, and 32 elsewhere.
        quiet: plain lines instead of a progress bar.
    """
    device = next(encoder.parameters()).device
    batch = batch or (1 if device.type == "cpu" else 32)
    kind = f"{encoder.name}-{encoder.fingerprint[:16]}{'-mirrored' * mirrored}"
    store = _Cache((cache or default_cache()) / kind, encoder)
    broken: dict[int, InputError] = {}
    paths = {
        n: store.path(digest)
        for n, digest in readable(items, range(len(items)), lambda item: item.digest(), broken)
    }
    missing = [n for n, path in paths.items() if path not in store]
    progress = display(len(items) - len(missing), len(items), (), quiet=quiet)
    told = time.monotonic()
    for part in batches.in_order(len(missing), batch):
        still = [
            n for n in missing[part] if paths[n] not in store
        ]  # another process may have been here
        pixels = dict(
            readable(items, still, lambda item: encoder.preprocessing(item.open()), broken)
        )
        if pixels:
            grids = _encode(
                encoder, [x.flip(-1) if mirrored else x for x in pixels.values()], batch
            )
            for n, grid in zip(pixels, grids, strict=True):
                store.write(paths[n], grid)
        done = len(items) - len(missing) + part.stop
        progress.tick(done)
        if time.monotonic() - told > LINE_EVERY:
            told = time.monotonic()
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
    """Yield what `read` makes of the items with these numbers; the errors of those that are broken go to `broken`."""
    for number in numbers:
        try:
            yield number, read(items[number])
        except InputError as error:
            broken[number] = error


def _encode(
    encoder: Encoder, pixels: Sequence[UInt8[Tensor, "3 size size"]], batch: int
) -> np.ndarray:
    """The features of at most `batch` pictures, with empty ones added to the last few.

    Libraries choose their algorithms, and so the order of their sums, by the size of the batch. As all have one
    size, what comes out of a picture does not depend on those that are computed with it.
    """
    empty = [torch.zeros_like(pixels[0])] * (batch - len(pixels))
    shown = torch.stack([*pixels, *empty]).to(next(encoder.parameters()).device)
    with torch.no_grad():
        return encoder(shown)[: len(pixels)].half().cpu().numpy()


def _write(path: Path, grid: np.ndarray) -> None:
    """Write a file that is whole from the moment it has its name.

    It is not forced to the disk, which would take longer than to compute it: what a power cut spoils has not its
    full size. The name that it has before is nobody else's.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{uuid.uuid4().hex}")
    try:
        with partial.open("wb") as file:
            np.save(file, grid)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _read(entry: Path | np.ndarray) -> np.ndarray:
    if isinstance(entry, np.ndarray):
        return entry
    try:
        return np.load(entry)
    except (OSError, ValueError, EOFError):
        raise InputError(
            f"{entry}: these features are gone or damaged; start again to compute them anew"
        ) from None


def report_broken(items: Sequence[Item], broken: Mapping[int, InputError]) -> None:
    """Name the pictures that could not be read, each with the reason, on standard error."""
    for number in sorted(broken):
        reason = str(broken[number])
        name = items[number].name
        print(f"warning: {reason if name in reason else f'{name}: {reason}'}", file=sys.stderr)
    if broken:
        print(
            f"warning: {len(broken)} of {len(items)} pictures cannot be read and are left out",
            file=sys.stderr,
        )
