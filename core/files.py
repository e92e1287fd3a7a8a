"""Files that are whole or absent: written beside their target, synchronised, then renamed into place."""

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from core.errors import InputError


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn the error of a full disk or an unwritable folder into one line that names `path`."""
    try:
        yield
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}") from error


def replace(path: Path, content: bytes | io.BytesIO) -> None:
    """Write a file so that `path` holds all of the old content or all of the new at every moment.

    Raises:
        InputError: it could not be written; the old content still stands.
    """
    partial = path.with_name(f"{path.name}.partial")
    view = content.getbuffer() if isinstance(content, io.BytesIO) else memoryview(content)
    with (
        writing(path),
        view,
    ):  # a buffer in use, in an error's traceback, crashes Python 3.12.1 when it is collected
        try:
            with partial.open("wb") as file:
                file.write(view)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        except OSError:
            partial.unlink(missing_ok=True)
            raise
        folder = os.open(path.parent, os.O_RDONLY)
        os.fsync(folder)  # the new name, too, is to survive a power cut
        os.close(folder)
