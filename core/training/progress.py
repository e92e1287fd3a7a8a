"""What a long job shows: a bar on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Protocol

MOST_SECONDS = 1e12  # that are shown as left: a timedelta holds little more


class Display(Protocol):
    """Shows how far a job is."""

    def tick(self, step: int) -> None:
        """Note that `step` steps are done; called after each, so it costs next to nothing."""

    def show(self, step: int, values: Mapping[str, float]) -> None:
        """Show named numbers."""

    def close(self) -> None:
        """Leave the terminal as it was."""


def display(step: int, steps: int, shown: tuple[str, ...], *, quiet: bool = False) -> Display:
    """The display for a job of which `step` of `steps` steps are done.

    Args:
        step: steps done.
        steps: steps in all.
        shown: the names of the numbers that a bar shows; lines show all.
        quiet: lines even on a terminal.
    """
    if quiet or not sys.stdout.isatty():
        return Lines(step, steps)
    return Bar(step, steps, shown)


class Lines:
    """A plain line whenever there are numbers."""

    def __init__(self, step: int, steps: int) -> None:
        self.first, self.steps, self.start = step, steps, time.monotonic()

    def tick(self, step: int) -> None:
        """Show nothing."""

    def show(self, step: int, values: Mapping[str, float]) -> None:
        """Print a line."""
        rate = (step - self.first) / (time.monotonic() - self.start)
        seconds = min((self.steps - step) / rate, MOST_SECONDS)
        left = timedelta(seconds=round(seconds))
        print(
            f"step {step}/{self.steps}  {words(values)}  {rate:.1f} steps/s  {left} left",
            flush=True,
        )

    def close(self) -> None:
        """Nothing is left to do."""


class Bar:
    """A bar with the time left, the rate and the latest numbers.

    Args:
        step: what is done.
        steps: what there is to do.
        shown: the numbers to show, by name.
        unit: what is counted.
        transient: whether the bar is to vanish at the end.
    """

    def __init__(
        self,
        step: int,
        steps: int,
        shown: tuple[str, ...],
        *,
        unit: str = "steps",
        transient: bool = False,
    ) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

        self.shown, self.values = shown, dict[str, float]()
        self.unit = unit
        self.first, self.start, self.drawn = step, time.monotonic(), 0.0
        columns = MofNCompleteColumn(), BarColumn(20), TimeRemainingColumn(), "{task.description}"
        # Without a drawing thread, which would delay short steps.
        self.progress = Progress(*columns, auto_refresh=False, transient=transient)
        self.task = self.progress.add_task("", total=steps, completed=step)
        self.progress.start()

    def tick(self, step: int) -> None:
        """Draw, if that was half a second ago."""
        if time.monotonic() - self.drawn > 0.5:
            self._draw(step)

    def show(self, step: int, values: Mapping[str, float]) -> None:
        """Draw with these numbers."""
        self.values |= {name: values[name] for name in self.shown if name in values}
        self._draw(step)

    def close(self) -> None:
        """Leave the bar as it is."""
        self.progress.stop()

    def _draw(self, step: int) -> None:
        self.drawn = time.monotonic()
        rate = (step - self.first) / (self.drawn - self.start)
        text = f"{rate:.1f} {self.unit}/s  {words(self.values)}"
        self.progress.update(self.task, completed=step, description=text, refresh=True)


def words(values: Mapping[str, Any]) -> str:
    """Names and numbers as text."""
    return "  ".join(f"{name} {value:.4g}" for name, value in values.items())
