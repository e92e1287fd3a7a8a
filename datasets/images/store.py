"""Decoded pictures of files, within a budget of memory.

Pictures that fit the budget are decoded once and held. Others are decoded once into a file in the
user's cache, which is mapped into memory: a glimpse reads the pages that it looks at and no more.
Where the disk has no room for that file, pictures are decoded whenever they are needed, and
`prefetch` decodes the next batch meanwhile. What is returned does not depend on any of this.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import mmap
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from core.cache import user_cache
from core.errors import InputError
from core.files import replacing
from datasets.images.files import open_picture, to_tensor
from datasets.images.origins import Size

Picture = UInt8[Tensor, "channels height width"]
SHARE_OF_DISK = 0.5  # of the free space that a cache file may take
GIGABYTE = 1e9


@dataclass(frozen=True)
class PictureFile:
    """A picture in a file, its size there, and that of the image which decoding makes of it."""

    path: Path
    native: Size
    height: int
    width: int
    channels: int
    decode: Callable[[Path], Picture]

    @property
    def count(self) -> int:
        """Bytes of the decoded picture."""
        return self.channels * self.height * self.width

    def read(self) -> Picture:
        """Decode the picture.

        Raises `InputError` for a broken file, or one that changed since its size was read.
        """
        pixels = self.decode(self.path)
        if pixels.shape != (self.channels, self.height, self.width):
            raise InputError(f"{self.path}: the picture changed while it was in use")
        return pixels


def decoder(
    grey: bool, fit: Callable[[Image.Image], Image.Image] | None = None
) -> Callable[[Path], Picture]:
    """Return what decodes a file to grey or RGB, after `fit`, which may change the picture."""
    mode = "L" if grey else "RGB"

    def decode(path: Path) -> Picture:
        picture = open_picture(path)
        if fit is not None:
            picture = fit(picture)
        return to_tensor(picture.convert(mode))

    return decode


class Store(Protocol):
    """Gives decoded pictures by number."""

    memory: float  # bytes that may be held

    def get(self, numbers: Sequence[int]) -> list[Picture]:
        """Return these pictures."""
        ...

    def prefetch(self, numbers: Sequence[int]) -> None:
        """Begin to decode pictures that are needed next."""
        ...


class InMemory:
    """Pictures that are held decoded."""

    def __init__(self, pictures: Sequence[Picture], memory: float) -> None:
        self.pictures = pictures
        self.memory = memory

    def get(self, numbers: Sequence[int]) -> list[Picture]:
        """Return these pictures."""
        return [self.pictures[n] for n in numbers]

    def prefetch(self, numbers: Sequence[int]) -> None:
        """Do nothing: all are there."""


class Mapped:
    """Decoded pictures, one after another in a file that is mapped into memory.

    The pages that were read stay in the system's cache. They count as memory of the process until
    it gives them back, which it does before `memory` bytes are reached.
    """

    def __init__(self, path: Path, files: Sequence[PictureFile], memory: float) -> None:
        self.files = files
        self.memory = memory
        self.offsets = np.cumsum([0, *(file.count for file in files)])
        with path.open("rb") as opened:
            self.map = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_COPY)
        self.bytes = torch.from_numpy(np.frombuffer(self.map, dtype=np.uint8))
        self.touched = 0  # bytes that may have been read since pages were given back

    def get(self, numbers: Sequence[int]) -> list[Picture]:
        """Return these pictures as views of the map."""
        self.touched += sum(self.files[n].count for n in numbers)
        if self.touched > self.memory / 4 and hasattr(mmap, "MADV_DONTNEED"):
            self.map.madvise(mmap.MADV_DONTNEED)
            self.touched = 0
        return [self._view(n) for n in numbers]

    def prefetch(self, numbers: Sequence[int]) -> None:
        """Do nothing: a glimpse reads little."""

    def _view(self, number: int) -> Picture:
        file = self.files[number]
        start = int(self.offsets[number])
        return self.bytes[start : start + file.count].view(file.channels, file.height, file.width)


class Decoding:
    """Pictures that are decoded whenever they are needed, by `workers` threads."""

    def __init__(self, files: Sequence[PictureFile], memory: float, workers: int) -> None:
        self.files = files
        self.memory = memory
        self.pool = ThreadPoolExecutor(workers)
        self.ahead: dict[int, Future[Picture]] = {}

    def get(self, numbers: Sequence[int]) -> list[Picture]:
        """Return these pictures; forget others that were prefetched."""
        futures = {n: self.ahead.get(n) or self.pool.submit(self.files[n].read) for n in numbers}
        self.ahead = {}
        return [futures[n].result() for n in numbers]

    def prefetch(self, numbers: Sequence[int]) -> None:
        """Begin to decode as many of these as fit half of the memory."""
        room = self.memory / 2
        for n in numbers:
            room -= self.files[n].count
            if room < 0:
                break
            self.ahead[n] = self.pool.submit(self.files[n].read)


def decode_all(
    files: Sequence[PictureFile], workers: int
) -> Iterator[tuple[PictureFile, Picture | None]]:
    """Yield each file with its pixels, None where it is broken; a few are decoded ahead."""

    def attempt(file: PictureFile) -> Picture | None:
        try:
            return file.read()
        except InputError:
            return None

    with ThreadPoolExecutor(workers) as pool:
        for start in range(0, len(files), 16):
            part = files[start : start + 16]
            yield from zip(part, pool.map(attempt, part), strict=True)


def open_store(
    files: Sequence[PictureFile], key: str, memory: float, workers: int
) -> tuple[Store, list[int]]:
    """Return the store of these pictures and the numbers of those that can be read.

    Args:
        files: the pictures.
        key: what the decoded pixels depend on beside the files, for the name of the cache.
        memory: bytes that may be held.
        workers: threads that decode.

    Raises:
        InputError: a single picture is larger than the memory.
    """
    if not files:
        return InMemory([], memory), []
    total = sum(file.count for file in files)
    largest = max(files, key=lambda file: file.count)
    if 2 * largest.count > memory:
        raise InputError(
            f"{largest.path}: {largest.height} x {largest.width} pixels are more than half of "
            f"--memory {memory / GIGABYTE:g}"
        )
    if total <= memory / 2:
        pixels = [picture for _, picture in decode_all(files, workers)]
        readable = [n for n, picture in enumerate(pixels) if picture is not None]
        held = [torch.empty(0) if picture is None else picture for picture in pixels]
        return InMemory(held, memory), readable
    folder = user_cache("pictures")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{_fingerprint(files, key)}.bin"
    with _locked(path.with_suffix(".lock")):
        if not _is_complete(path, total):
            if total > SHARE_OF_DISK * shutil.disk_usage(folder).free:
                return Decoding(files, memory, workers), list(range(len(files)))
            _write_cache(path, files, total, workers)
    broken = set(json.loads(path.with_suffix(".json").read_text())["broken"])
    return Mapped(path, files, memory), [n for n in range(len(files)) if n not in broken]


def _write_cache(path: Path, files: Sequence[PictureFile], total: int, workers: int) -> None:
    """Decode all pictures into a file of `total` bytes; the JSON file beside it completes it."""
    print(
        f"decoding {len(files)} pictures once, {total / GIGABYTE:.1f} GB, into {path}",
        file=sys.stderr,
    )
    broken: list[int] = []
    with replacing(path) as temporary, temporary.open("wb") as output:
        for number, (file, pixels) in enumerate(decode_all(files, workers)):
            if pixels is None:
                broken.append(number)
                output.write(bytes(file.count))
            else:
                output.write(pixels.numpy().tobytes())
    with replacing(path.with_suffix(".json")) as temporary:
        temporary.write_text(json.dumps({"bytes": total, "broken": broken}))


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Wait for the lock file `path` and hold it: one process writes the cache, others wait."""
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _is_complete(path: Path, total: int) -> bool:
    try:
        index = json.loads(path.with_suffix(".json").read_text())
        return index["bytes"] == total == path.stat().st_size
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _fingerprint(files: Iterable[PictureFile], key: str) -> str:
    """Return a name for the decoded pixels of these files as they are now."""
    digest = hashlib.sha256(key.encode())
    for file in files:
        status = os.stat(file.path)
        identity = f"{file.path.resolve()}|{status.st_size}|{status.st_mtime_ns}|{file.count}"
        digest.update(os.fsencode(identity))
    return digest.hexdigest()[:32]
