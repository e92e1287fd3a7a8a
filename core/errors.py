"""The one exception for what a user can mend, and how its lines count."""


class InputError(Exception):
    """Bad input from outside: one line that says what is wrong with which file and how to mend it.

    `core.training.cli` prints the line to standard error and exits with code 2, without a
    traceback.
    """


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, for a message: "1 line", "2 lines"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
