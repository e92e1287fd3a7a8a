"""Class folders of real files: splits, sizes, colours, and what is wrong with a folder."""

import shutil

import numpy as np
import pytest
import torch
from class_folders import make, picture
from PIL import Image

from core.errors import InputError
from datasets.images import digits, files
from datasets.images.folders import load, load_all
from datasets.images.labelled_files import ImageFiles
from datasets.images.store import Decoding, InMemory, Mapped


def values(images):
    return images.images[:, 0, 0, 0].tolist()


def names(images):
    return [origin.name for origin in images.origins]


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


def test_the_split_depends_only_on_names(tmp_path):
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


@pytest.mark.parametrize(
    ("train", "validation", "test"),
    [
        ("train", "valid", "test"),
        ("train", "dev", "test"),
        ("training", "validation", "testing"),
        ("Train", None, "Test"),
        ("train", None, "test"),
    ],
)
def test_splits_by_other_names_are_no_classes(tmp_path, train, validation, test):
    (tmp_path / "__MACOSX" / "train").mkdir(parents=True)
    make(tmp_path / train, 4, 4)
    make(tmp_path / test, 2, 2, first=40)
    if validation:
        make(tmp_path / validation, 2, 2, first=20)
    splits = load(tmp_path)
    assert splits.train.classes == ("cat", "dog")
    assert sorted(values(splits.test)) == [40, 41, 140, 141]
    if validation:
        assert sorted(values(splits.validation)) == [20, 21, 120, 121]


def test_a_class_may_be_called_like_a_split(tmp_path):
    for number in range(3):
        picture(tmp_path / "bus", f"{number}.png", number)
        picture(tmp_path / "train", f"{number}.png", 100 + number)
        picture(tmp_path / "tram", f"{number}.png", 200 + number)
    assert load(tmp_path).train.classes == ("bus", "train", "tram")


def test_classes_may_be_divided_alike(tmp_path):
    for name in ("cat", "dog"):
        for place in ("indoor", "outdoor"):
            for number in range(3):
                picture(tmp_path / name / place, f"{number}.png", number)
    assert load(tmp_path).train.classes == ("cat", "dog")


def test_without_a_test_part_the_validation_images_stand_for_it(tmp_path):
    make(tmp_path / "train", 4, 4)
    make(tmp_path / "val", 2, 2, first=20)
    splits = load(tmp_path)
    assert splits.test is splits.validation
    moved = splits.to("cpu")
    assert moved.test is moved.validation
    assert sorted(names(splits.validation)) == [
        *("cat/00.png", "cat/01.png"),
        *("dog/00.png", "dog/01.png"),
    ]
    cats = splits.validation[splits.validation.labels == 0]
    assert sorted(zip(names(cats), values(cats), strict=True)) == [
        ("cat/00.png", 20),
        ("cat/01.png", 21),
    ]


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


def test_pictures_keep_their_sizes_unless_one_is_given(tmp_path):
    make(tmp_path, 10, 10)
    picture(tmp_path / "cat", "tall.png", 200, (300, 4))
    splits = load(tmp_path)
    parts = splits.train, splits.validation, splits.test
    everything = [image for part in parts for image in part.fetch(torch.arange(len(part)))]
    assert sum(len(part) for part in parts) == len(everything) == 21
    shapes = sorted(tuple(image.shape) for image in everything)
    assert shapes == [(1, 6, 8)] * 20 + [(1, 300, 4)]
    (tall,) = (image for image in everything if image.shape[1] == 300)
    assert (tall == 200).all()
    fitted = load(tmp_path, size=(12, 10)).train.images
    assert fitted.shape[1:] == (1, 12, 10)
    with pytest.raises(InputError, match="at least 1x1, not 0x5"):
        load(tmp_path, size=(0, 5))


def mixed_sizes(folder, count=12):
    """RGB pictures of many sizes, some lying on their side by EXIF."""
    random = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (folder / name).mkdir(parents=True)
        for number in range(count):
            shape = (*random.integers(5, 90, 2), 3)
            pixels = Image.fromarray(random.integers(0, 256, shape, dtype=np.uint8))
            exif = Image.Exif()
            exif[0x0112] = 6 if number % 3 else 1
            pixels.save(folder / name / f"{number}.jpg", exif=exif)
    return folder


def store(splits):
    """Where the pictures are held."""
    assert isinstance(splits.train, ImageFiles)
    return splits.train.store


