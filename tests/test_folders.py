"""Class folders of real files: splits, sizes, colours, and what is wrong with a folder."""

import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from core.errors import InputError
from datasets import digits
from datasets.folders import letterbox, load


def picture(folder, name, value, shape=(6, 8)):
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full(shape, value, dtype=np.uint8)).save(folder / name)


def make(folder, cats=20, dogs=40, first=0):
    """Grey pictures of 6x8, each of its own value: cats from `first`, dogs from 100 + `first`."""
    for number in range(cats):
        picture(folder / "cat", f"{number:02}.png", first + number)
    for number in range(dogs):
        picture(folder / "dog", f"{number:02}.png", 100 + first + number)
    return folder


def values(images):
    return images.images[:, 0, 0, 0].tolist()


def test_each_class_is_split_70_15_15(tmp_path):
    splits = digits.load(str(make(tmp_path / "pets")))
    assert splits.train.classes == ("cat", "dog")
    assert splits.train.images.shape == (42, 1, 6, 8)
    assert [
        part.labels.bincount().tolist() for part in (splits.train, splits.validation, splits.test)
    ] == [
        [14, 28],
        [3, 6],
        [3, 6],
    ]
    found = values(splits.train) + values(splits.validation) + values(splits.test)
    assert sorted(found) == [*range(20), *range(100, 140)]
    for part in (splits.train, splits.validation, splits.test):
        assert [int(value >= 100) for value in values(part)] == part.labels.tolist()


def test_the_split_hangs_on_the_names_alone(tmp_path):
    here = load(make(tmp_path / "here"))
    shutil.copytree(tmp_path / "here", tmp_path / "elsewhere")
    there = load(tmp_path / "elsewhere")
    assert values(here.test) == values(there.test)
    for number in range(20, 23):
        picture(tmp_path / "here" / "cat", f"{number:02}.png", number)
    grown = load(tmp_path / "here")
    moved = set(values(here.test)) - set(values(grown.test))
    assert len(moved) <= 3
    assert {value for value in moved if value >= 100} == set()


@pytest.mark.parametrize("name", ["val", "validation"])
def test_given_splits_are_kept(tmp_path, name):
    make(tmp_path / "train", 4, 4)
    make(tmp_path / name, 2, 2, first=20)
    make(tmp_path / "test", 0, 3, first=40)
    splits = load(tmp_path)
    assert sorted(values(splits.train)) == [0, 1, 2, 3, 100, 101, 102, 103]
    assert sorted(values(splits.validation)) == [20, 21, 120, 121]
    assert sorted(values(splits.test)) == [140, 141, 142]
    assert splits.test.labels.tolist() == [1, 1, 1]


def test_without_validation_it_is_held_out_of_train(tmp_path):
    make(tmp_path / "train", 20, 20)
    make(tmp_path / "test", 2, 2, first=40)
    splits = load(tmp_path)
    assert splits.validation.labels.bincount().tolist() == [3, 3]
    assert sorted(values(splits.train) + values(splits.validation)) == [
        *range(20),
        *range(100, 120),
    ]
    assert sorted(values(splits.test)) == [40, 41, 140, 141]


def test_the_most_common_size_is_taken_and_others_are_letterboxed(tmp_path):
    make(tmp_path, 10, 10)
    picture(tmp_path / "cat", "tall.png", 200, (12, 4))
    splits = load(tmp_path)
    everything = torch.cat([splits.train.images, splits.validation.images, splits.test.images])
    assert everything.shape == (21, 1, 6, 8)
    tall = everything[everything.amax((1, 2, 3)) == 200]
    assert (tall[0, 0, :, 3:5] == 200).all()
    assert tall.sum() == 200 * 6 * 2
    assert load(tmp_path, size=(12, 10)).train.images.shape[1:] == (1, 12, 10)
    with pytest.raises(InputError, match="at least 1x1, not 0x5"):
        load(tmp_path, size=(0, 5))


def test_large_pictures_are_scaled_down(tmp_path):
    for name in ("cat", "dog"):
        for number in range(3):
            picture(tmp_path / name, f"{number}.png", 9, (300, 200))
    assert load(tmp_path).train.images.shape[1:] == (1, 128, 85)
    assert load(tmp_path, size=(300, 200)).train.images.shape[1:] == (1, 300, 200)


def test_letterbox_keeps_thin_pictures():
    thin = Image.fromarray(np.full((1, 1000), 255, dtype=np.uint8))
    boxed = np.asarray(letterbox(thin, (9, 9)))
    assert boxed.shape == (9, 9)
    assert (boxed[4] == 255).all()
    assert boxed.sum() == 9 * 255


def test_one_colour_picture_makes_all_rgb(tmp_path):
    make(tmp_path, 4, 4)
    Image.new("RGB", (8, 6), (10, 20, 30)).save(tmp_path / "dog" / "red.png")
    splits = load(tmp_path)
    everything = torch.cat([splits.train.images, splits.validation.images, splits.test.images])
    assert everything.shape == (9, 3, 6, 8)
    colours = sorted(everything[:, :, 0, 0].tolist())
    assert [10, 20, 30] in colours
    assert [3, 3, 3] in colours


def test_broken_pictures_are_named_once_and_left_out(tmp_path, capsys):
    make(tmp_path, 6, 6)
    for name in ("x1.png", "x2.png", "x3.jpg", "x4.gif"):
        (tmp_path / "cat" / name).write_bytes(b"broken")
    whole = (tmp_path / "dog" / "00.png").read_bytes()
    (tmp_path / "dog" / "00.png").write_bytes(whole[: len(whole) // 2])
    splits = load(tmp_path)
    assert len(splits.train) + len(splits.validation) + len(splits.test) == 11
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert "5 of 16 pictures" in lines[0]
    assert lines[0].count(", ") == 3  # three names and "..."


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


def no_test(folder):
    make(folder / "train")
    make(folder / "val")


def two_validations(folder):
    for part in ("train", "val", "validation", "test"):
        make(folder / part)


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
        (no_test, "pets: train/ but no test/"),
        (two_validations, "pets: both val/ and validation/"),
        (new_class_in_test, "emu: there is no class emu to train on"),
        (empty_test, "test: not one readable picture"),
    ],
)
def test_malformed_folders_are_one_line(tmp_path, build, message):
    build(tmp_path / "pets")
    with pytest.raises(InputError, match=message) as error:
        load(tmp_path / "pets")
    assert "\n" not in str(error.value)
