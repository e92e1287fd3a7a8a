"""The run directory, and the one way to log.

`runs/<app>/<name>/` holds config.json, metrics.jsonl (one JSON object a line), TensorBoard events, last.pt
and best.pt. Nothing in metrics.jsonl depends on the clock: a resumed run leaves the same file as an unbroken
one.
"""

import json
import math
import os
import shlex
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

from core import checkpoint
from core.config import differences, from_dict, to_dict
from core.errors import InputError

C = TypeVar("C")


@dataclass
class Run:
    """One run of an application, and the directory it is kept in."""

    directory: Path
    """runs/<app>/<name>; made by `open` and not before, so that a command that fails early leaves nothing."""
    app: str
    """The application."""
    config: Any
    """Its configuration, a dataclass."""
    resume: str = ""
    """The command that goes on with this run, but for the directory."""
    numbered: bool = False
    """Whether a directory that exists makes `open` add -2, -3, ... to the name; else the run is continued."""
    quiet: bool = False
    """Plain lines instead of a progress bar."""
    writes: bool = True
    """False in those processes of a distributed run that only compute."""

    @property
    def resume_command(self) -> str:
        """The exact command that goes on with this run."""
        return f"{self.resume} {shlex.quote(str(self.directory))}"

    def last(self) -> dict[str, Any] | None:
        """The checkpoint to go on from, if there is one.

        Raises:
            InputError: it is damaged, or its configuration is not that of the run.
        """
        path = self.directory / "last.pt"
        if self.numbered or not path.exists():
            return None
        payload = checkpoint.load(path, self.app)
        if "training" not in payload:
            raise InputError(
                f"{path} is no last.pt of a run: it holds weights, but not how to go on from them"
            )
        trained = from_dict(type(self.config), payload["config"], str(path))
        if unlike := differences(trained, self.config):
            raise InputError(f"{path} has another configuration than the run; {'; '.join(unlike)}")
        return payload

    @contextmanager
    def open(self, step: int, steps: int) -> Iterator[None]:
        """Log from now on; `step` of `steps` steps are done, and what the files hold of later ones is cut.

        Raises:
            InputError: the directory cannot be written.
        """
        if not self.writes:
            yield
            return
        from torch.utils.tensorboard.writer import SummaryWriter  # slow to import

        with checkpoint.writing(self.directory):
            self._make_directory()
            settings = json.dumps({"app": self.app, **to_dict(self.config)}, indent=2)
            checkpoint.replace(self.directory / "config.json", f"{settings}\n".encode())
            _cut(self.directory / "metrics.jsonl", step)
            self._rows = (self.directory / "metrics.jsonl").open("a")
            self._events = SummaryWriter(str(self.directory), purge_step=step + 1)
        plain = self.quiet or not sys.stdout.isatty()
        self._display = _Lines(step, steps) if plain else _Bar(step, steps)
        try:
            yield
        finally:
            self._display.close()
            with suppress(OSError):  # a full disk was told where it was met
                self._rows.close()
            with suppress(OSError):
                self._events.close()

    def tick(self, step: int) -> None:
        """Tell that `step` steps are done; costs next to nothing."""
        if self.writes:
            self._display.tick(step)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Write a row such as {"train/loss": 0.5} to metrics.jsonl, TensorBoard and the display."""
        if not self.writes:
            return
        row = {name: value if math.isfinite(value) else None for name, value in values.items()}
        with checkpoint.writing(self.directory / "metrics.jsonl"):
            self._rows.write(json.dumps({"step": step, **row}) + "\n")
            self._rows.flush()
        with checkpoint.writing(self.directory):
            for name, value in values.items():
                self._events.add_scalar(name, value, step)
        self._display.show(step, values)

    def save(self, name: str, payload: dict[str, Any]) -> None:
        """Write checkpoint last.pt or best.pt, when all rows before it are safe."""
        if not self.writes:
            return
        with checkpoint.writing(self.directory):
            os.fsync(self._rows.fileno())
            self._events.flush()
        checkpoint.save(self.directory / name, self.app, {"config": to_dict(self.config), **payload})

    def _make_directory(self) -> None:
        """Make the directory; where names are numbered, the first that is free."""
        if not self.numbered:
            self.directory.mkdir(parents=True, exist_ok=True)
            return
        name, number = self.directory.name, count(2)
        while self.numbered:
            try:
                self.directory.mkdir(parents=True)
                self.numbered = False
            except FileExistsError:
                self.directory = self.directory.with_name(f"{name}-{next(number)}")


def read_config(directory: Path, app: str, cls: type[C]) -> C:
    """The configuration of a run of application `app`, as an instance of `cls`.

    Raises:
        InputError: there is no such run.
    """
    path = directory / "config.json"
    try:
        data = json.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"{directory} is not the directory of a run: it has no config.json") from None
    except ValueError:
        raise InputError(f"{path} is not JSON") from None
    owner = data.pop("app", None) if isinstance(data, dict) else None
    if owner != app:
        raise InputError(f"{directory} is a run of {owner or 'something else'}, not of {app}")
    return from_dict(cls, data, str(path))


def _cut(path: Path, step: int) -> None:
    """Cut metrics.jsonl before the first row that is later than `step`, or that a kill left unfinished."""
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
    """The display for files and pipes: a line for each row."""

    def __init__(self, step: int, steps: int) -> None:
        self.first, self.steps, self.start = step, steps, time.monotonic()

    def tick(self, step: int) -> None:
        pass

    def show(self, step: int, values: Mapping[str, float]) -> None:
        rate = (step - self.first) / (time.monotonic() - self.start)
        left = timedelta(seconds=round((self.steps - step) / rate))
        print(f"step {step}/{self.steps}  {_words(values)}  {rate:.1f} steps/s  {left} left", flush=True)

    def close(self) -> None:
        pass


class _Bar:
    """The display for terminals: a bar with the rate, the time left and the latest numbers."""

    def __init__(self, step: int, steps: int) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

        texts = "{task.fields[rate]}", "{task.fields[train]}", "{task.fields[validation]}"
        # Drawn from `tick`, seldom: a thread that draws would get in the way of short steps.
        self.progress = Progress(
            MofNCompleteColumn(), BarColumn(20), TimeRemainingColumn(), *texts, auto_refresh=False
        )
        self.task = self.progress.add_task("", total=steps, completed=step, rate="", train="", validation="")
        self.first, self.start, self.drawn = step, time.monotonic(), 0.0
        self.progress.start()

    def tick(self, step: int) -> None:
        now = time.monotonic()
        if now - self.drawn > 0.5:
            self.drawn = now
            rate = f"{(step - self.first) / (now - self.start):.1f} steps/s"
            self.progress.update(self.task, completed=step, rate=rate, refresh=True)

    def show(self, step: int, values: Mapping[str, float]) -> None:
        group = "validation" if any(name.startswith("validation/") for name in values) else "train"
        fields: dict[str, Any] = {group: _words(values)}
        self.progress.update(self.task, completed=step, refresh=True, **fields)

    def close(self) -> None:
        self.progress.stop()


def _words(values: Mapping[str, float]) -> str:
    return "  ".join(f"{name} {value:.4g}" for name, value in values.items())
