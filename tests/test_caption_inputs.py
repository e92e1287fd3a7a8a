"""What the command `caption` reads: lists, broken and odd pictures, bad arguments."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest
from describer import call, noise, save_run
from PIL import Image

from captioning import caption, prefetch
from captioning.trained import open_model


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return save_run(tmp_path / "run")


def feed(monkeypatch: pytest.MonkeyPatch, text: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text)))


def test_a_list_on_standard_input(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    Path("in side").mkdir()
    for file in ("one.png", "in side/two.png", "three.png"):
        noise().save(file)
    feed(monkeypatch, b"one.png\n\n  \r\nin side\r\nnowhere.png\nthree.png")
    assert call("-", "--run", run) == 1
    out, err = capsys.readouterr()
    assert [line.partition(":")[0] for line in out.splitlines()] == [
        "one.png",
        str(Path("in side", "two.png")),
        "three.png",
    ]
    assert err == "captioning caption: nowhere.png: no such file\n"
    for wrong in (
        b"\n",
        Path("one.png").read_bytes(),
    ):  # nothing, and a picture instead of its name
        feed(monkeypatch, wrong)
        assert call("-", "--run", run) == 2
        assert "standard input" in capsys.readouterr().err


def test_one_broken_photo_of_a_hundred(run: Path, capsys: pytest.CaptureFixture[str]):
    Path("holiday").mkdir()
    for n in range(100):
        noise(n, 8, 8).save(f"holiday/{n:02}.png")
    broken = Path("holiday/41.png")
    broken.write_bytes(broken.read_bytes()[:60])
    assert call("holiday", "--run", run, "--beam", 1, "--html", "out.html") == 1
    out, err = capsys.readouterr()
    assert [int(Path(line.partition(":")[0]).stem) for line in out.splitlines()] == [
        *range(41),
        *range(42, 100),
    ]
    assert err.count("\n") == 1
    assert err.startswith(f"captioning caption: {broken}: ")
    assert Path("out.html").read_text().count("<figure>") == 99


def empty(path: Path) -> None:
    path.write_bytes(b"")


def truncated(path: Path) -> None:
    noise(0, 60, 60).save(path)
    path.write_bytes(path.read_bytes()[:400])


def text(path: Path) -> None:
    path.write_text("a picture is worth a thousand words")


def missing(path: Path) -> None:
    pass


def empty_folder(path: Path) -> None:
    path.mkdir()


def unreadable(path: Path) -> None:
    noise().save(path)
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("this user may read everything")


@pytest.mark.parametrize("spoil", [empty, truncated, text, missing, empty_folder, unreadable])
def test_bad_input_is_one_line(
    spoil: Callable[[Path], None], run: Path, capsys: pytest.CaptureFixture[str]
):
    bad = Path("odd one.jpg")
    spoil(bad)
    assert call(bad, "--run", run, "--html", "out.html", "--overlay", "drawn") == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith("captioning caption: odd one.jpg: ")
    assert not Path("out.html").exists()
    assert not list(Path("drawn").iterdir())
    noise().save("good.png")
    assert call(bad, "good.png", "--run", run) == 1
    assert capsys.readouterr().out.startswith("good.png: ")


def test_pictures_of_every_kind(run: Path, capsys: pytest.CaptureFixture[str]):
    colours, grey = noise(), noise().convert("L")
    Image.fromarray(np.array(grey).astype(np.uint16) * 257).save("deep.png")
    grey.save("grey.png")
    colours.convert("CMYK").save("cmyk.jpg")
    transparent = colours.convert("RGBA")
    transparent.putalpha(90)
    transparent.save("transparent.png")
    colours.save("animated.gif", save_all=True, append_images=[noise(1)])
    noise(0, 1, 1).save("dot.png")
    noise(0, 1, 700).save("hair.png")
    noise(0, 2000, 1500).save("large.jpg")
    names = [
        "deep.png",
        "grey.png",
        "cmyk.jpg",
        "transparent.png",
        "animated.gif",
        "dot.png",
        "hair.png",
        "large.jpg",
    ]
    assert call(*names, "--run", run, "--html", "out.html", "--overlay", "drawn") == 0
    out, err = capsys.readouterr()
    assert [line.partition(":")[0] for line in out.splitlines()] == names
    assert err == ""
    sentences = [line.partition(": ")[2] for line in out.splitlines()]
    assert sentences[0] == sentences[1], "16 bits are scaled, not clipped"
    assert len(list(Path("drawn").iterdir())) == len(names)


def test_pictures_are_opened_ahead_but_not_all(run: Path):
    made, _ = open_model(run, "cpu")
    requested = []

    def files() -> Iterable[Path]:
        for seed in range(30):
            noise(seed).save(f"{seed}.png")
            requested.append(seed)
            yield Path(f"{seed}.png")

    opened = caption.open_all(
        files(), made.encoder.preprocessing, lambda error: pytest.fail(str(error))
    )
    for n, each in enumerate(opened):
        assert each.file.stem == str(n), "they come in order"
        assert len(requested) <= n + prefetch.AHEAD + 1


def test_an_empty_path_is_not_the_current_folder(run: Path, capsys: pytest.CaptureFixture[str]):
    noise().save("a.png")
    assert call("", "--run", run) == 2
    assert "a path is empty" in capsys.readouterr().err


def test_bad_arguments(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    noise().save("photo.jpg")
    mine = Path("photo.jpg").read_bytes()
    Path("taken").write_text("")
    for arguments, word in (
        (("--run", run), "no picture"),
        ((run, "photo.jpg"), "give it as --run"),
        (("photo.jpg", "--run", run, "--beam", 0), "beam must be"),
        (("photo.jpg", "--run", run, "--n-best", 0), "n_best must be"),
        (("photo.jpg", "--run", run, "--overlay", "taken"), "--overlay takes a folder"),
        (("photo.jpg", "--run", run, "--html", "taken/x.html"), "taken"),
        (("photo.jpg", "--run", run, "--html", "photo.jpg"), "--html"),
        (("photo.jpg", "--run", tmp_path / "none"), "none"),
        (("photo.jpg", "--run", run, "--threads", 0), "threads"),
    ):
        assert call(*arguments) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert err.count("\n") == 1
        assert word in err
    assert Path("photo.jpg").read_bytes() == mine


def test_as_a_process_with_names_that_are_no_text(run: Path):
    name = os.fsdecode(b"caf\xe9.png")
    try:
        noise().save(name)
    except (OSError, UnicodeError):
        pytest.skip("this file system takes no such name")
    command = [
        sys.executable,
        "-m",
        "captioning",
        "caption",
        "-",
        "--run",
        str(run),
        "--json",
        "--html",
        "out.html",
    ]
    environment = os.environ | {
        "PYTHONPATH": str(Path(__file__).parent.parent),
        "OMP_NUM_THREADS": "1",
    }
    given = b"nowhere.png\ncaf\xe9.png\n"
    done = subprocess.run(command, env=environment, input=given, capture_output=True, timeout=120)
    assert (done.returncode, done.stderr) == (1, b"captioning caption: nowhere.png: no such file\n")
    assert json.loads(done.stdout)["file"] == name
    assert "caf?.png" in Path("out.html").read_text(encoding="utf-8")
