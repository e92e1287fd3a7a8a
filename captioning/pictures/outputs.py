"""What `captioning caption` writes beside a user's files, replacing none, and its progress."""

import sys
import time
from collections.abc import Iterable
from pathlib import Path

from captioning.pictures.page import GENERATOR
from core.errors import InputError
from core.files import replace

HEAD = 4096  # bytes of a page in which its generator stands
PROGRESS_EVERY = 10.0  # seconds between two lines of progress


class Texts:
    """NAME.txt beside each picture, where tools that train on pictures look for captions."""

    def __init__(self, *, overwrite: bool):
        self.overwrite = overwrite
        self.written: dict[Path, Path] = {}  # the picture of each text

    def missing(self, files: Iterable[Path]) -> list[Path]:
        """Return the pictures that have no text yet, or all to overwrite; tell what is skipped."""
        files = list(files)
        if self.overwrite:
            return files
        missing = [file for file in files if not file.with_suffix(".txt").exists()]
        skipped = len(files) - len(missing)
        if skipped:
            hint = "--overwrite writes them anew"
            line = f"skipped {skipped} of {len(files)} pictures that have a .txt file; {hint}"
            print(f"captioning caption: {line}", file=sys.stderr)
        return missing

    def write(self, file: Path, text: str) -> None:
        """Write the text of a picture.

        Raises:
            InputError: it could not be written, or another picture of this job has the same text.
        """
        target = file.with_suffix(".txt")
        other = self.written.setdefault(target, file)
        if other != file:
            raise InputError(f"{file}: {target} is that of {other}: give one another name")
        replace(target, f"{text}\n".encode("utf-8", "replace"))


def require_own_page(path: Path) -> None:
    """Raise `InputError` if a file exists that `captioning caption --html` did not write."""
    if not path.is_file():
        return
    with path.open("rb") as file:
        head = file.read(HEAD)
    if GENERATOR.encode() not in head:
        raise InputError(f"{path} was not written by this command; --overwrite replaces it")


class Progress:
    """Tells on a terminal, in a line now and then, how far a long job is."""

    def __init__(self, total: int):
        self.total = total
        self.start = self.told = time.monotonic()

    def tell(self, done: int) -> None:
        """Print a line if the last one is long ago."""
        now = time.monotonic()
        if now - self.told < PROGRESS_EVERY or not sys.stderr.isatty():
            return
        self.told = now
        rate = done / (now - self.start)
        left = (self.total - done) / rate
        line = f"{done} of {self.total} pictures, {rate:.1f} a second, {left / 60:.1f} min left"
        print(line, file=sys.stderr, flush=True)