def fetched(images):
    return list(images.fetch(torch.arange(len(images))))


def test_pictures_are_the_same_wherever_they_are_held(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = mixed_sizes(tmp_path / "pets")
    noise = np.random.default_rng(1).integers(0, 256, (60, 60, 3), dtype=np.uint8)
    Image.fromarray(noise).save(folder / "cat" / "broken.png")
    whole = (folder / "cat" / "broken.png").read_bytes()
    (folder / "cat" / "broken.png").write_bytes(whole[: len(whole) // 2])
    held = load(folder)
    assert type(store(held)) is InMemory
    capsys.readouterr()
    mapped = load(folder, memory=1e-4)
    assert type(store(mapped)) is Mapped
    first, *others = capsys.readouterr().err.splitlines()
    assert first.startswith("decoding 25 pictures once")
    assert "1 of 25 pictures" in others[0]
    again = load(folder, memory=1e-4, workers=3)
    assert "decoding" not in capsys.readouterr().err
    for splits in (mapped, again):
        assert_same_pictures(splits, held)
    (folder / "cat" / "broken.png").unlink()
    monkeypatch.setattr("datasets.images.store.SHARE_OF_DISK", 0)
    decoded = load(folder, memory=1e-4, workers=1)
    assert type(store(decoded)) is Decoding
    decoded.train.prefetch(torch.tensor([0, 1, 0]))
    assert_same_pictures(decoded, load(folder))


def assert_same_pictures(splits, expected):
    for part in ("train", "validation", "test"):
        images = getattr(splits, part)
        others = getattr(expected, part)
        assert images.labels.equal(others.labels)
        for one, other in zip(fetched(images), fetched(others), strict=True):
            assert torch.equal(one, other)


def test_a_changed_picture_is_decoded_anew(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = mixed_sizes(tmp_path / "pets")
    assert type(store(load(folder, memory=1e-4))) is Mapped
    for name in ("cat", "dog"):
        for number in range(12):
            Image.new("RGB", (30, 40 + number), (7, 8, 9)).save(folder / name / f"{number}.png")
            (folder / name / f"{number}.jpg").unlink()
    images = fetched(load(folder, memory=1e-4).train)
    assert all((image.amax((1, 2)) == torch.tensor([7, 8, 9])).all() for image in images)


def test_a_picture_larger_than_the_memory_is_named(tmp_path):
    folder = mixed_sizes(tmp_path / "pets")
    Image.new("RGB", (400, 300)).save(folder / "cat" / "huge.png")
    with pytest.raises(InputError, match=r"huge.png: 300 x 400 pixels .*--memory 0.0005"):
        load(folder, memory=5e-4)


def test_all_pictures_of_all_splits(tmp_path):
    make(tmp_path / "train", 4, 4)
    make(tmp_path / "test", 0, 3, first=40)
    everything = load_all(tmp_path, ("ant", "cat", "dog"), grey=False)
    assert everything.classes == ("ant", "cat", "dog")
    assert everything.labels.bincount().tolist() == [0, 4, 7]
    assert everything.images.shape == (11, 3, 6, 8)
    with pytest.raises(InputError, match="no class dog"):
        load_all(tmp_path, ("cat", "cow"), grey=True)


def test_what_is_left_out_is_reported_once(tmp_path, monkeypatch, capsys):
    make(tmp_path, 6, 6)
    for name in ("a.HEIC", "b.heic", "c.cr2", "notes.txt"):
        (tmp_path / "cat" / name).write_bytes(b"")
    shown = tuple(each for each in files.SUFFIXES if each not in files.HEIC)
    monkeypatch.setattr(files, "SUFFIXES", shown)
    load(tmp_path)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith(
        "1 .cr2: a format that is not read; convert it to JPEG or PNG; "
        '2 .heic: install the extra "heic"'
    )
    assert len(files.find_pictures([tmp_path])) == 12
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_one_colour_picture_makes_all_rgb(tmp_path):
    make(tmp_path, 4, 4)
    Image.new("RGB", (8, 6), (10, 20, 30)).save(tmp_path / "dog" / "red.png")
    splits = load(tmp_path)
    everything = torch.cat([splits.train.images, splits.validation.images, splits.test.images])
    assert everything.shape == (9, 3, 6, 8)
    colours = sorted(everything[:, :, 0, 0].tolist())
    assert [10, 20, 30] in colours
    assert [3, 3, 3] in colours
