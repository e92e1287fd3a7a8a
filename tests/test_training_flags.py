"""The flags of a training command: preset, configuration, name of the run, resumption, device."""

import sys
from dataclasses import replace
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

import pytest
import torch
from toy import PRESETS, Config

from core.errors import InputError
from core.training import checkpoint, devices
from core.training.arguments import Session, Training
from core.training.config import to_dict
from core.training.run import Run

TRAINING = Training(Config, PRESETS, {"small": "0.59 accuracy in a second"})


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test works in its own folder."""
    monkeypatch.chdir(tmp_path)


def parse(*argv: str) -> tuple[Config, Session, Run]:
    return TRAINING.parse("toy train", argv).start()


def existing(run: Run) -> Path:
    """Make the run's directory, and say which it became."""
    with run.open(0, 1):
        return run.directory


def test_flags_override_the_preset() -> None:
    assert parse()[0] == PRESETS["small"]
    assert parse("--preset", "large")[0] == PRESETS["large"]
    config, session, _ = parse(
        "--preset=large", "--dropout", "0.5", "--steps", "7", "--device", "cpu", "--quiet"
    )
    assert config == replace(
        PRESETS["large"], dropout=0.5, loop=replace(PRESETS["large"].loop, steps=7)
    )
    assert (session.device, session.threads, session.quiet) == ("cpu", 1, True)


def test_the_seed_decides_the_initial_weights() -> None:
    drawn = []
    for seed in ("0", "0", "1"):
        parse("--seed", seed)
        drawn.append(torch.randn(3))
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        (["--preset", "huge"], "there is no preset 'huge', only small, large"),
        (["--steps", "0"], "steps must be at least 1, not 0"),
        (
            ["--name", "../aside"],
            "--name ../aside: the name of a folder, not a path; --runs says where it lies",
        ),
        (["--resume", "nowhere"], "nowhere is not the directory of a run: it has no config.json"),
    ],
)
def test_bad_flags_are_one_line(argv: list[str], line: str) -> None:
    with pytest.raises(InputError) as error:
        parse(*argv)
    assert str(error.value) == line


@pytest.mark.parametrize(
    "argv", [["--setps", "3"], ["--steps", "x"], ["--device", "tpu"], ["--preset"]]
)
def test_unknown_flags_are_named(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InputError, match=argv[0]):
        parse(*argv)
    assert capsys.readouterr() == ("", "")


