"""Files that are whole or absent, and locks that the system releases.

A file is written under a temporary name beside its target, synchronised, then renamed into place.
Temporary names are unique, hidden and made with O_EXCL: no link of that name is followed.
"""

import fcntl
import io
import json
import math
import os
import secrets
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from core.errors import InputError

LONGEST_STEM = 40  # characters of the target's name in a temporary one: names end at 255 bytes


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn the error of a full disk or an unwritable folder into one line that names `path`."""
    try:
        yield
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}") from error


@contextmanager
def replacing(path: Path, mode: int = 0o666) -> Iterator[Path]:
    """Give a new empty file beside `path` to write; it takes the name `path` when the block ends.

    Its permissions are `mode` less the umask. If the block raises, the temporary file is removed,
    and what stood at `path` still does.

    Raises:
        InputError: `path` cannot be written, or is a folder, a device or a FIFO.
    """
    require_writable(path)
    temporary = _temporary(path)
    with writing(path):
        os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode))
    try:
        yield temporary
        with writing(path):
            _synchronise(temporary)
            temporary.replace(path)
            _synchronise(path.parent)  # the new name, too, must survive a power cut
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def replace(path: Path, content: bytes | io.BytesIO, mode: int = 0o666) -> None:
    """Write a file so that `path` holds all of the old content or all of the new at every moment.

    Raises:
        InputError: it could not be written; the old content still stands.
    """
    view = content.getbuffer() if isinstance(content, io.BytesIO) else memoryview(content)
    # The view is released here: left to the collector, it crashes Python 3.12.1.
    with view, replacing(path, mode) as temporary, writing(path):
        temporary.write_bytes(view)


def require_regular(path: Path) -> None:
    """Raise `InputError` if `path` is a device or a FIFO, which may be read for ever."""
    with suppress(OSError, ValueError):
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            raise InputError(f"{path} is a device or a FIFO, not a file")


def require_writable(path: Path) -> None:
    """Raise `InputError` if `path` is empty, or is a folder, a device or a FIFO."""
    if path == Path():
        raise InputError("the name of the file to write is empty")
    with writing(path):
        mode = path.stat().st_mode if path.exists() else stat.S_IFREG
    if stat.S_ISDIR(mode):
        raise InputError(f"cannot write {path}: it is a folder")
    if not stat.S_ISREG(mode):
        raise InputError(f"cannot write {path}: it is a device or a FIFO, not a file")


def require_folder(path: Path, flag: str = "") -> None:
    """Raise `InputError` if a file stands where the folder `path`, or a parent of it, is to be.

    Args:
        path: the folder to write to, which need not exist.
        flag: the flag that takes it, for the message.
    """
    for place in (path, *path.parents):
        with writing(path):
            is_file = place.exists() and not place.is_dir()
        if is_file:
            wanted = f"{flag} takes a folder" if flag else f"cannot make the folder {path}"
            raise InputError(f"{wanted}: {place} is a file")


def make_folder(path: Path, flag: str = "") -> None:
    """Make a folder and its parents; one that exists is left as it is.

    Raises:
        InputError: a file stands in the way, or the folder cannot be made.
    """
    require_folder(path, flag)
    with writing(path):
        path.mkdir(parents=True, exist_ok=True)


def prepare_target(path: Path) -> None:
    """Make the folder of a file that is written at the end of a long command.

    Raises:
        InputError: the file could not be written there.
    """
    require_writable(path)
    make_folder(path.parent)
    if not os.access(path.parent, os.W_OK):
        raise InputError(f"cannot write {path}: its folder is not writable")


def require_free(path: Path, overwrite: bool = False) -> None:
    """Raise `InputError` if there is a file at `path` and its owner did not say --overwrite."""
    require_writable(path)
    if not overwrite and os.path.lexists(path):
        raise InputError(f"{path} exists: remove it, choose another name, or add --overwrite")


def require_apart(output: Path, inputs: Iterable[Path]) -> None:
    """Raise `InputError` if the file to be written is one of those that are read."""
    for path in inputs:
        if _is_same(output, path):
            raise InputError(f"{output} is an input of this command: write to another file")


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files that killed processes left; nobody else may write there now."""
    for path in folder.glob(".*.partial*"):
        with suppress(OSError):
            path.unlink()


@contextmanager
def locked(path: Path, busy: str) -> Iterator[None]:
    """Hold the lock file `path` in this block; a process that is killed loses it.

    Where the file system has no locks, as some on networks, there is none.

    Raises:
        InputError: another process holds the lock; the line is `busy`, then which process it is.
    """
    with writing(path):
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
    try:
        with suppress(OSError):
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = os.read(file, 200).decode(errors="replace").strip() or "unknown"
                raise InputError(f"{busy} (process {holder})") from None
            os.ftruncate(file, 0)
            os.write(file, f"{os.getpid()} on {os.uname().nodename}\n".encode())
        yield
    finally:
        os.close(file)


def to_json(value: Any, indent: int | None = None) -> str:
    """Return plain values as JSON; NaN and infinity, which JSON does not know, become null."""
    return json.dumps(_finite(value), indent=indent, allow_nan=False)


def _finite(value: Any) -> Any:
    """Return plain values with None in the place of numbers that are not finite."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value


def _temporary(path: Path) -> Path:
    """Return a hidden name beside `path` that nobody else uses, with the same suffix."""
    name = f".{path.stem[:LONGEST_STEM]}.{secrets.token_hex(4)}.partial{path.suffix}"
    return path.with_name(name)


def _synchronise(path: Path) -> None:
    """Force a file or a folder to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _is_same(one: Path, other: Path) -> bool:
    """Whether two paths are one file; also if it does not exist yet."""
    try:
        return os.path.samefile(one, other)
    except (OSError, ValueError):
        return os.path.abspath(one) == os.path.abspath(other)
