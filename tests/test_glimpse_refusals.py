"""What `glimpse` refuses is one line and begins nothing."""

import pytest
import torch
from glimpse_command import TOY, glimpse, refused
from PIL import Image

BAD_FLAGS = {
    "unknown preset": (["--preset", "moon"], "moon"),
    "unknown data": (["--data", "nowhere"], "nowhere"),
    "missing data": (["--data", "mnist", "--root", "nothing-here"], "train-images-idx3-ubyte"),
    "small canvas": (["--canvas", "5", "20"], "8x8"),
    "clutter without canvas": (["--preset", "mnist28", "--clutter", "3"], "canvas"),
    "coinciding patches": (["--scales", "2", "--factor", "1"], "factor"),
    "no glimpse": (["--glimpses", "0"], "glimpse"),
    "device": (["--device", "cuda" if torch.backends.mps.is_available() else "mps"], "device"),
    "hidden": (["--hidden", "0"], "hidden"),
    "std": (["--std", "nan"], "std"),
    "shift": (["--preset", "mnist28", "--shift", "-1"], "shift"),
    "no folder": (["--preset", "images"], "FOLDER"),
}


@pytest.mark.parametrize("name", BAD_FLAGS)
def test_bad_flags_are_one_line(name, tmp_path, capfd):
    flags, word = BAD_FLAGS[name]
    assert glimpse("train", *flags, "--runs", tmp_path) == 2
    assert word in refused(capfd)
    assert not list(tmp_path.iterdir())  # nothing was begun


def test_divergence_is_one_line(tmp_path, capfd):
    one_scale = ["--canvas", "None", "--scales", "1", "--learning-rate", "1e38"]
    assert glimpse("train", *TOY, *one_scale, "--runs", tmp_path) == 2
    assert "not finite" in refused(capfd)


def test_bad_folders_are_one_line(tmp_path, capfd):
    empty, single = tmp_path / "empty", tmp_path / "single"
    empty.mkdir()
    (single / "only").mkdir(parents=True)
    for n in range(4):
        Image.new("L", (9, 9)).save(single / "only" / f"{n}.png")
    for folder in (empty, single):
        assert glimpse("train", "--data", folder, "--runs", tmp_path / "runs") == 2
        assert str(folder) in refused(capfd)
