"""The commands of `glimpse`, called as a user calls them, at toy size."""

from core.training import cli
from glimpse.__main__ import COMMANDS

TOY = [
    *["--steps", "40", "--batch", "32", "--validate-every", "20", "--log-every", "20", "--quiet"],
    *["--what-units", "16", "--where-units", "16", "--glimpse-units", "32", "--hidden", "32"],
]


def glimpse(*argv):
    return cli.main("glimpse", COMMANDS, [str(word) for word in argv])


def refused(capfd):
    """The one line a refused command printed."""
    error = capfd.readouterr().err.strip()
    assert error, "nothing was said"
    assert "Traceback" not in error
    assert len(error.splitlines()) == 1
    return error
