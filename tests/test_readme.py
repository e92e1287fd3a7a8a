"""Every command of the README, run as it stands there but at toy size."""

import gzip
import runpy
import shlex
import struct
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from videos import put

import captioning.__main__ as captioning
import glimpse.__main__ as glimpse
import sequences.__main__ as sequences
import video.__main__ as video
from core.training import cli
from datasets.captions import scenes
from datasets.videos import sprites

README = (Path(__file__).parent.parent / "README.md").read_text()
WRITTEN = [
    shlex.split(line, comments=True)[2:]
    for line in README.splitlines()
    if line.startswith("uv run ")
]
PROGRAMS = {
    "glimpse": glimpse.COMMANDS,
    "captioning": captioning.COMMANDS,
    "video": video.COMMANDS,
    "sequences": sequences.COMMANDS,
}
SMALL = ["--steps", "2", "--batch", "4", "--hidden", "8", "--quiet"]
TOY = {
    "glimpse": [*SMALL, "--what-units", "8", "--where-units", "8", "--glimpse-units", "8"],
    "captioning": [
        *SMALL,
        "--min-count",
        "1",
        "--visual",
        "8",
        "--embedding",
        "8",
        "--cache",
        "cache",
    ],
    "video": [*SMALL, "--frame", "8", "--cache", "cache"],
    "addition": [
        *SMALL[:2],
        "--candidates",
        "1",
        "--bits",
        "3",
        "--width",
        "5",
        "--lengths",
        "4",
        "--pairs",
        "9",
    ],
    "charlm": SMALL,
    "sentiment": [*SMALL, "--embedding", "8"],
    "translate": [*SMALL, "--embedding", "8"],
}
CAPTIONED = "captions.html", "drawn/photo.caption.png", "captioner.pt", "labelled.webm"
ELSEWHERE = ("pytest", "torchrun")  # this very run, and tests/test_distributed.py


def write_mnist(raw: Path) -> None:
    """Sixty noisy digits in MNIST's file format, so that --download finds its work done."""
    raw.mkdir(parents=True)
    random = np.random.default_rng(0)
    for part in ("train", "t10k"):
        pixels = random.integers(0, 256, (60, 28, 28), dtype=np.uint8)
        labels = np.arange(60, dtype=np.uint8) % 10
        for name, array, magic in (("images-idx3", pixels, 2051), ("labels-idx1", labels, 2049)):
            header = struct.pack(f">I{array.ndim}I", magic, *array.shape)
            (raw / f"{part}-{name}-ubyte.gz").write_bytes(gzip.compress(header + array.tobytes()))


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A working directory with the files that the commands name; drawn data sets are small."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sprites, "load", partial(sprites.load, train=40))
    monkeypatch.setattr(sprites, "VALIDATION", range(4))
    monkeypatch.setattr(sprites, "TEST", range(100, 104))
    monkeypatch.setattr(scenes, "COUNTS", {"train": 40, "validation": 8, "test": 8})
    write_mnist(tmp_path / "data/MNIST/raw")
    random = np.random.default_rng(0)
    for name in (
        "photo.png",
        "photo.jpg",
        "folder/a.png",
        *(f"FOLDER/{c}/{n}.png" for c in ("cat", "dog") for n in range(5)),
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (40, 50, 3), dtype=np.uint8)).save(tmp_path / name)
    boxes = "".join(f"cat/{n}.png,5,5,20,20\n" for n in range(5))
    (tmp_path / "BOXES.csv").write_text("file,x1,y1,x2,y2\n" + boxes)
    for name in (f"CAPTIONS/{n}" for n in range(8)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(random.integers(0, 256, (40, 50, 3), dtype=np.uint8)).save(
            tmp_path / f"{name}.png"
        )
        (tmp_path / f"{name}.txt").write_text("a picture of noise\nnothing to see here\n")
    for name in ("film.mp4", *(f"VIDEOS/{c}/{n}.mp4" for c in ("walk", "run") for n in range(4))):
        put(tmp_path / name)
    for text in ("TEXT", "MORE"):
        (tmp_path / text).write_text("The quick brown fox jumps over the lazy dog. " * 60)
    for name in ("talk.neg", "talk.pos", "train.en", "train.cs", "val.en", "val.cs"):
        (tmp_path / name).write_text("".join(f"sentence {n} of {name[:3]}\n" for n in range(40)))
    return tmp_path


def trains(words):
    """Whether these words after a program's name train something anew."""
    return words[0] == "addition" or ("train" in words[:2] and "--resume" not in words)


def test_readme_commands(place, monkeypatch):
    assert len(WRITTEN) >= 8
    for program, *words in WRITTEN:
        if program in PROGRAMS:
            toy = TOY[words[0] if program == "sequences" else program] if trains(words) else []
            assert cli.main(program, PROGRAMS[program], [*words, *toy]) == 0, words
        elif program == "python":
            assert words[0] == "-m"
            monkeypatch.setattr(sys, "argv", words[1:])
            # Imported by another test, perhaps.
            monkeypatch.delitem(sys.modules, words[1], raising=False)
            with pytest.raises(SystemExit) as end:
                runpy.run_module(words[1], run_name="__main__", alter_sys=True)
            assert not end.value.code, words
        else:
            assert program in ELSEWHERE, program
    for left in (
        "runs/glimpse/digits/scanpaths.png",
        "scanpaths/photo.scanpath.png",
        "gradient_flow.png",
        *CAPTIONED,
    ):
        assert (place / left).stat().st_size > 1000, left
