"""Class folders with broken, missing or misplaced pictures."""

import numpy as np
import pytest
from class_folders import make, picture
from PIL import Image

from core.errors import InputError
from datasets.images.files import encode
from datasets.images.folders import load


def test_broken_pictures_are_counted_by_reason_and_left_out(tmp_path, capsys):
    make(tmp_path, 6, 6)
    for name in ("x1.png", "x2.png", "x3.jpg", "x4.gif"):
        (tmp_path / "cat" / name).write_bytes(b"broken")
    noise = np.random.default_rng(0).integers(0, 256, (60, 80), dtype=np.uint8)
    half = encode(Image.fromarray(noise), "PNG")[:2400]
    (tmp_path / "dog" / "00.png").write_bytes(half)
    (tmp_path / "dog" / "01.png").write_bytes(b"")
    picture(tmp_path / "dog", "dot.png", 1, (1, 1))
    splits = load(tmp_path)
    assert len(splits.train) + len(splits.validation) + len(splits.test) == 10
    (line,) = capsys.readouterr().err.splitlines()
    assert f"7 of 17 pictures in {tmp_path} are left out: " in line
    reasons = line.partition(" are left out: ")[2].split("; ")
    assert [reason.partition(" (")[0] for reason in reasons] == [
        "4 x not a picture that Pillow can read",
        "1 x smaller than 2 x 2 pixels",
        "1 x the file is empty",
        "1 x the picture is broken",
    ]
    assert reasons[0].count("cat/x") == 3
    assert reasons[0].endswith(", ...)")
    assert reasons[3].endswith("(dog/00.png)")


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1)])
def test_pictures_that_show_refuses_are_not_trained_on(tmp_path, capsys, shape):
    make(tmp_path, 6, 6)
    picture(tmp_path / "cat", "dot.png", 1, shape)
    splits = load(tmp_path)
    assert len(splits.train) + len(splits.validation) + len(splits.test) == 12
    assert "dot.png" in capsys.readouterr().err


def empty(folder):
    folder.mkdir()


def one_class(folder):
    make(folder, 5, 0)


def too_few(folder):
    make(folder, 2, 5)


def empty_class(folder):
    make(folder, 0, 5)
    (folder / "cat").mkdir()


def loose_files(folder):
    picture(folder, "a.png", 1)


def all_broken(folder):
    for name in ("cat", "dog"):
        (folder / name).mkdir(parents=True)
        (folder / name / "a.png").touch()


def train_alone(folder):
    make(folder / "train")


def two_validations(folder):
    for part in ("train", "val", "validation", "test"):
        make(folder / part)


def splits_beside_another(folder):
    for part in ("train", "valid", "unlabelled"):
        make(folder / part, 5, 5)


def longer_names(folder):
    for part in ("train_images", "test_images"):
        make(folder / part, 5, 5)


def nothing_to_learn_from(folder):
    for part in ("valid", "test"):
        make(folder / part, 5, 5)


def new_class_in_test(folder):
    make(folder / "train")
    make(folder / "test")
    picture(folder / "test" / "emu", "a.png", 1)


def empty_test(folder):
    make(folder / "train")
    (folder / "test").mkdir()


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (empty, "pets: no class folders"),
        (one_class, r"pets: one class only \(cat\)"),
        (too_few, "cat: 2 readable pictures, of 3 or more"),
        (empty_class, "cat: 0 readable pictures, of 3 or more"),
        (loose_files, "pets: no class folders"),
        (all_broken, "pets: not one readable picture"),
        (train_alone, "pets: train/ alone"),
        (two_validations, "pets: both val/ and validation/"),
        (splits_beside_another, "pets: are train/, unlabelled/, valid/ splits or classes?"),
        (longer_names, "pets: are test_images/, train_images/ splits or classes?"),
        (nothing_to_learn_from, "pets: test/ and valid/ name splits, and there is no train/"),
        (new_class_in_test, "emu: there is no class emu to train on"),
        (empty_test, "test: not one readable picture"),
    ],
)
def test_malformed_folders_are_one_line(tmp_path, build, message):
    build(tmp_path / "pets")
    with pytest.raises(InputError, match=message) as error:
        load(tmp_path / "pets")
    assert "\n" not in str(error.value)
