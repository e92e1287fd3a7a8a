"""How the command line answers odd input: wrong flags, odd paths, damaged files, altered runs.

    uv run python -m benchmarks.robustness                        # 2,000 inputs
    uv run python -m benchmarks.robustness --inputs 300 --check   # exit code 1 under 99 %

Each input runs in a process of its own, forked from one that has imported all it needs. It is
answered as promised if the exit code is 0, 1, 2 or 130, standard error has no traceback and at most
one line an item, the valid files stay as they were, and it takes no more than the time and the
memory allowed. Seeded: the same inputs each time.
"""

import importlib
import os
import random
import re
import shutil
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import torch

from benchmarks.entry import script
from benchmarks.odd_inputs import spoil
from benchmarks.processes import Answer, Job, run
from benchmarks.valid_inputs import (
    REWRITTEN,
    Input,
    copy_runs,
    training_lines,
    valid_lines,
    write_files,
)
from core.errors import InputError
from core.training import cli

APPS = ("glimpse", "captioning", "video", "sequences")
GOOD_CODES = (0, 1, 2, 130)
LATE = (
    "captioning.pictures.overlay",
    "glimpse.pictures.drawing",
    "rich.progress",
    "sequences.addition.drawing",
    "sequences.translate.matrix",
    "sklearn.cluster",
    "sklearn.datasets",
    "sklearn.feature_extraction",
    "sklearn.linear_model",
    "sklearn.metrics",
    "sklearn.pipeline",
    "tensorboard.compat.proto.event_pb2",
    "tensorboard.summary.writer.record_writer",
    "torch._dynamo",
    "torchvision.models",
)
"""What commands import when they need it: imported once, not in each process."""
CHANGING = ("features", REWRITTEN)
"""Folders of valid files that commands may write into: a cache, and copies of runs."""
MARGINAL = re.compile(r"^(note|warning):")


@dataclass(frozen=True)
class Options:
    """How the command line answers odd input."""

    inputs: int = 2000
    """Odd inputs."""
    seed: int = 0
    """Another seed, other inputs."""
    workers: int = 2
    """Inputs that run at the same time."""
    seconds: float = 60.0
    """Time allowed for one input."""
    gigabytes: float = 2.5
    """Memory allowed for one input."""
    commands: str = ""
    """Only inputs of commands whose name matches this regular expression."""
    only: int | None = None
    """Run the input of this number only, and print its output."""
    check: bool = False
    """End with exit code 1 if less than 99 percent are answered as promised."""


def problem(line: Input, answer: Answer, options: Options) -> str:
    """Return what is not as promised, in a word or two; empty if all is."""
    if answer.seconds > options.seconds:
        return "hang"
    if answer.gigabytes > options.gigabytes:
        return "memory"
    if "Traceback (most recent call last)" in answer.errors:
        last = answer.errors.strip().splitlines()[-1]
        return f"traceback: {last[:100]}"
    if answer.code not in GOOD_CODES:
        return f"exit code {answer.code}"
    told = [text for text in answer.errors.splitlines() if not MARGINAL.match(text)]
    if len(told) > items_of(line):
        return "many lines"
    if answer.code == 2 and not answer.errors:
        return "no line"
    return ""


def items_of(line: Input) -> int:
    """Return how many things the line names, the files of its folders included."""
    folders = [Path(word) for word in line.words if os.path.isdir(word)]
    return len(line.words) + 1 + sum(len(os.listdir(folder)) for folder in folders)


def state_of(folder: Path) -> dict[str, tuple[int, int]]:
    """Return the size and the time of change of every file, to see that none was touched."""
    states = {}
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name not in CHANGING]
        for name in names:
            path = os.path.join(parent, name)
            status = os.stat(path)
            states[path] = (status.st_size, status.st_mtime_ns)
    return states


