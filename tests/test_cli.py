"""Commands, their flags, and errors that are one line and an exit code."""

import io
import os
import shlex
import sys
import types
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import pytest
import tyro
from toy import PRESETS, Config

from core.errors import InputError
from core.training import cli
from core.training.arguments import Training
from core.training.cli import Command


@dataclass(frozen=True, kw_only=True)
class Flags(cli.Computing):
    """Draw it."""

    picture: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="PICTURE")]
    """What to draw."""
    more: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="MORE...")] = ()
    """More to draw."""
    size: int | None = None
    """How large."""
    text: Path | None = None
    """What to write on it."""


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


def test_a_verb_gets_the_rest_of_the_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main("toyapp", COMMANDS, ["show", "a.png", "--size", "3"]) == 0
    expected = Flags(picture=Path("a.png"), size=3)
    assert capsys.readouterr().out == f"{expected}\n"


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("a.png --bogus 3", "unknown argument '--bogus'"),
        ("a.png --sze 3", "unknown argument '--sze'; did you mean --size?"),
        (
            "a.png --picture b.png",
            "unknown argument '--picture'; give its value alone, without --picture",
        ),
        ("--picture a.png", "missing PICTURE, which is given without a flag"),
        ("", "missing PICTURE"),
        ("a.png --size x", "--size takes an integer"),
        ("a.png --size", "--size takes an integer"),
        (
            "a.png --device cdua",
            "--device is one of auto, cpu, cuda, mps, not 'cdua'; did you mean cuda?",
        ),
        ("''", "PICTURE: the path is empty"),
        ("a.png --text '' --size 2", "--text: the path is empty"),
        ("a.png b.png ''", "MORE...: the path is empty"),
    ],
)
def test_a_wrong_flag_is_one_line(
    words: str, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main("toyapp", COMMANDS, ["show", *shlex.split(words)]) == 2
    expected = f"toyapp show: {line} (toyapp show --help lists the flags)\n"
    assert capsys.readouterr().err == expected


@dataclass(frozen=True, kw_only=True)
class Values:
    """Flags of all kinds."""

    canvas: tuple[int, int] | None = None
    """Height and width, of more than
    the image."""
    split: Literal["train", "test"] | None = "train"
    """Which part."""
    rates: tuple[float, ...] = ()
    """Some numbers."""
    places: tuple[Path, ...] | None = None
    """Some folders."""
    quiet: bool = False
    """Say less."""


def test_help_says_what_a_flag_takes_and_its_default(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.parse(Values, "toy show", ["--help"])
    text = " ".join(capsys.readouterr().out.replace("│", " ").split()).rstrip("╰─╯- ")
    for flag in (
        "--canvas INT INT Height and width, of more than the image. --split",
        "--split {train,test} Which part. (default: train; may be None)",
        "--rates [FLOAT ...] Some numbers. --places",
        "--places [PATH ...] Some folders. --quiet",
    ):
        assert flag in text
    assert text.endswith("--quiet Say less.")


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("--canvas 1", "--canvas takes 2 integers"),
        ("--canvas 1 x", "--canvas takes 2 integers"),
        ("--rates 1 x", "--rates takes numbers"),
        ("--split tests", "--split is one of train, test, not 'tests'; did you mean test?"),
    ],
)
def test_wrong_values_are_told_what_the_flag_takes(words: str, line: str) -> None:
    with pytest.raises(InputError) as error:
        cli.parse(Values, "toy show", words.split())
    assert str(error.value) == f"{line} (toy show --help lists the flags)"


def test_none_may_be_given() -> None:
    words = ["--canvas", "None", "--split", "None", "--rates", "--places", "a", "b"]
    places = (Path("a"), Path("b"))
    assert cli.parse(Values, "toy show", words) == Values(split=None, places=places)


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


def test_a_group_of_commands_says_what_they_do(capsys: pytest.CaptureFixture[str]) -> None:
    groups: cli.Commands = {"one": {"train": Command("fit it", TRAINING)}, "many": COMMANDS}
    assert cli.main("toyapp", groups, ["--help"]) == 0
    out = capsys.readouterr().out
    assert "one         train: fit it\n" in out
    assert "many        train, show\n" in out
    assert "toyapp COMMAND --help says more" in out


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


def test_a_closed_pipe_is_no_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as pipe:
        monkeypatch.setattr(sys, "stdout", pipe)
        assert cli.guard("toy show", print, ["x" * 100_000]) == 141
        pipe.write("the flush at exit does not fail")
    assert capsys.readouterr().err == ""


def test_letters_that_the_terminal_lacks_are_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", terminal)
    cli.write("k\u016f\u0148")
    cli.say(" \udcff")
    assert terminal.buffer.getvalue() == b"k?? ?\n"


def test_a_foreign_package_datasets_is_reported(
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


def test_a_run_is_no_input(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "best.pt").touch()
    (tmp_path / "pictures").mkdir()
    cli.require_no_run([str(tmp_path / "pictures"), "a.jpg", "-", "0", "http://a/b", "\0", ""])
    for path in (tmp_path / "run", tmp_path / "run" / "best.pt"):
        with pytest.raises(InputError, match=r" is a run: give it as --run "):
            cli.require_no_run([str(path)])
