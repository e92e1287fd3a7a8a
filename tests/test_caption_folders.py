"""Caption data in folders and lists: layouts of pictures, and names and ids that are refused."""

import json
import re
from pathlib import Path

import pytest
from captioned import NAMES, coco, draw, everything, files, found, sha, simple, write
from PIL import Image

from core.errors import InputError
from datasets.captions import captioned


@pytest.mark.usefixtures("silent")
def test_pictures_with_texts(tmp_path: Path):
    draw(tmp_path, ["a.jpg", "deeper/a.png", "test/a.jpg"])
    write(tmp_path / "a.txt", "\ufeffKůň běží.\r\n\r\n  Žluťoučký   kůň 🐴 \r\n")
    write(tmp_path / "deeper" / "a.txt", "image,caption\nanother")
    write(tmp_path / "test" / "a.txt", "third")
    splits = captioned.load(tmp_path)
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
    splits = captioned.load(file)
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


def test_the_folder_of_pictures_that_is_named(tmp_path: Path):
    file = coco(tmp_path / "captions.json", simple())
    with pytest.raises(InputError, match="name their folder with --images"):
        captioned.load(file)
    draw(tmp_path / "somewhere", NAMES)
    assert len(everything(captioned.load(file, tmp_path / "somewhere"))) == 10
    assert len(everything(captioned.load(str(file), str(tmp_path / "somewhere")))) == 10
    with pytest.raises(InputError, match=re.escape(f"such as a.jpg, is in {tmp_path}")):
        captioned.load(file, tmp_path)
    with pytest.raises(InputError, match="nowhere: no such folder of pictures"):
        captioned.load(file, tmp_path / "nowhere")


def test_a_file_named_without_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    coco(tmp_path / "texts" / "captions.json", simple())
    draw(tmp_path / "images")
    monkeypatch.chdir(tmp_path / "texts")
    assert len(everything(captioned.load("captions.json"))) == 10


@pytest.mark.usefixtures("silent")
def test_imagefolder_with_metadata(tmp_path: Path):
    lines = [
        json.dumps({"file_name": f"images/{name}", "text": f"picture {name[0]}"}) for name in NAMES
    ]
    lines.append(json.dumps({"file_name": "images/a.jpg", "captions": ["two", "three"]}))
    file = write(tmp_path / "metadata.jsonl", "\n".join(lines) + "\n\n")
    draw(tmp_path / "images")
    for source in (tmp_path, file):
        said = everything(captioned.load(source))
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
    splits = captioned.load(tmp_path)
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
            captioned.load(file)


def test_an_id_that_is_not_a_number_is_refused(tmp_path: Path):
    images = [{"id": float("nan"), "file_name": name} for name in ("a.jpg", "b.jpg")]
    annotations = [{"image_id": float("nan"), "caption": "a dog"}]
    text = json.dumps({"images": images, "annotations": annotations})
    file = write(tmp_path / "captions.json", text)
    with pytest.raises(InputError, match=r"the id of a\.jpg is nan, not a whole number"):
        captioned.load(file)


def test_two_pictures_with_one_id_are_refused_by_name(tmp_path: Path):
    images = [{"id": 7, "file_name": "a.jpg"}, {"id": 7, "file_name": "b.jpg"}]
    annotations = [{"image_id": 7, "caption": "a dog"}]
    text = json.dumps({"images": images, "annotations": annotations})
    file = write(tmp_path / "captions.json", text)
    draw(tmp_path, ["a.jpg", "b.jpg"])
    with pytest.raises(InputError, match=r"captions\.json: a\.jpg and b\.jpg have one id, 7"):
        captioned.load(file)


def test_an_empty_path_is_not_the_current_folder(tmp_path: Path, monkeypatch):
    draw(tmp_path, ["a.jpg"])
    write(tmp_path / "a.txt", "a dog")
    monkeypatch.chdir(tmp_path)
    assert everything(captioned.load(".")) == {"a.jpg": ("a dog",)}
    with pytest.raises(InputError, match="the name of the data is empty"):
        captioned.load("")
    with pytest.raises(InputError, match="the name of the data is empty"):
        captioned.load(".", "")
