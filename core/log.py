"""The run directory and the one way to log.

`runs/<app>/<name>/` holds config.json, metrics.jsonl (one JSON object a line), TensorBoard events, last.pt and
best.pt. Nothing in metrics.jsonl depends on the clock, so a resumed run leaves the same file as an unbroken one.
"""

import itertools
import json
import math
import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core import checkpoint, config
from core.errors import InputError


@dataclass
class Run:
    """One run of an application and the directory it is kept in."""

    directory: Path
    """runs/<app>/<name>; made by `open`, not before, so that a command that fails early leaves nothing behind."""
    app: str
    """The application, e.g. "glimpse"."""
    config: Any
    """Its configuration, a dataclass."""
    resume: str = ""
    """The command that continues this run, as far as "--resume"; the directory is added to it."""
    numbered: bool = False
    """Where the directory exists: add -2, -3, ... to its name."""
    quiet: bool = False
    """Plain lines instead of a progress bar."""
    writes: bool = True
    """False in the processes of a distributed run that only compute."""

    @property
    def resume_command(self) -> str:
        """The exact command that continues this run."""
        return f"{self.resume} {self.directory}"

    def last(self) -> dict[str, Any] | None:
        """The checkpoint to continue from, if there is one."""
        path = self.directory / "last.pt"
        return checkpoint.load(path, self.app) if not self.numbered and path.exists() else None

    @contextmanager
    def open(self, step: int, steps: int) -> Iterator[None]:
        """Log from `step` (steps already done) on; what the files hold of later steps is cut.

        Raises:
            InputError: the directory cannot be written.
        """
        if not self.writes:
            yield
            return
        from torch.utils.tensorboard.writer import SummaryWriter  # a quarter of a second: only where it is used

        with checkpoint.writing(self.directory):
            self._claim()
            checkpoint.replace(
                self.directory / "config.json",
                (json.dumps(config.to_dict(self.config), indent=2) + "\n").encode(),
            )
            _cut(self.directory / "metrics.jsonl", step)
            self._rows = (self.directory / "metrics.jsonl").open("a")
            self._events = SummaryWriter(str(self.directory), purge_step=step + 1)
            self._display = _display(self.quiet, step, steps)
        try:
            yield
        finally:
            self._display.close()
            with suppress(OSError):  # a full disk was reported where it was met
                self._rows.close()
                self._events.close()

    def tick(self, step: int) -> None:
        """Say that `step` steps are done; called after each, so it costs next to nothing."""
        if self.writes:
            self._display.tick(step)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Write one row of numbers, e.g. {"train/loss": 0.5}, to metrics.jsonl, TensorBoard and the display."""
        if not self.writes:
            return
        row = {name: value if math.isfinite(value) else None for name, value in values.items()}
        with checkpoint.writing(self.directory / "metrics.jsonl"):
            self._rows.write(json.dumps({"step": step, **row}) + "\n")
            self._rows.flush()
            for name, value in values.items():
                self._events.add_scalar(name, value, step)
        self._display.show(step, values)

    def save(self, name: str, payload: dict[str, Any]) -> None:
        """Write checkpoint `name` (last.pt or best.pt), after everything that was logged before it."""
        if not self.writes:
            return
        with checkpoint.writing(self.directory / "metrics.jsonl"):
            os.fsync(self._rows.fileno())
            self._events.flush()
        checkpoint.save(
            self.directory / name, self.app, {"config": config.to_dict(self.config), **payload}
        )

    def _claim(self) -> None:
        """Make the directory; with `numbered`, the first free of name, name-2, name-3, ..."""
        if not self.numbered:
            self.directory.mkdir(parents=True, exist_ok=True)
            return
        name = self.directory.name
        for number in itertools.count(2):
            with suppress(FileExistsError):
                self.directory.mkdir(parents=True)
                self.numbered = False
                return
            self.directory = self.directory.with_name(f"{name}-{number}")


def read_config(directory: Path, cls: type[Any]) -> Any:
    """The configuration that a run directory belongs to, as an instance of `cls`.

    Raises:
        InputError: there is none, or it is not one of `cls`.
    """
    path = directory / "config.json"
    try:
        data = json.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"{directory} is not the directory of a run: it has no config.json") from None
    except ValueError:
        raise InputError(f"{path} is not JSON") from None
    return config.from_dict(cls, data, str(path))


def _cut(path: Path, step: int) -> None:
    """Cut a metrics file before the first row that is later than `step`, or that a kill left unfinished."""
    if not path.exists():
        return
    keep = 0
    for line in path.read_bytes().splitlines(keepends=True):
        try:
            if not line.endswith(b"\n") or json.loads(line)["step"] > step:
                break
        except (ValueError, TypeError, KeyError):
            break
        keep += len(line)
    os.truncate(path, keep)


class _Lines:
    """A plain line for each row that is logged."""

    def __init__(self, step: int, steps: int) -> None:
        self.first, self.steps, self.start = step, steps, time.monotonic()

    def tick(self, step: int) -> None:
        pass

    def show(self, step: int, values: Mapping[str, float]) -> None:
        rate = (step - self.first) / (time.monotonic() - self.start)
        left = (self.steps - step) / rate if rate else 0.0
        print(f"{step}/{self.steps}  {_words(values)}  {rate:.1f} steps/s  {left:.0f} s left", flush=True)

    def close(self) -> None:
        pass


class _Bar:
    """A progress bar with rate, time left and the latest numbers."""

    def __init__(self, step: int, steps: int) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = "{task.fields[rate]}", "{task.fields[train]}", "{task.fields[validation]}"
        self.progress = Progress(
            MofNCompleteColumn(), BarColumn(), TimeRemainingColumn(), *map(TextColumn, columns), auto_refresh=False
        )
        self.task = self.progress.add_task("", total=steps, completed=step, rate="", train="", validation="")
        self.progress.start()
        self.shown = time.monotonic()

    def tick(self, step: int) -> None:
        now = time.monotonic()
        if now - self.shown > 0.5:  # drawn from here, seldom: a thread that refreshes would disturb short steps
            self.shown = now
            speed = self.progress.tasks[0].speed
            self.progress.update(self.task, completed=step, rate=f"{speed:.0f} steps/s" if speed else "")
            self.progress.refresh()

    def show(self, step: int, values: Mapping[str, float]) -> None:
        which = "validation" if any(name.startswith("validation/") for name in values) else "train"
        fields: dict[str, Any] = {which: _words(values)}
        self.progress.update(self.task, completed=step, **fields)

    def close(self) -> None:
        self.progress.stop()


def _display(quiet: bool, step: int, steps: int) -> _Lines | _Bar:
    return _Lines(step, steps) if quiet or not sys.stdout.isatty() else _Bar(step, steps)


def _words(values: Mapping[str, float]) -> str:
    return "  ".join(f"{name} {value:.4g}" for name, value in values.items())
