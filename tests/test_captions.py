"""Captioned images in every format, as small real files."""

import json
import re
import shutil
from pathlib import Path

import pytest
from captioned import NAMES, coco, draw, everything, files, flickr8k, found, sha, simple, write
from PIL import Image

from core.errors import InputError
from datasets import captions


@pytest.mark.usefixtures("silent")
def test_coco_with_splits(tmp_path: Path):
    coco(tmp_path / "annotations" / "captions_train2017.json", simple(NAMES[:6]))
    coco(tmp_path / "annotations" / "captions_val2017.json", simple(NAMES[:4]))
    write(tmp_path / "annotations" / "instances_val2017.json", "{}")
    draw(tmp_path / "train2017", NAMES[:6])
    draw(tmp_path / "val2017", NAMES[:4])
    for source in (tmp_path, tmp_path / "annotations"):
        splits = captions.load(source)
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
    alone = captions.load(tmp_path / "annotations" / "captions_val2017.json")
    assert files([*alone.train, *alone.validation, *alone.test]) == files(splits.validation)


@pytest.mark.usefixtures("silent")
def test_coco_with_one_folder_of_pictures(tmp_path: Path):
    coco(tmp_path / "annotations" / "captions_train.json", simple(NAMES[:5]))
    coco(tmp_path / "annotations" / "captions_val.json", simple(NAMES[5:7]))
    coco(tmp_path / "annotations" / "captions_test.json", simple(NAMES[7:]))
    draw(tmp_path / "images")
    splits = captions.load(str(tmp_path))
    assert [list(found(part)) for part in (splits.train, splits.validation, splits.test)] == [
        NAMES[:5],
        NAMES[5:7],
        NAMES[7:],
    ]


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
    splits = captions.load(file, tmp_path / "pictures")
    assert list(found(splits.train)) == ["val2014/a.jpg", "val2014/b.jpg", "val2014/e.jpg"]
    assert found(splits.validation) == {"val2014/c.jpg": ("c.jpg 🐶",)}
    assert found(splits.test) == {"val2014/d.jpg": ("d.jpg 🐶",)}
    again = captions.load(tmp_path, tmp_path / "pictures" / "val2014")
    assert files(again.train) == files(splits.train), "pictures may lie in one folder all the same"
    for image in images:
        del image["filepath"]
    write(file, json.dumps({"images": images}))
    shutil.move(tmp_path / "pictures" / "val2014", tmp_path / "images")
    assert list(found(captions.load(tmp_path).train)) == ["a.jpg", "b.jpg", "e.jpg"]


@pytest.mark.usefixtures("silent")
def test_flickr8k_with_its_lists(tmp_path: Path):
    token = flickr8k(tmp_path)
    for source in (tmp_path, tmp_path / "Flickr8k_text", token):
        splits = captions.load(source)
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
    said = everything(captions.load(file))
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
        everything(captions.load(tmp_path))
        == everything(captions.load(tmp_path / name))
        == expected
    )


