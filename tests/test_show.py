"""The command that shows where a model looks, on real files from end to end."""

import json
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from looker import CLASSES, SIDE, call, episode, random_picture, save_run
from PIL import Image

from datasets.images.files import name_outputs
from glimpse.show import describe_classes


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return save_run(tmp_path / "run")


def test_json_is_the_episode(run: Path, capsys: pytest.CaptureFixture[str]):
    picture = random_picture()
    picture.save("noise.png")
    assert call(run, "noise.png", "--json", "--glimpses", 5, "--out", "a/b") == 0
    (printed,) = json.loads(capsys.readouterr().out)
    expected = episode(picture, 5)
    probabilities = expected.logits[:, 0].softmax(-1)
    assert printed["file"] == "noise.png"
    assert [Path(each) for each in printed["drawn"]] == [Path("a/b/noise.scanpath.png")]
    assert printed["size"] == printed["looked_at_size"] == [SIDE, SIDE]
    assert printed["prediction"] == CLASSES[int(probabilities[-1].argmax())]
    assert printed["probability"] == pytest.approx(float(probabilities[-1].max()))
    assert len(printed["glimpses"]) == 5
    for t, glimpse in enumerate(printed["glimpses"]):
        location = expected.locations[t, 0]
        assert glimpse["location"] == pytest.approx(location.tolist())
        assert glimpse["pixel"] == pytest.approx(((location + 1) / 2 * SIDE).tolist())
        assert list(glimpse["probabilities"]) == CLASSES
        assert list(glimpse["probabilities"].values()) == pytest.approx(
            probabilities[t].tolist(), abs=1e-6
        )


def test_sizes_and_inversion(run: Path, capsys: pytest.CaptureFixture[str]):
    wide = random_picture(30, 90)
    wide.save("wide.png")
    assert call(run, "wide.png", "--json") == 0
    (printed,) = json.loads(capsys.readouterr().out)
    assert (printed["size"], printed["looked_at_size"]) == ([90, 30], [SIDE, SIDE])
    square = Image.new(wide.mode, (SIDE, SIDE))  # as in training: its aspect ratio, on black
    height = round(SIDE / 3)
    top = (SIDE - height) // 2
    square.paste(wide.resize((SIDE, height)), (0, top))
    location = episode(square).locations[-1, 0]
    assert printed["glimpses"][-1]["location"] == pytest.approx(location.tolist())
    x, y = ((location + 1) / 2 * SIDE).tolist()
    in_picture = torch.tensor([x * 90 / SIDE, (y - top) * 30 / height])
    assert printed["glimpses"][-1]["pixel"] == pytest.approx(in_picture.tolist(), abs=1e-4)

    assert call(run, "wide.png", "--json", "--native", "--invert") == 0
    (printed,) = json.loads(capsys.readouterr().out)
    assert printed["looked_at_size"] == [90, 30]
    inverted = episode(Image.fromarray(255 - np.array(wide))).locations[-1, 0]
    assert printed["glimpses"][-1]["location"] == pytest.approx(inverted.tolist())


def test_what_a_picture_was_brought_to_is_told_in_a_line(
    run: Path, capsys: pytest.CaptureFixture[str]
):
    random_picture(30, 45, mode="RGB").save("cat.png")
    random_picture().save("as trained.png")
    assert call(run, "cat.png", "as trained.png") == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert line == (
        f"cat.png: brought from 45x30 to {SIDE}x{SIDE} and to grey; "
        f"the model knows {', '.join(CLASSES)} only"
    )
    assert call(run, "cat.png", "--native") == 0
    assert "brought to grey; the model knows" in capsys.readouterr().err
    random_picture(30, 60, mode="RGB").save("dog.png")
    assert call(run, "cat.png", "dog.png") == 0
    first, second = capsys.readouterr().err.splitlines()
    assert first == line
    assert second == f"dog.png: brought from 60x30 to {SIDE}x{SIDE} and to grey"
    assert describe_classes([*"0123456789"]) == "the digits 0 to 9"
    assert describe_classes([*"abcdefgh"]) == "a, b, c, d, e, f and 2 more classes"


def test_the_drawing_shows_what_the_model_was_shown(run: Path, monkeypatch: pytest.MonkeyPatch):
    shown = []
    still = "glimpse.pictures.drawing.still"
    monkeypatch.setattr(still, lambda path, name: shown.append(path) or b"")
    sharp = random_picture(90, 90)
    sharp.save("sharp.png")
    assert call(run, "sharp.png") == 0
    (path,) = shown
    assert path.picture.size == (SIDE, SIDE)
    assert np.array_equal(np.array(path.picture), np.array(sharp.resize((SIDE, SIDE))))


