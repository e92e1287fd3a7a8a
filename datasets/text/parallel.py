"""Pairs of sentences from two text files: line n of one translates line n of the other.

Both files are named, or what their names begin with, and two suffixes: `train` stands for train.en
and train.cs, or train.en.gz and train.cs.gz.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations
from pathlib import Path
from typing import NamedTuple

from core.errors import InputError, counted
from datasets.splits import name_hash
from datasets.text_files import read_text, warn


class Pair(NamedTuple):
    """A sentence and its translation."""

    source: str
    target: str


def load(names: Sequence[str], source: str, target: str) -> list[Pair]:
    """Return the pairs of two files; pairs of which a line is empty are left out and counted.

    Args:
        names: the two files, or what the names of both begin with.
        source: suffix of the file of sentences, e.g. "en"; unused where both files are named.
        target: suffix of the file of translations.

    Raises:
        InputError: not one or two names; a file cannot be read, is empty or not UTF-8; or one has
            more lines than the other.
    """
    if len(names) not in (1, 2):
        hint = "give two parallel files, or what their names begin with"
        raise InputError(f"{hint}, not {len(names)} names")
    if len(names) == 2:
        files = [Path(name) for name in names]
    else:
        files = [_file(names[0], suffix) for suffix in (source, target)]
    sides = [_lines(file) for file in files]
    _require_as_many(files, sides)
    rows = list(zip(*sides, strict=False))  # what is longer has empty lines at its end
    pairs = [Pair(*row) for row in rows if all(row)]
    dropped = [f"line {number}" for number, row in enumerate(rows, 1) if not all(row)]
    warn(files[0], f"pairs of which a line is empty here or in {files[1]}", dropped, len(rows))
    if not pairs:
        raise InputError(f"{files[0]} and {files[1]}: in every pair a line is empty")
    return pairs


def hold_out(pairs: Sequence[Pair], count: int) -> tuple[list[Pair], list[Pair]]:
    """Split into (held out, rest), both in order.

    The `count` pairs with the smallest hashes of their sources are held out, and with each all
    pairs of the same source.
    """
    keys = [name_hash(pair.source) for pair in pairs]
    smallest = set(sorted(keys)[:count])
    held = [pair for pair, key in zip(pairs, keys, strict=True) if key in smallest]
    rest = [pair for pair, key in zip(pairs, keys, strict=True) if key not in smallest]
    return held, rest


def _lines(file: Path) -> list[str]:
    """Return the lines of a file without white space at their ends."""
    return [line.strip() for line in read_text(file).removesuffix("\n").split("\n")]


def _require_as_many(files: Sequence[Path], sides: Sequence[Sequence[str]]) -> None:
    """Raise `InputError` if a file has text on a line that the other does not have."""
    for (file, lines), (other, others) in permutations(zip(files, sides, strict=True)):
        if any(lines[len(others) :]):
            number = len(others) + 1
            raise InputError(
                f"{file}: line {number} has no translation: {other} has "
                f"{counted(len(others), 'line')} and this file {len(lines)}; "
                "line n of one must translate line n of the other"
            )


def _file(prefix: str, suffix: str) -> Path:
    """The file of one language: prefix.suffix, packed or not."""
    names = [Path(f"{prefix}.{suffix}{packed}") for packed in ("", ".gz")]
    for name in names:
        if name.exists():
            return name
    raise InputError(
        f"there is neither {names[0]} nor {names[1]}: name both files, or their suffixes too"
    )
