import os
import sys
import types
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import pytest
import torch
import tyro
from toy import PRESETS, Config

from core.errors import InputError
from core.training import checkpoint, cli, devices
from core.training.arguments import Session, Training
from core.training.cli import Command
from core.training.config import to_dict
from core.training.run import Run


@dataclass(frozen=True, kw_only=True)
class Flags(cli.Computing):
    """Draw it."""

    picture: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="PICTURE")]
    """What to draw."""
    size: int | None = None
    """How large."""


TRAINING = Training(Config, PRESETS, {"small": "0.59 accuracy in a second"})
COMMANDS: cli.Commands = {
    "train": Command("fit it", TRAINING),
    "show": Command("draw it", Flags),
}


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test works in its own folder, with toyapp.train at hand."""
    monkeypatch.chdir(tmp_path)
    module = types.ModuleType("toyapp.show")
    module.main = print  # pyright: ignore[reportAttributeAccessIssue]
    monkeypatch.setitem(sys.modules, "toyapp", types.ModuleType("toyapp"))
    monkeypatch.setitem(sys.modules, "toyapp.show", module)


def parse(*argv: str) -> tuple[Config, Session, Run]:
    return TRAINING.parse("toy train", argv).start()


def existing(run: Run) -> Path:
    """Make the run's directory, and say which it became."""
    with run.open(0, 1):
        return run.directory


def test_a_verb_gets_the_rest_of_the_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main("toyapp", COMMANDS, ["show", "a.png", "--size", "3"]) == 0
    expected = Flags(picture=Path("a.png"), size=3)
    assert capsys.readouterr().out == f"{expected}\n"


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("a.png --bogus 3", "unknown argument '--bogus'"),
        ("", "missing PICTURE"),
        ("a.png --size x", "--size takes an integer"),
        ("a.png --size", "--size takes an integer"),
        (
            "a.png --device cdua",
            "--device is one of auto, cpu, cuda, mps, not 'cdua'; did you mean cuda?",
        ),
    ],
)
def test_a_wrong_flag_is_one_line(
    words: str, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main("toyapp", COMMANDS, ["show", *words.split()]) == 2
    expected = f"toyapp show: {line} (toyapp show --help lists the flags)\n"
    assert capsys.readouterr().err == expected


@pytest.mark.parametrize(("argv", "code"), [([], 2), (["dance"], 2), (["--help"], 0), (["-h"], 0)])
def test_the_help_lists_the_verbs(
    argv: list[str], code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main("toyapp", COMMANDS, argv) == code
    out, err = capsys.readouterr()
    text, other = (err, out) if code else (out, err)
    assert other == ""
    assert "train       fit it" in text
    assert "show        draw it" in text
    assert ("there is no command 'dance'" in text) == (argv == ["dance"])


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (InputError("a.png is empty"), 2, "toy show: a.png is empty\n"),
        (KeyboardInterrupt(), 130, ""),
        (
            OSError(28, "No space left on device", "a.png"),
            2,
            "toy show: a.png: No space left on device\n",
        ),
        (
            PermissionError(13, "Permission denied", "b.png"),
            2,
            "toy show: b.png: Permission denied\n",
        ),
    ],
)
def test_errors_become_one_line(
    error: BaseException, code: int, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def command(argv: list[str]) -> None:
        raise error

    assert cli.guard("toy show", command, []) == code
    assert capsys.readouterr().err == line


@pytest.mark.parametrize("error", [ValueError("bug"), OSError("bug"), SystemExit(3)])
def test_bugs_keep_their_traceback(error: BaseException) -> None:
    def command(argv: list[str]) -> None:
        raise error

    with pytest.raises(type(error)):
        cli.guard("toy show", command, [])


def test_a_reader_that_has_enough_is_no_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as pipe:
        monkeypatch.setattr(sys, "stdout", pipe)
        assert cli.guard("toy show", print, ["x" * 100_000]) == 141
        pipe.write("the flush at exit does not fail")
    assert capsys.readouterr().err == ""


def test_a_foreign_package_datasets_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "datasets").mkdir()
    (tmp_path / "datasets/__init__.py").touch()
    monkeypatch.delitem(sys.modules, "datasets", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    assert cli.guard("toy train", print, []) == 2
    assert capsys.readouterr().err.startswith(
        f"toy train: the package `datasets` in {tmp_path / 'datasets'} hides"
    )


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
        "--learning-rate FLOAT Step size",
        "--resume",
    ):
        assert part in text


def test_runs_get_names_that_are_free() -> None:
    directories = [existing(parse()[2]) for _ in range(3)]
    assert directories == [Path("runs/toy") / name for name in ("small", "small-2", "small-3")]
    assert existing(parse("--name", "mine", "--runs", "there")[2]) == Path("there/toy/mine")
    assert not Path("runs/toy/small-4").exists()


def test_a_name_that_is_taken_is_told() -> None:
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
    assert parse("--resume", str(directory), "--preset", "large", "--dropout", "0.5")[0] == config
    with pytest.raises(
        InputError, match=r"hidden: saved 64, asked 32; dropout: saved 0.5, asked 0.2$"
    ):
        parse("--resume", str(directory), "--preset", "small")


def test_a_run_of_another_application_is_told() -> None:
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
def test_a_broken_config_is_told(content: str, line: str, tmp_path: Path) -> None:
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
    with pytest.raises(InputError, match="hidden: saved 9, asked 32"):
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
    monkeypatch.setattr(sys, "argv", ["/somewhere/toy/train.py"])
    assert parse()[2].resume_command == "uv run python -m toy.train --resume runs/toy/small"


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