def prepare(folder: Path, commands: Any, workers: int) -> list[Input]:
    """Write valid files and train a toy of each application; return all valid lines."""
    write_files(folder)
    training = training_lines(folder)
    flags = ("--runs", str(folder / "runs"), "--name", "toy")
    jobs = []
    for number, (app, line) in enumerate(training.items()):
        toy = Input(line.prog, (*line.words, *flags))
        jobs.append(Job(number, toy, folder / "logs" / app))
    _require_success(jobs, commands, workers)
    copy_runs(folder)
    valid = valid_lines(folder)
    _require_success(
        [Job(number, line, folder / "logs" / f"{number}") for number, line in enumerate(valid)],
        commands,
        workers,
    )
    shutil.rmtree(folder / "logs")
    return [*training.values(), *valid]


def _require_success(jobs: list[Job], commands: Any, workers: int) -> None:
    """Run lines that are valid; end if one is not."""
    failures = []
    for job, answer in run(jobs, commands, 300.0, workers):
        if answer.code:
            failures.append(f"{shown(job.line)}: {answer.errors}")
    if failures:
        raise SystemExit("\n".join(failures))


def spoilt(lines: list[Input], base: Path, commands: Any, options: Options) -> Iterator[Job]:
    """Yield the inputs by number, each in a folder of its own, or the one that is to be run only.

    An input depends on the seed and its number alone.
    """
    numbers = range(options.inputs)
    if options.only is not None:
        numbers = range(options.only, options.only + 1)
    for number in numbers:
        chance = random.Random(f"{options.seed}-{number}")
        place = base / f"{number}"
        line = spoil(chance.choice(lines), base / "valid", place, commands, chance)
        yield Job(number, line, place)


def shown(line: Input) -> str:
    """Return the line as one would type it, cut where it is long."""
    words = [line.prog]
    for word in line.words:
        plain = word.isprintable() and 0 < len(word) <= 60
        words.append(word if plain else repr(word)[:60])
    return " ".join(words)


def main(options: Options) -> int:
    """Run the inputs, print the counts and what was not as promised; return the exit code."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    warnings.simplefilter("ignore")
    commands: Any = {app: importlib.import_module(f"{app}.__main__").COMMANDS for app in APPS}
    _import_verbs(commands, "")
    for module in LATE:
        importlib.import_module(module)
    commands["glimpse"]["show"].parse("glimpse show", ["RUN", "PICTURE"])  # fills caches of tyro
    problems: Counter[str] = Counter()
    codes: Counter[int] = Counter()
    with tempfile.TemporaryDirectory(prefix="robustness-") as name:
        base = Path(name)
        os.environ["XDG_CACHE_HOME"] = str(base / "cache")
        lines = prepare(base / "valid", commands, options.workers)
        lines = [line for line in lines if re.search(options.commands, line.prog)]
        if not lines:
            raise InputError(f"--commands {options.commands}: no command has such a name")
        before = state_of(base / "valid")
        jobs = spoilt(lines, base, commands, options)
        for job, answer in run(jobs, commands, options.seconds, options.workers):
            kind = problem(job.line, answer, options)
            if not kind and state_of(base / "valid") != before:
                # By this input or one that ran beside it; --only tells which.
                kind = "a file of the user's was changed"
                before = state_of(base / "valid")
            codes[answer.code] += 1
            if kind:
                problems[kind] += 1
                print(f"{job.number}: {kind}: {shown(job.line)}", flush=True)
            if options.only is not None:
                output = (job.place / "stdout").read_text()
                print(shown(job.line), answer.errors, output, sep="\n")
            shutil.rmtree(job.place, ignore_errors=True)
    count = codes.total()
    good = count - problems.total()
    share = good / max(count, 1)
    print(f"as promised: {good} of {count} ({share:.1%}); exit codes {dict(codes)}")
    for kind, number in problems.most_common():
        print(f"  {number} {kind}")
    return int(options.check and share < 0.99)


def _import_verbs(commands: Any, prog: str) -> None:
    """Import the modules of all commands, so that each process begins with them."""
    for name, command in commands.items():
        verb = f"{prog} {name}".strip()
        if isinstance(command, cli.Command):
            importlib.import_module(command.module or cli.module_of(verb))
        else:
            _import_verbs(command, verb)


if __name__ == "__main__":
    script(main)
