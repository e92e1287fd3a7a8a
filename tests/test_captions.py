"""Captioned images in every format, as small real files."""

import json
import shutil
from pathlib import Path

import pytest
from captioned import NAMES, coco, draw, everything, files, flickr8k, found, sha, simple, write

from datasets.captions import captioned


@pytest.mark.usefixtures("silent")
def test_coco_with_splits(tmp_path: Path):
    coco(tmp_path / "annotations" / "captions_train2017.json", simple(NAMES[:6]))
    coco(tmp_path / "annotations" / "captions_val2017.json", simple(NAMES[:4]))
    write(tmp_path / "annotations" / "instances_val2017.json", "{}")
    draw(tmp_path / "train2017", NAMES[:6])
    draw(tmp_path / "val2017", NAMES[:4])
    for source in (tmp_path, tmp_path / "annotations"):
        splits = captioned.load(source)
        assert found(splits.train) == {
            name: ("a picture", f"the picture {name[0]}") for name in NAMES[:6]
        }
        assert files(splits.train) == {
            name: sha(tmp_path / "train2017" / name) for name in NAMES[:6]
        }
        assert files(splits.validation) == {
            name: sha(tmp_path / "val2017" / name) for name in NAMES[:4]
        }
        assert not splits.test
    one_file = captioned.load(tmp_path / "annotations" / "captions_val2017.json")
    assert files([*one_file.train, *one_file.validation, *one_file.test]) == files(
        splits.validation
    )


@pytest.mark.usefixtures("silent")
def test_coco_with_one_folder_of_pictures(tmp_path: Path):
    coco(tmp_path / "annotations" / "captions_train.json", simple(NAMES[:5]))
    coco(tmp_path / "annotations" / "captions_val.json", simple(NAMES[5:7]))
    coco(tmp_path / "annotations" / "captions_test.json", simple(NAMES[7:]))
    draw(tmp_path / "images")
    splits = captioned.load(str(tmp_path))
    assert [list(found(part)) for part in (splits.train, splits.validation, splits.test)] == [
        NAMES[:5],
        NAMES[5:7],
        NAMES[7:],
    ]


@pytest.mark.usefixtures("silent")
def test_coco_with_numbers_written_as_text(tmp_path: Path):
    file = coco(tmp_path / "captions.json", simple())
    data = json.loads(file.read_text())
    for image in data["images"]:
        image["id"] = str(image["id"])
    write(file, json.dumps(data))
    draw(tmp_path)
    said = everything(captioned.load(str(file)))
    assert {name: set(texts) for name, texts in said.items()} == {
        name: set(texts) for name, texts in simple().items()
    }


@pytest.mark.usefixtures("silent")
def test_karpathy(tmp_path: Path):
    kinds = ["train", "restval", "val", "test", "train"]
    images = [
        {
            "filepath": "val2014",
            "filename": name,
            "split": kind,
            "sentences": [{"raw": f"{name} 🐶", "tokens": []}],
        }
        for name, kind in zip(NAMES, kinds, strict=False)
    ]
    file = write(tmp_path / "dataset_coco.json", json.dumps({"images": images, "dataset": "coco"}))
    draw(tmp_path / "pictures" / "val2014", NAMES[:5])
    splits = captioned.load(file, tmp_path / "pictures")
    assert list(found(splits.train)) == ["val2014/a.jpg", "val2014/b.jpg", "val2014/e.jpg"]
    assert found(splits.validation) == {"val2014/c.jpg": ("c.jpg 🐶",)}
    assert found(splits.test) == {"val2014/d.jpg": ("d.jpg 🐶",)}
    again = captioned.load(tmp_path, tmp_path / "pictures" / "val2014")
    assert files(again.train) == files(splits.train), "pictures may lie in one folder all the same"
    for image in images:
        del image["filepath"]
    write(file, json.dumps({"images": images}))
    shutil.move(tmp_path / "pictures" / "val2014", tmp_path / "images")
    assert list(found(captioned.load(tmp_path).train)) == ["a.jpg", "b.jpg", "e.jpg"]


@pytest.mark.usefixtures("silent")
@pytest.mark.parametrize("title", ["image", "file_name", "filename"])
@pytest.mark.parametrize("indent", [None, 1])
def test_a_list_of_objects(tmp_path: Path, title: str, indent: int | None):
    draw(tmp_path / "images", NAMES[:3])
    rows = [
        {title: "a.jpg", "caption": "one"},
        {title: "b.jpg", "captions": ["two", "three"]},
        {title: "images/c.jpg", "text": "four"},
        {title: "a.jpg", "caption": "five", "image_id": 5},
    ]
    file = write(tmp_path / "captions.json", json.dumps(rows, indent=indent))
    expected = {"a.jpg": ("one", "five"), "b.jpg": ("two", "three"), "images/c.jpg": ("four",)}
    assert everything(captioned.load(file)) == expected
    assert everything(captioned.load(tmp_path)) == expected
    for row, split in zip(rows, ("train", "val", "test", "train"), strict=True):
        row["split"] = split
    write(file, json.dumps(rows, indent=indent))
    splits = captioned.load(file)
    assert found(splits.train) == {"a.jpg": ("one", "five")}
    assert found(splits.validation) == {"b.jpg": ("two", "three")}
    assert found(splits.test) == {"images/c.jpg": ("four",)}


