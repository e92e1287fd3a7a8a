"""What people say of pictures of the classes of ImageNet: the table vision/imagenet_words.txt."""

from functools import cache
from pathlib import Path
from typing import NamedTuple

TABLE = Path(__file__).parents[2] / "vision" / "imagenet_words.txt"


class Row(NamedTuple):
    """A row of the table: a concept."""

    word: str
    proxy: str
    """A more common word that stands in sentences like it, or ""."""
    copyable: bool
    """Whether captions may copy the word."""
    may_begin: bool
    """Whether "a" and the word may begin a caption."""
    classes: tuple[int, ...]


@cache
def table() -> tuple[Row, ...]:
    """Return the rows of vision/imagenet_words.txt."""
    rows = []
    for line in TABLE.read_text().splitlines():
        if line.startswith("#"):
            continue
        first, *ranges = line.split()
        name = first.lstrip("*+")
        marks = first.removesuffix(name)
        word, _, proxy = name.replace("_", " ").partition("=")
        classes: list[int] = []
        for numbers in ranges:
            begin, _, end = numbers.partition("-")
            classes += range(int(begin), int(end or begin) + 1)
        rows.append(Row(word, proxy, "*" in marks, "+" in marks, tuple(classes)))
    return tuple(rows)
