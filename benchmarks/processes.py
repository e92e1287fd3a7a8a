"""Commands that run in processes of their own, several at a time, with their time and memory."""

import os
import signal
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.valid_inputs import Input
from core.training import cli


class Job(NamedTuple):
    """An input, and the folder in which it runs."""

    number: int
    line: Input
    place: Path


@dataclass(frozen=True)
class Answer:
    """What became of one input."""

    code: int
    """The exit code; negative: the signal that ended the process."""
    seconds: float
    gigabytes: float
    errors: str
    """What it wrote to standard error."""


class Process:
    """A job that runs in a process of its own."""

    def __init__(self, job: Job, commands: Any) -> None:
        self.job = job
        job.place.mkdir(parents=True, exist_ok=True)
        (job.place / "stdin").write_bytes(job.line.stdin)
        self.start = time.monotonic()
        self.number = os.fork()
        if self.number == 0:
            _become(job.line, commands, job.place)

    def poll(self, limit: float) -> Answer | None:
        """Return the answer if the process has ended; end it after `limit` seconds."""
        done, status, usage = os.wait4(self.number, os.WNOHANG)
        seconds = time.monotonic() - self.start
        if not done:
            if seconds > limit:
                os.kill(self.number, signal.SIGKILL)
            return None
        errors = (self.job.place / "stderr").read_text(errors="replace")
        code = os.waitstatus_to_exitcode(status)
        return Answer(code, seconds, usage.ru_maxrss / 1e6, errors)


def run(
    jobs: Iterable[Job], commands: Any, limit: float, workers: int
) -> Iterator[tuple[Job, Answer]]:
    """Run the jobs, `workers` at a time; yield each with its answer, as soon as it has ended."""
    waiting = iter(jobs)
    running = [Process(job, commands) for job in islice(waiting, workers)]
    while running:
        for process in list(running):
            answer = process.poll(limit)
            if answer is None:
                continue
            running.remove(process)
            running += [Process(job, commands) for job in islice(waiting, 1)]
            yield process.job, answer
        time.sleep(0.005)


def _become(line: Input, commands: Any, place: Path) -> None:
    """Be the command: never returns."""
    code = 1
    try:
        os.chdir(place)
        streams = (("stdin", os.O_RDONLY), ("stdout", os.O_WRONLY), ("stderr", os.O_WRONLY))
        for number, (name, mode) in enumerate(streams):
            os.dup2(os.open(name, mode | os.O_CREAT), number)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        sys.argv = line.prog.split()[:1]
        app, *verbs = line.prog.split()
        code = cli.main(app, commands[app], [*verbs, *line.words])
    except SystemExit as stop:
        code = 1  # SystemExit("a message")
        if stop.code is None:
            code = 0
        elif isinstance(stop.code, int):
            code = stop.code
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(code)
