"""The one exception for what a user can mend."""


class InputError(Exception):
    """Bad input from outside: one line that says what is wrong with which file and how to mend it.

    `core.training.cli` prints the line to standard error and exits with code 2, without a
    traceback.
    """
