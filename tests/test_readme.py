"""Every command of the README, run as it stands there but at toy size."""

import gzip
import runpy
import shlex
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core import cli
from glimpse.__main__ import VERBS

README = (Path(__file__).parent.parent / "README.md").read_text()
COMMANDS = [shlex.split(line, comments=True)[2:] for line in README.splitlines() if line.startswith("uv run ")]
TOY = ["--steps", "2", "--batch", "4", "--what", "8", "--where", "8", "--glimpse", "8", "--hidden", "8", "--quiet"]
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
    """A working directory with what the commands speak of."""
    monkeypatch.chdir(tmp_path)
    write_mnist(tmp_path / "data/MNIST/raw")
    random = np.random.default_rng(0)
    for name in ("photo.png", "folder/a.png", *(f"FOLDER/{c}/{n}.png" for c in ("cat", "dog") for n in range(5))):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (40, 50, 3), dtype=np.uint8)).save(tmp_path / name)
    return tmp_path


def test_readme_commands(place, monkeypatch):
    assert len(COMMANDS) >= 8
    for program, *words in COMMANDS:
        if program == "glimpse":
            toy = TOY if words[0] == "train" and "--resume" not in words else []
            assert cli.main("glimpse", VERBS, [*words, *toy]) == 0, words
        elif program == "python":
            assert words[0] == "-m"
            toy = ["--rounds", "1"] if words[1].startswith("benchmarks") else []
            monkeypatch.setattr(sys, "argv", [*words[1:], *toy])
            monkeypatch.delitem(sys.modules, words[1], raising=False)  # imported by another test, perhaps
            with pytest.raises(SystemExit) as end:
                runpy.run_module(words[1], run_name="__main__", alter_sys=True)
            assert not end.value.code, words
        else:
            assert program in ELSEWHERE, program
    for left in ("runs/glimpse/digits/scanpaths.png", "scanpaths/photo.scanpath.png", "gradient_flow.png"):
        assert (place / left).stat().st_size > 1000, left