def test_flickr30k_with_bars(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    file = write(
        tmp_path / "results.csv",
        "image_name| comment_number| comment\n"
        'a.jpg| 0| " Two , young guys\n'
        "a.jpg| 1| A | B .\n"
        "a.jpg| 4   A dog runs\n"
        "b.jpg| 0| One\n",
    )
    draw(tmp_path / "flickr30k_images")
    assert everything(captions.load(tmp_path)) == {
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
    assert everything(captions.load(file)) == {"a.jpg": ("One",), "b.jpg": ("Two; lines",)}
    file = write(tmp_path / "mine.csv", "file\ttext\na.jpg\tOne \"or\" two\n./b.jpg\t'3', 4\n")
    assert everything(captions.load(file)) == {"a.jpg": ('One "or" two',), "./b.jpg": ("'3', 4",)}


@pytest.mark.usefixtures("silent")
def test_pictures_with_texts(tmp_path: Path):
    draw(tmp_path, ["a.jpg", "deeper/a.png", "test/a.jpg"])
    write(tmp_path / "a.txt", "\ufeffKůň běží.\r\n\r\n  Žluťoučký   kůň 🐴 \r\n")
    write(tmp_path / "deeper" / "a.txt", "image,caption\nanother")
    write(tmp_path / "test" / "a.txt", "third")
    splits = captions.load(tmp_path)
    assert everything(splits) == {
        "a.jpg": ("Kůň běží.", "Žluťoučký kůň 🐴"),
        "deeper/a.png": ("image,caption", "another"),
        "test/a.jpg": ("third",),
    }
    digests = files([*splits.train, *splits.validation, *splits.test])
    assert digests == {name: sha(tmp_path / name) for name in digests}, "each its own picture"


def test_pictures_and_their_digests(tmp_path: Path):
    Image.new("L", (3, 2), 9).save(tmp_path / "grey.png")
    Image.new("RGB", (3, 2), (1, 2, 3)).save(tmp_path / "red.png")
    write(tmp_path / "text.jpg", "no picture")
    file = write(
        tmp_path / "captions.csv", "image,caption\ngrey.png,one\nred.png,two\ntext.jpg,three"
    )
    splits = captions.load(file)
    images = {image.name: image for image in (*splits.train, *splits.validation, *splits.test)}
    assert images["grey.png"].open().getpixel((0, 0)) == (9, 9, 9)
    assert images["red.png"].open().getpixel((2, 1)) == (1, 2, 3)
    assert images["red.png"].digest() == sha(tmp_path / "red.png")
    with pytest.raises(InputError, match=r"text\.jpg: not a picture"):
        images["text.jpg"].open()
    (tmp_path / "red.png").unlink()
    for read in (images["red.png"].open, images["red.png"].digest):
        with pytest.raises(InputError, match=r"red\.png: [nN]o such file"):
            read()


def test_a_long_caption_is_kept(tmp_path: Path):
    draw(tmp_path, ["a.jpg"])
    long = " ".join(f"word{n}" for n in range(200))
    assert everything(captions.load(write(tmp_path / "a.csv", f"image,caption\na.jpg,{long}"))) == {
        "a.jpg": (long,)
    }


def test_scenes():
    splits = captions.load("scenes")
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (2000, 200, 200)
    image = splits.train[0]
    assert image.open().mode == "RGB"
    assert len(image.captions) == 5


def test_the_folder_of_pictures_that_is_named(tmp_path: Path):
    file = coco(tmp_path / "captions.json", simple())
    with pytest.raises(InputError, match="name their folder with --images"):
        captions.load(file)
    draw(tmp_path / "somewhere", NAMES)
    assert len(everything(captions.load(file, tmp_path / "somewhere"))) == 10
    assert len(everything(captions.load(str(file), str(tmp_path / "somewhere")))) == 10
    with pytest.raises(InputError, match=re.escape(f"such as a.jpg, is in {tmp_path}")):
        captions.load(file, tmp_path)
    with pytest.raises(InputError, match="nowhere: no such folder of pictures"):
        captions.load(file, tmp_path / "nowhere")


def test_a_file_named_without_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    coco(tmp_path / "texts" / "captions.json", simple())
    draw(tmp_path / "images")
    monkeypatch.chdir(tmp_path / "texts")
    assert len(everything(captions.load("captions.json"))) == 10


@pytest.mark.usefixtures("silent")
def test_imagefolder_with_metadata(tmp_path: Path):
    lines = [
        json.dumps({"file_name": f"images/{name}", "text": f"picture {name[0]}"}) for name in NAMES
    ]
    lines.append(json.dumps({"file_name": "images/a.jpg", "captions": ["two", "three"]}))
    file = write(tmp_path / "metadata.jsonl", "\n".join(lines) + "\n\n")
    draw(tmp_path / "images")
    for source in (tmp_path, file):
        said = everything(captions.load(source))
        assert set(said) == {f"images/{name}" for name in NAMES}
        assert said["images/a.jpg"] == ("picture a", "two", "three")
        assert said["images/j.jpg"] == ("picture j",)


@pytest.mark.usefixtures("silent")
def test_imagefolder_with_a_folder_for_each_split(tmp_path: Path):
    for split, names in (("train", NAMES[:5]), ("validation", NAMES[5:7])):
        lines = [json.dumps({"file_name": name, "text": f"picture {name[0]}"}) for name in names]
        write(tmp_path / split / "metadata.jsonl", "\n".join(lines))
        draw(tmp_path / split, names)
    write(tmp_path / "test" / "metadata.csv", "file_name,text\nh.jpg,picture h\n")
    draw(tmp_path / "test", ["h.jpg"])
    splits = captions.load(tmp_path)
    assert list(found(splits.train)) == NAMES[:5]
    assert found(splits.validation) == {"f.jpg": ("picture f",), "g.jpg": ("picture g",)}
    assert found(splits.test) == {"h.jpg": ("picture h",)}


def test_json_lines_that_say_nothing_are_named(tmp_path: Path):
    good = '{"file_name": "a.jpg", "text": "a dog"}'
    draw(tmp_path, ["a.jpg"])
    for bad, reason in (
        ("{", "line 2: it is not JSON"),
        ("[" * 5000, "line 2: it is not JSON"),
        ("[1]", "line 2: it is no JSON object"),
        ('{"text": "a cat"}', "line 2: it does not name a picture"),
        ('{"file_name": "b.jpg", "text": 1}', "line 2: it has no caption"),
    ):
        file = write(tmp_path / "metadata.jsonl", f"{good}\n{bad}\n")
        with pytest.raises(InputError, match=reason):
            captions.load(file)


def test_an_id_that_is_not_a_number_is_refused(tmp_path: Path):
    images = [{"id": float("nan"), "file_name": name} for name in ("a.jpg", "b.jpg")]
    annotations = [{"image_id": float("nan"), "caption": "a dog"}]
    text = json.dumps({"images": images, "annotations": annotations})
    file = write(tmp_path / "captions.json", text)
    with pytest.raises(InputError, match=r"the id of a\.jpg is nan, not a whole number"):
        captions.load(file)


def test_two_pictures_with_one_id_are_refused_by_name(tmp_path: Path):
    images = [{"id": 7, "file_name": "a.jpg"}, {"id": 7, "file_name": "b.jpg"}]
    annotations = [{"image_id": 7, "caption": "a dog"}]
    text = json.dumps({"images": images, "annotations": annotations})
    file = write(tmp_path / "captions.json", text)
    draw(tmp_path, ["a.jpg", "b.jpg"])
    with pytest.raises(InputError, match=r"captions\.json: a\.jpg and b\.jpg have one id, 7"):
        captions.load(file)


def test_an_empty_path_is_not_the_current_folder(tmp_path: Path, monkeypatch):
    draw(tmp_path, ["a.jpg"])
    write(tmp_path / "a.txt", "a dog")
    monkeypatch.chdir(tmp_path)
    assert everything(captions.load(".")) == {"a.jpg": ("a dog",)}
    with pytest.raises(InputError, match="the name of the data is empty"):
        captions.load("")
    with pytest.raises(InputError, match="the name of the data is empty"):
        captions.load(".", "")