@pytest.mark.usefixtures("silent")
@pytest.mark.parametrize("indent", [None, 1])
def test_captions_by_picture(tmp_path: Path, indent: int | None):
    draw(tmp_path, NAMES[:3])
    data = {"a.jpg": ["one", "two"], "b.jpg": "three", "c.jpg": ["four"]}
    file = write(tmp_path / "captions_train.json", json.dumps(data, indent=indent))
    expected = {"a.jpg": ("one", "two"), "b.jpg": ("three",), "c.jpg": ("four",)}
    assert everything(captioned.load(file)) == expected
    assert everything(captioned.load(tmp_path)) == expected


@pytest.mark.usefixtures("silent")
def test_flickr8k_with_its_lists(tmp_path: Path):
    token = flickr8k(tmp_path)
    for source in (tmp_path, tmp_path / "Flickr8k_text", token):
        splits = captioned.load(source)
        assert list(found(splits.train)) == NAMES[:6]
        assert list(found(splits.validation)) == ["g.jpg", "h.jpg"]
        assert found(splits.test)["j.jpg"] == tuple(f"picture j , sentence {n} ." for n in range(5))
        assert len(splits.test) == 2


@pytest.mark.usefixtures("silent")
def test_tokens_without_lists(tmp_path: Path):
    names = [*NAMES[:3], "is #1.jpg", "d e.jpg"]
    file = write(
        tmp_path / "results_20130124.token",
        "\ufeff"
        + "".join(
            f"{name}#{n}\t\u201cNo. #3\u2028\t😀\u201d , {n}\r\n" for name in names for n in (0, 1)
        ),
    )
    draw(tmp_path / "flickr30k-images", names)
    said = everything(captioned.load(file))
    assert said == dict.fromkeys(names, ("\u201cNo. #3 😀\u201d , 0", "\u201cNo. #3 😀\u201d , 1"))


@pytest.mark.usefixtures("silent")
@pytest.mark.parametrize("name", ["captions.txt", "captions.csv"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_kaggle(tmp_path: Path, name: str, newline: str, mark: str):
    rows = [
        "image,caption",
        "a.jpg,A dog runs .",
        'a.jpg,"A dog, a cat and a ""bird"""',
        "",
        "b.jpg,a dog, not quoted, and a cat",
        'c d#1.jpg, "spaces, too"',
        'b.jpg,Pes 🐶 říká "haf"',
    ]
    write(tmp_path / name, mark + newline.join(rows))
    draw(tmp_path / "Images", ["a.jpg", "b.jpg", "c d#1.jpg"])
    expected = {
        "a.jpg": ("A dog runs .", 'A dog, a cat and a "bird"'),
        "b.jpg": ("a dog, not quoted, and a cat", 'Pes 🐶 říká "haf"'),
        "c d#1.jpg": ("spaces, too",),
    }
    assert (
        everything(captioned.load(tmp_path))
        == everything(captioned.load(tmp_path / name))
        == expected
    )


def test_flickr30k_with_vertical_bars(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    file = write(
        tmp_path / "results.csv",
        "image_name| comment_number| comment\n"
        'a.jpg| 0| " Two , young guys\n'
        "a.jpg| 1| A | B .\n"
        "a.jpg| 4   A dog runs\n"
        "b.jpg| 0| One\n",
    )
    draw(tmp_path / "flickr30k_images")
    assert everything(captioned.load(tmp_path)) == {
        "a.jpg": ('" Two , young guys', "A | B ."),
        "b.jpg": ("One",),
    }
    assert (
        capsys.readouterr().err
        == f"warning: {file}: left out: rows with too few fields (1): line 4\n"
    )


@pytest.mark.usefixtures("silent")
def test_other_tables(tmp_path: Path):
    draw(tmp_path)
    file = write(
        tmp_path / "mine.csv", '"caption";"n";"filename"\nOne; 1; a.jpg\n"Two;\nlines"; 2; b.jpg\n'
    )
    assert everything(captioned.load(file)) == {"a.jpg": ("One",), "b.jpg": ("Two; lines",)}
    file = write(tmp_path / "mine.csv", "file\ttext\na.jpg\tOne \"or\" two\n./b.jpg\t'3', 4\n")
    assert everything(captioned.load(file)) == {"a.jpg": ('One "or" two',), "./b.jpg": ("'3', 4",)}


def test_a_long_caption_is_kept(tmp_path: Path):
    draw(tmp_path, ["a.jpg"])
    long = " ".join(f"word{n}" for n in range(200))
    table = write(tmp_path / "a.csv", f"image,caption\na.jpg,{long}")
    assert everything(captioned.load(table)) == {"a.jpg": (long,)}


def test_scenes():
    splits = captioned.load("scenes")
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (2000, 200, 200)
    image = splits.train[0]
    assert image.open().mode == "RGB"
    assert len(image.captions) == 5
