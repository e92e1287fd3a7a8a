"""Which captioned images are for training, validation and test."""

import json
from pathlib import Path

import pytest
from captioned import NAMES, coco, draw, everything, files, flickr8k, found, sha, simple, write

from core.errors import InputError
from datasets.captions import captioned


def test_images_in_no_list_are_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    token = flickr8k(tmp_path)
    (token.parent / "Flickr_8k.testImages.txt").unlink()
    splits = captioned.load(token)
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (6, 2, 0)
    what = "images that are in none of the lists beside it"
    expected = f"warning: {token}: left out: {what} (2 of 10): i.jpg, j.jpg\n"
    assert capsys.readouterr().err == expected


@pytest.mark.usefixtures("silent")
def test_tables_with_splits_in_their_names(tmp_path: Path):
    draw(tmp_path / "images" / "train", NAMES[:3])
    draw(tmp_path / "images" / "valid", NAMES[:2])
    write(tmp_path / "captions_train.csv", "image,caption\na.jpg,one\nb.jpg,two\nc.jpg,three\n")
    write(tmp_path / "captions_valid.csv", "image,caption\na.jpg,one\nb.jpg,two\n")
    splits = captioned.load(tmp_path)
    assert files(splits.train) == {
        name: sha(tmp_path / "images" / "train" / name) for name in NAMES[:3]
    }
    assert files(splits.validation) == {
        name: sha(tmp_path / "images" / "valid" / name) for name in NAMES[:2]
    }


@pytest.mark.usefixtures("silent")
def test_pictures_with_texts_in_folders_of_splits(tmp_path: Path):
    for part, count in (("train", 5), ("val", 2), ("test", 3)):
        draw(tmp_path / part, NAMES[:count])
        for name in NAMES[:count]:
            write(tmp_path / part / f"{name[0]}.txt", "something")
    splits = captioned.load(tmp_path)
    assert list(found(splits.validation)) == ["val/a.jpg", "val/b.jpg"]
    assert (len(splits.train), len(splits.test)) == (5, 3)


@pytest.mark.usefixtures("silent")
def test_without_given_splits_they_depend_only_on_names(tmp_path: Path):
    names = [f"{n:03}.jpg" for n in range(100)]
    draw(tmp_path / "images", names)
    splits = captioned.load(coco(tmp_path / "mine.json", simple(names)))
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (90, 5, 5)
    assert sorted(everything(splits)) == names
    shuffled = captioned.load(coco(tmp_path / "other.json", simple(names[::-1])))
    assert found(shuffled.validation) == found(splits.validation)
    assert found(shuffled.test) == found(splits.test)
    draw(tmp_path / "images", ["new.jpg"])
    grown = captioned.load(coco(tmp_path / "grown.json", simple([*names, "new.jpg"])))
    assert len(found(grown.test).keys() - found(splits.test).keys()) <= 1


@pytest.mark.usefixtures("silent")
@pytest.mark.parametrize(
    ("count", "sizes"), [(1, (1, 0, 0)), (2, (2, 0, 0)), (3, (1, 1, 1)), (10, (8, 1, 1))]
)
def test_splits_of_small_sets(tmp_path: Path, count: int, sizes: tuple[int, int, int]):
    draw(tmp_path)
    splits = captioned.load(coco(tmp_path / "captions.json", simple(NAMES[:count])))
    assert (len(splits.train), len(splits.validation), len(splits.test)) == sizes


@pytest.mark.usefixtures("silent")
def test_a_missing_validation_part_is_held_out_of_train(tmp_path: Path):
    draw(tmp_path)
    coco(tmp_path / "captions_train.json", simple(NAMES[:8]))
    coco(tmp_path / "captions_test.json", simple(NAMES[8:]))
    splits = captioned.load(tmp_path)
    assert (len(splits.train), len(splits.validation)) == (7, 1)
    assert list(found(splits.test)) == NAMES[8:]
    (tmp_path / "captions_train.json").unlink()
    splits = captioned.load(tmp_path)
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (0, 0, 2)


def test_a_file_without_a_split_beside_files_with_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    draw(tmp_path)
    coco(tmp_path / "captions_train.json", simple(NAMES[:5]))
    coco(tmp_path / "captions_val.json", simple(NAMES[5:7]))
    coco(tmp_path / "captions_extra.json", simple(NAMES[7:]))
    splits = captioned.load(tmp_path)
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (5, 2, 0)
    what = "caption files whose names tell no split"
    printed = f"warning: {tmp_path}: left out: {what} (1): captions_extra.json\n"
    assert capsys.readouterr().err == printed


def test_two_files_and_no_splits(tmp_path: Path):
    draw(tmp_path, ["a.jpg"])
    for name in ("captions.csv", "captions.txt"):
        write(tmp_path / name, "image,caption\na.jpg,one\n")
    with pytest.raises(
        InputError, match=r"more than one caption file \(captions\.csv, captions\.txt\)"
    ):
        captioned.load(tmp_path)


TABLE = ["image,caption,split", *(f"{name},a dog,train" for name in NAMES[:4])]
TABLE += [f"{name},a cat,val" for name in NAMES[4:7]] + [f"{name},a hen,TEST" for name in NAMES[7:]]


@pytest.mark.usefixtures("silent")
@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_splits_in_a_column_of_the_table(tmp_path: Path, kind: str):
    draw(tmp_path)
    lines = TABLE
    if kind == "jsonl":
        rows = [dict(zip(("image", "text", "split"), row.split(","), strict=True)) for row in TABLE]
        lines = [json.dumps(row) for row in rows[1:]]
    splits = captioned.load(write(tmp_path / f"captions.{kind}", "\n".join(lines)))
    assert list(found(splits.train)) == NAMES[:4]
    assert list(found(splits.validation)) == NAMES[4:7]
    assert list(found(splits.test)) == NAMES[7:]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["a.jpg,a dog,holdout"], "line 12: unknown split 'holdout'; it must be one of train, "),
        (["a.jpg,a dog,"], "line 12: unknown split ''"),
        (["a.jpg,a dog,test"], "line 12: a.jpg is in test here, and in train above"),
    ],
)
def test_a_wrong_split_is_named(tmp_path: Path, rows: list[str], message: str):
    draw(tmp_path)
    with pytest.raises(InputError, match=message):
        captioned.load(write(tmp_path / "captions.csv", "\n".join(TABLE + rows)))


def test_a_split_that_only_some_lines_have_is_named(tmp_path: Path):
    draw(tmp_path)
    lines = [{"image": "a.jpg", "text": "a dog", "split": "test"}, {"image": "b.jpg", "text": "a"}]
    file = write(tmp_path / "captions.jsonl", "\n".join(map(json.dumps, lines)))
    with pytest.raises(InputError, match=r"some pictures have a split \(test\), others none"):
        captioned.load(file)
