"""Two processes under torchrun give what one gives, to float tolerance."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import toy

from core.errors import InputError
from core.training import checkpoint, distributed
from core.training.arguments import Training

ROOT = Path(__file__).parent.parent
FLAGS = ["--steps", "40", "--dropout", "0", "--learning-rate", "0.01", "--device", "cpu", "--quiet"]


def torchrun(*argv: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run `toy train argv` as two processes."""
    launcher = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [*launcher, str(ROOT / "tests/helpers/toy.py"), *argv]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300
    )


def test_two_processes_do_the_work_of_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = torchrun(*FLAGS, "--runs", "two", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("step 40/40") == 2, (
        "one row of training and one of validation, from one process"
    )
    assert [path.name for path in (tmp_path / "two/toy").iterdir()] == ["small"]

    monkeypatch.chdir(tmp_path)
    toy.main([*FLAGS, "--runs", "one"])
    one, two = (
        checkpoint.load(tmp_path / name / "toy/small/last.pt", "toy") for name in ("one", "two")
    )
    torch.testing.assert_close(two["weights"], one["weights"], rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(
        two["training"]["sums"], one["training"]["sums"], rtol=1e-4, atol=1e-6
    )
    rows = [
        [
            json.loads(line)
            for line in (tmp_path / name / "toy/small/metrics.jsonl").read_text().splitlines()
        ]
        for name in ("one", "two")
    ]
    assert rows[1] == [pytest.approx(row, rel=1e-4) for row in rows[0]]
    assert rows[0][-1]["validation/accuracy"] > 0.8


def test_each_process_has_its_own_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    assert distributed.rows(6) == slice(0, 6)
    monkeypatch.setenv("WORLD_SIZE", "3")
    shares = []
    for rank in range(3):
        monkeypatch.setenv("RANK", str(rank))
        shares.append(distributed.rows(6))
    assert shares == [slice(0, 2), slice(2, 4), slice(4, 6)]
    with pytest.raises(InputError, match="a batch of 7 cannot be shared equally by 3 processes"):
        distributed.rows(7)


def test_only_rank_0_writes_and_the_command_starts_as_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in {"WORLD_SIZE": "2", "RANK": "1", "LOCAL_WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("UV", raising=False)
    run = Training(toy.Config, toy.PRESETS, {}).parse("toy train", []).start()[2]
    assert not run.writes
    command = "torchrun --nproc-per-node 2 -m toy.train --resume runs/toy/small"
    assert run.resume_command == command
    monkeypatch.setenv("UV", "/usr/bin/uv")
    run = Training(toy.Config, toy.PRESETS, {}).parse("toy train", []).start()[2]
    assert run.resume_command == f"uv run {command}"
