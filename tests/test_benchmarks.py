"""Benchmarks at toy size, and mistakes in their flags."""

import importlib

import pytest

from benchmarks import glimpse_step
from benchmarks.entry import script


def run(monkeypatch: pytest.MonkeyPatch, name: str, *flags: str) -> int | str | None:
    """Run a benchmark as its script does; return the exit code."""
    module = importlib.import_module(f"benchmarks.{name}")
    monkeypatch.setattr("sys.argv", [f"benchmarks/{name}.py", *flags])
    with pytest.raises(SystemExit) as end:
        script(module.main)
    return end.value.code


@pytest.mark.parametrize(
    ("name", "flags"),
    [
        ("glimpse_step", ["--rounds", "1"]),
        ("recurrent_gpu", ["--device", "cpu", "--rounds", "1", "--toy"]),
    ],
)
def test_a_benchmark_runs_at_toy_size(
    name: str,
    flags: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(glimpse_step, "SHAPES", glimpse_step.SHAPES[:1])
    assert run(monkeypatch, name, *flags) == 0
    assert "torch" in capsys.readouterr().out


def test_a_missed_target_is_exit_code_1(monkeypatch: pytest.MonkeyPatch) -> None:
    name, side, config, _ = glimpse_step.SHAPES[0]
    monkeypatch.setattr(glimpse_step, "SHAPES", [(name, side, config, 0.0)])
    assert run(monkeypatch, "glimpse_step", "--rounds", "1", "--check") == 1


@pytest.mark.parametrize(
    ("name", "flags", "line"),
    [
        ("recurrent_gpu", ["--device", "cpu", "--rounds", "0"], "rounds must be at least 1, not 0"),
        ("recurrence", [], "name the labelled videos of preset videos: --data FOLDER"),
        ("recurrence", ["--preset", "sprite-pairs"], "sprite-pairs: several labels occur at once"),
        ("ped2", ["--data", "sprites", "--nets", "sprites"], "sprites: choose presets with a"),
        ("addition", ["--seeds", "0"], "seeds must be at least 1, not 0"),
    ],
)
def test_a_mistake_in_the_flags_of_a_benchmark_is_one_line(
    name: str,
    flags: list[str],
    line: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(monkeypatch, name, *flags) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"benchmarks.{name}: {line}")
    assert error.count("\n") == 1
