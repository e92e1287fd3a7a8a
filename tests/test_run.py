import io
import json
import math
import os
import re
import resource
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from core.errors import InputError
from core.training.config import read_config
from core.training.progress import Lines
from core.training.run import Run


@dataclass(frozen=True)
class Config:
    sizes: tuple[int, ...] = (1, 2)


def test_a_run_leaves_its_configuration_and_its_rows(tmp_path: Path) -> None:
    run = Run(tmp_path / "a/b", "toy", Config())
    assert run.last() is None
    with run.open(0, 10):
        run.log(5, {"train/loss": 0.1, "train/odd": math.nan})
    assert json.loads((tmp_path / "a/b/config.json").read_text()) == {"app": "toy", "sizes": [1, 2]}
    assert read_config(tmp_path / "a/b", "toy", Config) == Config()
    rows = (tmp_path / "a/b/metrics.jsonl").read_text()
    assert rows == '{"step": 5, "train/loss": 0.1, "train/odd": null}\n'


@pytest.mark.parametrize(
    ("tail", "kept"),
    [
        ('{"step": 3, "x": 1}\n', '{"step": 1}\n{"step": 2}\n'),
        (
            '{"step": 2, "y": 1}\n{"step": 3}\n{"step": 4}\n',
            '{"step": 1}\n{"step": 2}\n{"step": 2, "y": 1}\n',
        ),
        ('{"step": 2, "y"', '{"step": 1}\n{"step": 2}\n'),
        ('{"step": 2}', '{"step": 1}\n{"step": 2}\n'),
        ("\0\0\0\n", '{"step": 1}\n{"step": 2}\n'),
        ("[]\n7\n", '{"step": 1}\n{"step": 2}\n'),
    ],
)
def test_rows_later_than_the_checkpoint_are_cut(tmp_path: Path, tail: str, kept: str) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n{"step": 2}\n' + tail)
    with Run(tmp_path, "toy", Config()).open(2, 10):
        pass
    assert path.read_text() == kept


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(InputError, match=f"cannot write {tmp_path / 'file/run'}"),
        Run(tmp_path / "file/run", "toy", Config()).open(0, 1),
    ):
        pass


def test_a_full_disk_is_reported(tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    run = Run(tmp_path, "toy", Config())
    with run.open(0, 10):
        # The kernel refuses longer files.
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
        try:
            with pytest.raises(InputError, match=r"cannot write .*metrics\.jsonl: File too large"):
                run.log(5, {f"train/{number}": 0.1 for number in range(100)})
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)


class Terminal(io.StringIO):
    """A terminal that remembers what is written to it."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("quiet", [False, True])
def test_a_terminal_gets_a_progress_bar_unless_quiet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quiet: bool
) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "200")
    run = Run(tmp_path, "toy", Config(), quiet=quiet)
    with run.open(2, 10, ("train/loss", "validation/accuracy")):
        for step in (3, 4):
            run.tick(step)
            run.log(step, {"train/loss": 0.5 / step, "learning_rate": 0.1})
        run.log(4, {"validation/accuracy": 0.75})
    text = terminal.getvalue()
    assert "validation/accuracy 0.75" in text
    assert "train/loss 0.125" in text
    assert "steps/s" in text
    assert ("step 4/10" in text) == quiet
    assert ("learning_rate" in text) == quiet, "a bar has no room for it"
    assert ("━" in text) != quiet


def test_two_processes_do_not_train_in_one_directory(tmp_path: Path) -> None:
    first, second = Run(tmp_path / "a", "toy", Config()), Run(tmp_path / "a", "toy", Config())
    with first.open(0, 10):
        first.log(1, {"x": 1.0})
        (tmp_path / "a" / ".last.00000000.partial.pt").touch()
        line = rf"another process trains in {tmp_path / 'a'} \(process {os.getpid()} on "
        with pytest.raises(InputError, match=line), second.open(0, 10):
            pass
        first.log(2, {"x": 2.0})
    assert (tmp_path / "a/metrics.jsonl").read_text().count("\n") == 2, "the second changed nothing"
    with second.open(2, 10):
        assert not list((tmp_path / "a").glob(".*.partial*")), "what a killed process left"


@pytest.mark.parametrize("how", ["removed", "moved"])
def test_a_directory_that_vanishes_is_reported(tmp_path: Path, how: str) -> None:
    run = Run(tmp_path / "a", "toy", Config())
    with run.open(0, 10):
        run.log(1, {"x": 1.0})
        if how == "removed":
            shutil.rmtree(tmp_path / "a")
        else:
            (tmp_path / "a").rename(tmp_path / "b")
        with pytest.raises(InputError, match=f"{tmp_path / 'a'} was removed while"):
            run.log(2, {"x": 1.0})
        with pytest.raises(InputError, match=f"{tmp_path / 'a'} was removed while"):
            run.save("last.pt", {})


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[" * 100_000, "is not JSON"),
        ('{"app": "toy", "sizes": [' + "9" * 5000 + "]}", "is not JSON"),
        ('{"app": "toy", "sizes": [1e400]}', "sizes cannot be inf"),
        ('{"app": "toy", "sizes": [100000000000000000000]}', "sizes cannot be 100000"),
        ('{"app": ["toy"]}', "a run of something else"),
        ("null", "a run of something else"),
    ],
)
def test_an_altered_configuration_is_one_line(tmp_path: Path, text: str, line: str) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(InputError, match=re.escape(line)):
        read_config(tmp_path, "toy", Config)


def test_a_job_of_any_length_has_a_time_left(capsys: pytest.CaptureFixture[str]) -> None:
    Lines(0, 2**53).show(1, {"loss": 0.5})
    assert re.search(r"step 1/9007199254740992  loss 0.5 .* left$", capsys.readouterr().out)
