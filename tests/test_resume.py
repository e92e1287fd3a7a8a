"""Runs that are killed, stopped or fill the disk lose nothing; each is a process."""

import json
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import processes
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from core.training import checkpoint

# 128 does not divide the 1500 samples: some batches cross the border between two of the 17 epochs.
LONG = [
    "--steps",
    "200",
    "--batch",
    "128",
    "--save-every",
    "3",
    "--validate-every",
    "30",
]
PAUSE = 0.02  # seconds a step, so that a busy machine too kills in time


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a run that nothing happened to."""
    folder = tmp_path_factory.mktemp("unbroken")
    assert processes.run([*LONG, "--runs", str(folder)], folder / "log")[0] == 0
    return folder / "toy/small"


def bits(tree: Any) -> Any:
    """Nested values in which each tensor is replaced by its bytes, and the clock left out."""
    if isinstance(tree, dict):
        return {name: bits(value) for name, value in tree.items() if name != "seconds"}
    if isinstance(tree, list | tuple):
        return [bits(value) for value in tree]
    return tree.numpy().tobytes() if isinstance(tree, torch.Tensor) else tree


def assert_same(one: Path, other: Path) -> None:
    """Bit for bit the same metrics, weights, optimiser state and best checkpoint."""
    assert (one / "metrics.jsonl").read_bytes() == (other / "metrics.jsonl").read_bytes()
    for name in ("last.pt", "best.pt"):
        assert bits(checkpoint.load(one / name, "toy")) == bits(
            checkpoint.load(other / name, "toy")
        )


def rows(directory: Path) -> list[dict[str, float]]:
    """The rows of metrics.jsonl."""
    return [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]


def saved_step(directory: Path) -> int:
    """The step that last.pt is from."""
    path = directory / "last.pt"
    return checkpoint.load(path, "toy")["step"] if path.exists() else 0


def wait_for(condition: Callable[[], bool]) -> None:
    """Return as soon as the condition holds."""
    end = time.monotonic() + 300
    while not condition():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.001)


def test_kills_at_random_moments_leave_no_trace(unbroken: Path, tmp_path: Path) -> None:
    run, log, moments, kills = tmp_path / "toy/small", tmp_path / "log", random.Random(0), []
    process = processes.start([*LONG, "--runs", str(tmp_path)], log, pause=PAUSE)
    while process.exitcode != 0:
        before = saved_step(run)
        wait_for(
            lambda p=process, before=before: saved_step(run) > before or p.exitcode is not None
        )
        if len(kills) < 6:
            time.sleep(moments.uniform(0, 3 * PAUSE))
            process.kill()
        process.join()
        if process.exitcode == -signal.SIGKILL:
            kills.append(saved_step(run))
            process = processes.start(["--resume", str(run)], log, pause=PAUSE)
        else:
            assert process.exitcode == 0, log.read_text()
    assert len(kills) >= 5, kills
    assert len({step * 128 // 1500 for step in kills}) >= 2, "all kills in one epoch"
    assert_same(unbroken, run)

    events = EventAccumulator(str(run)).Reload()
    logged = [(row["step"], row["train/loss"]) for row in rows(run) if "train/loss" in row]
    assert [event.step for event in events.Scalars("train/loss")] == [step for step, _ in logged]
    assert [event.value for event in events.Scalars("train/loss")] == pytest.approx(
        [loss for _, loss in logged]
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_says_how_to_go_on(
    unbroken: Path, tmp_path: Path, number: signal.Signals
) -> None:
    run, log = tmp_path / "toy/small", tmp_path / "log"
    process = processes.start([*LONG, "--runs", str(tmp_path)], log)
    wait_for(lambda: saved_step(run) > 10)
    os.kill(process.pid, number)
    process.join()
    assert process.exitcode == 128 + number
    last = log.read_text().splitlines()[-1]
    assert f"stopped after step {saved_step(run)} of 200" in last
    assert last.endswith(f"toy.train --resume {run}")
    assert processes.run(["--resume", str(run)], log)[0] == 0
    assert_same(unbroken, run)


def test_a_killed_run_without_checkpoint_starts_again(unbroken: Path, tmp_path: Path) -> None:
    run, log = tmp_path / "toy/small", tmp_path / "log"
    assert processes.run([*LONG, "--runs", str(tmp_path)], log)[0] == 0
    (run / "last.pt").unlink()
    assert processes.run(["--resume", str(run)], log)[0] == 0
    assert_same(unbroken, run)


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path: Path) -> None:
    run, log = tmp_path / "toy/small", tmp_path / "log"
    code, output = processes.run(["--infinite-at", "24", "--quiet", "--runs", str(tmp_path)], log)
    assert code == 2
    assert output.splitlines()[-1].startswith("toy train: the loss is not finite at step 25: ")
    assert "Traceback" not in output
    assert saved_step(run) == 20
    assert all(
        tensor.isfinite().all()
        for tensor in checkpoint.load(run / "last.pt", "toy")["weights"].values()
    )
    again, output = processes.run(["--resume", str(run)], log)
    assert (again, output.splitlines()[-1].split(":")[1]) == (
        2,
        " the loss is not finite at step 25",
    )


def test_a_full_disk_loses_nothing(unbroken: Path, tmp_path: Path) -> None:
    run, log = tmp_path / "toy/small", tmp_path / "log"
    process = processes.start([*LONG, "--runs", str(tmp_path)], log)
    wait_for(lambda: saved_step(run) >= 30)
    process.kill()
    process.join()
    before = (run / "last.pt").read_bytes()
    for name in ("last.pt", "config.json"):
        limit = (
            run / name
        ).stat().st_size - 100  # the kernel lets no file grow beyond, as if the disk were full
        code, output = processes.run(["--resume", str(run)], log, file_limit=limit)
        assert code == 2
        assert output.splitlines()[-1] == f"toy train: cannot write {run / name}: File too large"
        assert "Traceback" not in output
        assert (run / "last.pt").read_bytes() == before
        assert not list(run.glob("*.partial"))
    assert processes.run(["--resume", str(run)], log)[0] == 0
    assert_same(unbroken, run)


def test_another_configuration_is_refused_by_name(unbroken: Path, tmp_path: Path) -> None:
    before = sorted((path.name, path.read_bytes()) for path in unbroken.iterdir())
    flags = ["--resume", str(unbroken), "--hidden", "7", "--steps", "9", "--batch", "128"]
    code, output = processes.run(flags, tmp_path / "log")
    assert code == 2
    unlike = "hidden: saved 32, given 7; steps: saved 200, given 9"
    mend = "leave that out, or begin a new run"
    assert output == f"toy train: {unbroken} has another configuration; {unlike}: {mend}\n"
    assert sorted((path.name, path.read_bytes()) for path in unbroken.iterdir()) == before
