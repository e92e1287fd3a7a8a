"""The run directory, and the one way to log.

`runs/<app>/<name>/` holds config.json, metrics.jsonl (one JSON object a line), TensorBoard events,
last.pt and best.pt. Nothing in metrics.jsonl depends on the clock: a run that was resumed leaves
the same as one that was not.
"""

import json
import os
import shlex
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

from core import files
from core.errors import InputError
from core.training import checkpoint
from core.training.config import differences, from_dict, to_dict
from core.training.events import Events
from core.training.progress import display

C = TypeVar("C")


@dataclass
class Run:
    """One run of an application, and the directory it is kept in."""

    directory: Path
    """runs/<app>/<name>; made by `open` and not before, so that a command that fails early leaves
    nothing.
    """
    app: str
    """The application."""
    config: Any
    """Its configuration, a dataclass."""
    resume: str = ""
    """The command that goes on with this run, but for the directory."""
    numbered: bool = False
    """Whether a directory that exists makes `open` add -2, -3, ... to the name; else the run is
    continued.
    """
    quiet: bool = False
    """Plain lines instead of a progress bar."""
    writes: bool = True
    """False in those processes of a distributed run that only compute."""
    _lock: ExitStack | None = field(default=None, init=False, repr=False, compare=False)

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
                f"{path} holds weights, but not how to go on from them: it is no run's last.pt"
            )
        trained = from_dict(type(self.config), payload.get("config"), str(path))
        if unlike := differences(trained, self.config):
            raise InputError(f"{path} has another configuration than the run; {'; '.join(unlike)}")
        checkpoint.require_whole(payload, path)
        return payload

    def reserve(self) -> None:
        """Lock a directory that exists until `open` ends, or the process does.

        Raises:
            InputError: another process trains in it.
        """
        if self.writes:
            self._lock = self._locked()

    def _locked(self) -> ExitStack:
        """Take the lock of the directory; it is released when the stack is closed."""
        stack = ExitStack()
        busy = f"another process trains in {self.directory}"
        stack.enter_context(files.locked(self.directory / "lock", busy))
        return stack

    @contextmanager
    def open(self, step: int, steps: int, shown: tuple[str, ...] = ()) -> Iterator[None]:
        """Log from now on.

        Args:
            step: how many steps are done; what the files hold of later ones is cut.
            steps: how many there will be.
            shown: the numbers that a progress bar shows.

        Raises:
            InputError: the directory cannot be written, or another process trains in it.
        """
        if not self.writes:
            yield
            return
        with files.writing(self.directory):
            self._make_directory()
        lock = self._lock or self._locked()
        self._lock = None
        with lock, self._logging(step, steps, shown):
            yield

    @contextmanager
    def _logging(self, step: int, steps: int, shown: tuple[str, ...]) -> Iterator[None]:
        """Open the files of the directory, which only this process writes."""
        files.remove_leftovers(self.directory)
        with files.writing(self.directory):
            settings = files.to_json({"app": self.app, **to_dict(self.config)}, indent=2)
            files.replace(self.directory / "config.json", f"{settings}\n".encode())
            _cut(self.directory / "metrics.jsonl", step)
            self._rows = (self.directory / "metrics.jsonl").open("a")
            self._events = Events(self.directory, step + 1)
        self._display = display(step, steps, shown, quiet=self.quiet)
        try:
            yield
        finally:
            self._display.close()
            with suppress(OSError):  # a full disk was reported by the write that failed
                self._rows.close()
            with suppress(OSError):
                self._events.close()

    def tick(self, step: int) -> None:
        """Note that `step` steps are done; costs next to nothing."""
        if self.writes:
            self._display.tick(step)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Write a row such as {"train/loss": 0.5} to metrics.jsonl, TensorBoard and the display."""
        if not self.writes:
            return
        self._require_directory()
        with files.writing(self.directory / "metrics.jsonl"):
            self._rows.write(files.to_json({"step": step, **values}) + "\n")
            self._rows.flush()
            self._events.add(step, values)
        self._display.show(step, values)

    def save(self, name: str, payload: dict[str, Any]) -> None:
        """Write checkpoint last.pt or best.pt, when all rows before it are safe."""
        if not self.writes:
            return
        self._require_directory()
        with files.writing(self.directory / "metrics.jsonl"):
            os.fsync(self._rows.fileno())
        checkpoint.save(
            self.directory / name, self.app, {"config": to_dict(self.config), **payload}
        )

    def _require_directory(self) -> None:
        """Raise `InputError` if the directory was removed since it was opened."""
        if os.fstat(self._rows.fileno()).st_nlink == 0 or not self.directory.is_dir():
            raise InputError(f"{self.directory} was removed while the run wrote to it")

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


def _cut(path: Path, step: int) -> None:
    """Cut metrics.jsonl before the first row that is later than `step`, or that a kill left
    unfinished.
    """
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