def test_the_help_shows_presets_and_fields(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit:
        parse("--help")
    assert exit.value.code == 0
    text = " ".join(capsys.readouterr().out.replace("│", " ").split())
    for part in (
        "{small,large}",
        "small: 0.59 accuracy in a second.",
        "--learning-rate FLOAT Learning rate before the schedule.",
        "--resume",
    ):
        assert part in text


def test_runs_get_names_that_are_free() -> None:
    directories = [existing(parse()[2]) for _ in range(3)]
    assert directories == [Path("runs/toy") / name for name in ("small", "small-2", "small-3")]
    assert existing(parse("--name", "mine", "--runs", "there")[2]) == Path("there/toy/mine")
    assert not Path("runs/toy/small-4").exists()


def test_a_name_that_is_taken_is_refused() -> None:
    existing(parse("--name", "mine")[2])
    with pytest.raises(InputError, match=r"runs/toy/mine is taken: .* --resume runs/toy/mine"):
        parse("--name", "mine")
    with pytest.raises(InputError, match="--name is for a new run"):
        parse("--name", "other", "--resume", "runs/toy/mine")


def test_a_resumed_run_has_its_own_configuration() -> None:
    directory = existing(parse("--preset", "large", "--dropout", "0.5")[2])
    config, _, run = parse("--resume", str(directory))
    assert config == replace(PRESETS["large"], dropout=0.5)
    assert run.directory == directory
    del run  # and with it the lock
    assert parse("--resume", str(directory), "--preset", "large", "--dropout", "0.5")[0] == config
    with pytest.raises(
        InputError, match=r"hidden: saved 64, given 32; dropout: saved 0.5, given 0.2: leave"
    ):
        parse("--resume", str(directory), "--preset", "small")


def test_a_run_that_is_being_trained_is_refused_at_once() -> None:
    run = parse("--name", "mine")[2]
    with (
        run.open(0, 1),
        pytest.raises(InputError, match="another process trains in runs/toy/mine"),
    ):
        parse("--resume", "runs/toy/mine")
    resumed = parse("--resume", "runs/toy/mine")[2]
    with pytest.raises(InputError, match="another process trains"):
        parse("--resume", "runs/toy/mine")
    existing(resumed)
    parse("--resume", "runs/toy/mine")


def test_a_run_of_another_application_is_refused() -> None:
    directory = existing(Run(Path("runs/toy/x"), "glimpse", PRESETS["small"]))
    with pytest.raises(InputError, match="runs/toy/x is a run of glimpse, not of toy"):
        parse("--resume", str(directory))


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("{", "is not JSON"),
        ("[]", "is a run of something else, not of toy"),
        ('{"app": "toy", "hidden": 3}', "missing field"),
        ('{"app": "toy", "speed": 3}', "unknown field speed"),
    ],
)
def test_a_broken_config_is_refused(content: str, line: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(InputError, match=line):
        parse("--resume", str(tmp_path))


def test_a_checkpoint_of_another_configuration_is_not_continued() -> None:
    run = parse()[2]
    directory = existing(run)
    payload = {
        "config": parse("--hidden", "9")[2].config,
        "training": {},
    }
    checkpoint.save(directory / "last.pt", "toy", {**payload, "config": to_dict(payload["config"])})
    with pytest.raises(InputError, match="hidden: saved 9, given 32"):
        parse("--resume", str(directory))[2].last()


def test_the_command_that_resumes_is_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("UV", raising=False)
    monkeypatch.setattr(sys, "argv", ["/somewhere/bin/toy", "train"])
    assert parse()[2].resume_command == "toy train --resume runs/toy/small"
    monkeypatch.setenv("UV", "/bin/uv")
    run = parse("--threads", "2", "--device", "cpu", "--runs", "my runs")[2]
    assert (
        run.resume_command
        == "uv run toy train --device cpu --threads 2 --resume 'my runs/toy/small'"
    )
    module = ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", module)
    module.__spec__ = ModuleSpec("toy.train", None)
    monkeypatch.setattr(sys, "argv", ["/somewhere/toy/train.py"])
    assert parse()[2].resume_command == "uv run python -m toy.train --resume runs/toy/small"
    module.__spec__ = None
    module.__file__ = "/somewhere/my work/toy.py"
    monkeypatch.setattr(sys, "argv", ["my work/toy.py"])
    assert parse()[2].resume_command == "uv run python 'my work/toy.py' --resume runs/toy/small"


def test_the_command_that_resumes_may_have_no_verb(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("UV", raising=False)
    monkeypatch.setattr(sys, "argv", ["/somewhere/bin/toys", "addition"])
    run = TRAINING.parse("toys addition", []).start()[2]
    assert run.resume_command == "toys addition --resume runs/addition/small"
    monkeypatch.setattr(sys, "argv", ["/somewhere/toys/addition/__main__.py"])
    module = ModuleType("__main__")
    module.__spec__ = ModuleSpec("toys.addition.__main__", None)
    monkeypatch.setitem(sys.modules, "__main__", module)
    run = TRAINING.parse("toys addition", []).start()[2]
    assert run.resume_command == "python -m toys.addition --resume runs/addition/small"


def test_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    threads = torch.get_num_threads()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    try:
        assert devices.select("auto", 2) == devices.select("cpu", 2) == torch.device("cpu")
        assert torch.get_num_threads() == 2
        for name in ("cuda", "mps"):
            with pytest.raises(InputError, match=f"no device {name}, only cpu"):
                devices.select(name)
        with pytest.raises(InputError, match="threads"):
            devices.select("cpu", 0)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
        assert devices.select() == torch.device("mps")
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
        monkeypatch.setenv("LOCAL_RANK", "1")
        assert devices.select() == torch.device("cuda", 1)
        monkeypatch.setenv("LOCAL_RANK", "2")
        with pytest.raises(InputError, match="2 GPUs"):
            devices.select()
    finally:
        torch.set_num_threads(threads)
