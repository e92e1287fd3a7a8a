"""The one exception for what a user can mend, and how its lines count."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class InputError(Exception):
    """Bad input from outside: one line that says what is wrong with which file and how to mend it.

    `core.training.cli` prints the line to standard error and exits with code 2, without a
    traceback.
    """


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, for a message: "1 line", "2 lines"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


@contextmanager
def own_data_of(run: Path) -> Iterator[None]:
    """Say whose the data are that cannot be read: those that a run learned from.

    Raises:
        InputError: what is within raised one.
    """
    try:
        yield
    except InputError as error:
        where = "give --data, or go to where it was trained"
        raise InputError(f"{run} learned from data that are not here: {error}; {where}") from None


@contextmanager
def going_without(what: str) -> Iterator[None]:
    """Go on where what is within raises `InputError`, and say in a line what is lacking."""
    try:
        yield
    except InputError as error:
        print(f"warning: without {what}: {error}", file=sys.stderr)
