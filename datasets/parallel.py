"""Pairs of sentences from two files of text, of which line n of one translates line n of the other.

The files are named both, or by what their names begin with and two suffixes: `train` stands for train.en and
train.cs, or train.en.gz and train.cs.gz.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from core.errors import InputError
from datasets.splits import name_hash
from datasets.text_files import read_lines


class Pair(NamedTuple):
    """A sentence and its translation."""

    source: str
    target: str


def load(names: Sequence[str], source: str, target: str) -> list[Pair]:
    """Return the pairs of two files.

    Args:
        names: the two files, or what the names of both begin with.
        source: suffix of the file of sentences, e.g. "en"; unused where both files are named.
        target: suffix of the file of translations.

    Raises:
        InputError: not one or two names, a file cannot be read, is empty or not UTF-8, has an empty line, or
            has not as many lines as the other.
    """
    if len(names) not in (1, 2):
        raise InputError(
            f"give two parallel files, or what their names begin with, not {len(names)} names"
        )
    files = (
        [Path(name) for name in names]
        if len(names) == 2
        else [_file(names[0], end) for end in (source, target)]
    )
    lines = [read_lines(file) for file in files]
    counts = [len(each) for each in lines]
    if counts[0] != counts[1]:
        short, long = sorted((0, 1), key=lambda n: counts[n])
        raise InputError(
            f"{files[long]}: line {counts[short] + 1} has no translation: {files[short]} has {counts[short]} lines "
            f"and this file {counts[long]}; line n of one must translate line n of the other"
        )
    return [Pair(one.text, other.text) for one, other in zip(*lines, strict=True)]


def hold_out(pairs: Sequence[Pair], count: int) -> tuple[list[Pair], list[Pair]]:
    """Split into (held out, rest): `count` pairs by the hash of their sentences, so that equal ones stay together.

    Both parts keep the order they had.
    """
    keys = [name_hash(pair.source) for pair in pairs]
    held = set(sorted(keys)[:count])
    parts: tuple[list[Pair], list[Pair]] = ([], [])
    for key, pair in zip(keys, pairs, strict=True):
        parts[key not in held].append(pair)
    return parts


def _file(prefix: str, suffix: str) -> Path:
    """The file of one language: prefix.suffix, packed or not."""
    names = [Path(f"{prefix}.{suffix}{packed}") for packed in ("", ".gz")]
    for name in names:
        if name.exists():
            return name
    raise InputError(
        f"there is neither {names[0]} nor {names[1]}: name both files, or their suffixes too"
    )
