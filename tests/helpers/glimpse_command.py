"""The commands of `glimpse`, called as a user calls them, at toy size."""

from contextlib import contextmanager

import pytest

from core.training import cli
from glimpse.__main__ import COMMANDS
from glimpse.data import TrainingBatches

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


class StoppedError(Exception):
    """A run was killed."""


@contextmanager
def stopped_at(last):
    """Kill the training in this block when it asks for the batch of step `last`."""
    original = TrainingBatches.__call__

    def stopping(self, step, rows):
        if step == last:
            raise StoppedError
        return original(self, step, rows)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TrainingBatches, "__call__", stopping)
        with pytest.raises(StoppedError):
            yield