def png_claiming(width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    parts = [(b"IHDR", header), (b"IDAT", zlib.compress(b"\0")), (b"IEND", b"")]
    chunks = [
        struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in parts
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def break_picture(kind: str, path: Path) -> None:
    random_picture(40, 40).save(path)
    if kind == "truncated":
        path.write_bytes(path.read_bytes()[:700])
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "no image":
        path.write_text("a picture is worth a thousand words")
    elif kind == "bomb":
        path.write_bytes(png_claiming(60_000, 60_000))
    elif kind == "1x1":
        random_picture(1, 1).save(path)
    elif kind == "missing":
        path.unlink()


@pytest.mark.parametrize("kind", ["truncated", "empty", "no image", "bomb", "1x1", "missing"])
def test_malformed_pictures_have_one_line(kind: str, run: Path, capsys: pytest.CaptureFixture[str]):
    break_picture(kind, Path("odd one.png"))
    assert call(run, "odd one.png") == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith("glimpse show: odd one.png: ")
    assert not Path("scanpaths").exists()


def test_a_broken_picture_does_not_stop_the_others(run: Path, capsys: pytest.CaptureFixture[str]):
    Path("inside/deeper").mkdir(parents=True)
    random_picture().save("inside/first.png")
    break_picture("truncated", Path("inside/second.png"))
    random_picture().save("inside/deeper/third.bmp")
    assert call(run, "nowhere", "inside") == 1
    out, err = capsys.readouterr()
    assert [line.partition(": ")[2].partition(":")[0] for line in err.splitlines()] == [
        "nowhere",
        str(Path("inside/second.png")),
    ]
    assert len(out.splitlines()) == 2
    written = sorted(path.name for path in Path("scanpaths").iterdir())
    assert written == ["first.scanpath.png", "third.scanpath.png"]


def test_cmyk_deep_and_animated_pictures(
    tmp_path: Path, run: Path, capsys: pytest.CaptureFixture[str]
):
    grey, colours = random_picture(), random_picture(mode="RGB")
    colours.convert("CMYK").save("cmyk.tif")
    Image.fromarray(np.array(grey).astype(np.uint16) * 257).save("deep.png")
    grey.save("animated.gif", save_all=True, append_images=[Image.new("L", (SIDE, SIDE))])
    assert call(run, "cmyk.tif", "deep.png", "animated.gif", "--json") == 0
    _, deep, animated = json.loads(capsys.readouterr().out)
    expected = episode(grey).logits[-1, 0].softmax(-1).tolist()
    for printed in (deep, animated):
        assert list(printed["glimpses"][-1]["probabilities"].values()) == pytest.approx(
            expected, abs=1e-5
        )
    assert call(save_run(tmp_path / "colour", channels=3), "cmyk.tif") == 0


def test_outputs_never_meet(run: Path):
    for folder in ("a", "b", "scanpaths"):
        Path(folder).mkdir()
    files = [Path(name) for name in ("a/x.png", "b/x.png", "a/X.bmp", "scanpaths/x-2.scanpath.png")]
    targets = [target.name for _, target in name_outputs(files, Path("scanpaths"), "scanpath")]
    assert targets == [
        *("x.scanpath.png", "x-3.scanpath.png", "X-4.scanpath.png"),
        "x-2.scanpath.scanpath.png",
    ]

    for file in (files[0], files[1], files[3]):
        random_picture().save(file)
    mine = files[3].read_bytes()
    assert call(run, files[0], files[3]) == 0
    assert files[3].read_bytes() == mine
    assert {path.name for path in Path("scanpaths").iterdir()} == {
        targets[0],
        targets[3],
        files[3].name,
    }


def test_large_pictures(run: Path, capsys: pytest.CaptureFixture[str]):
    large = Image.new("L", (4096, 4096), 200)
    large.paste(0, (2048, 0, 4096, 4096))
    large.save("large.bmp")
    assert call(run, "large.bmp", "--native", "--json") == 0
    (printed,) = json.loads(capsys.readouterr().out)
    assert printed["looked_at_size"] == [4096, 4096]
    with Image.open("scanpaths/large.scanpath.png") as drawn:
        assert max(drawn.size) < 3000


def test_bad_arguments(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    random_picture().save("noise.png")
    Path("taken").write_text("")
    for arguments, word in (
        ((run, "noise.png", "--glimpses", 0), "glimpses must be from 1 to 64, not 0"),
        ((run, "noise.png", "--glimpses", 65), "glimpses must be from 1 to 64, not 65"),
        ((run, "noise.png", "--out", "taken"), "taken"),
        ((tmp_path / "none", "noise.png"), "none"),
        ((run,), "no picture"),
    ):
        assert call(*arguments) == 2
        _, err = capsys.readouterr()
        assert err.count("\n") == 1
        assert word in err


def test_as_a_process_with_a_name_that_is_no_text(run: Path):
    name = os.fsdecode(b"caf\xe9 $x^2$.png")
    try:
        random_picture().save(name)
    except (OSError, UnicodeError):
        pytest.skip("this file system takes no such name")
    command = [sys.executable, "-m", "glimpse", "show", str(run), name, "--json"]
    environment = os.environ | {
        "PYTHONPATH": str(Path(__file__).parent.parent),
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)[0]["file"] == name
