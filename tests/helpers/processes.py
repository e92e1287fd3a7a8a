"""Processes to kill: children of a server that has imported torch, so that they start at once."""

import multiprocessing
import os
from pathlib import Path
from typing import Any

import toy

ROOT = Path(__file__).parent.parent
_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["toy", "torch._dynamo", "tensorboard.compat.proto.event_pb2"])


def start(
    argv: list[str], log: Path, *, pause: float = 0.001, file_limit: int | None = None
) -> Any:
    """Start `toy train argv` as a process of its own, whose output goes to `log`.

    It pauses for so many seconds in every step.
    """
    os.environ["PYTHONPATH"] = f"{ROOT}:{ROOT / 'tests'}"
    os.environ["OMP_NUM_THREADS"] = "1"
    process = _context.Process(target=toy.child, args=(argv, log, pause, file_limit))
    process.start()
    return process


def run(argv: list[str], log: Path, file_limit: int | None = None) -> tuple[int, str]:
    """Run `toy train argv` to its end: its exit code (negative: the signal) and what it printed."""
    process = start(argv, log, file_limit=file_limit)
    process.join(300)
    return process.exitcode, log.read_text()
