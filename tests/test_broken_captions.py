"""What is wrong, missing or odd in caption files is one line."""

import json
import re
from pathlib import Path

import pytest
from captioned import NAMES, coco, draw, everything, simple, write

from core.errors import InputError
from datasets.captions import captioned


def test_what_is_missing_is_reported_once_for_each_kind(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    draw(tmp_path, NAMES[:3])
    said = simple(NAMES[:7]) | {"b.jpg": [" \n", "one", ""], "c.jpg": [], "x.jpg": [""]}
    file = coco(tmp_path / "captions.json", said)
    data = json.loads(file.read_text())
    data["annotations"].append({"image_id": 1, "caption": "of nothing"})
    write(file, json.dumps(data))
    assert everything(captioned.load(file)) == {
        "a.jpg": ("a picture", "the picture a"),
        "b.jpg": ("one",),
    }
    assert capsys.readouterr().err.splitlines() == [
        f"warning: {file}: left out: captions of images that it does not list (1 of 15): 1",
        f"warning: {file}: left out: empty captions (3): b.jpg, b.jpg, x.jpg",
        f"warning: {file}: left out: images without a caption (2 of 8): c.jpg, x.jpg",
        f"warning: {file}: left out: pictures that are not there (4 of 8): "
        "d.jpg, e.jpg, f.jpg, ...",
    ]


def test_pictures_without_a_text_are_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    draw(tmp_path, NAMES[:4])
    write(tmp_path / "a.txt", "one")
    write(tmp_path / "b.txt", "")
    write(tmp_path / "c.txt", " \r\n\n")
    assert everything(captioned.load(tmp_path)) == {"a.jpg": ("one",)}
    printed = (
        f"warning: {tmp_path}: left out: images without a caption (3 of 4): b.jpg, c.jpg, d.jpg\n"
    )
    assert capsys.readouterr().err == printed


def test_odd_names_and_halves_of_characters(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    draw(tmp_path, ["a.jpg"])
    odd = ["\0.jpg", "x" * 300, "", "..", "/", "\ud83d.jpg"]
    file = coco(tmp_path / "captions.json", {"a.jpg": ["half a dog \ud83d"], **simple(odd)})
    assert everything(captioned.load(file)) == {"a.jpg": ("half a dog ?",)}
    assert "pictures that are not there (6 of 7)" in capsys.readouterr().err


BROKEN = {
    "empty.json": ("", "the file is empty"),
    "blank.txt": (" \n\n", "the file is empty"),
    "cut.json": ('{"images": [{"id": 1,\n "file_na', "line 2 is not JSON"),
    "list.json": ("[1, 2]", "entry 1: it is no JSON object"),
    "empty_list.json": ("[]", "there is not one caption in it"),
    "results.json": (
        '[{"image_id": 1, "caption": "A dog."}]',
        "entry 1: it does not name a picture in file_name",
    ),
    "silent.json": ('[{"image": "a.jpg"}]', "entry 1: it has no caption in text"),
    "number.json": (
        '[{"image": "a.jpg", "caption": "one"},\n{"image": "a.jpg", "caption": 5}]',
        "entry 2: it has no caption in caption: it must be a string or a list",
    ),
    "list_split.json": (
        '[{"image": "a.jpg", "caption": "one", "split": "holdout"}]',
        "entry 1: unknown split 'holdout'; it must be one of train, training, ",
    ),
    "by_picture.json": (
        '{"a.jpg": [["one"]]}',
        "'a.jpg' is followed by neither a string nor a list",
    ),
    "other.json": ('{"info": {}}', "'info' is followed by neither a string nor a list"),
    "columns.json": (
        '{"image": ["a.jpg"],\n"caption": ["one"]}',
        "neither COCO's captions nor Karpathy's, nor a list",
    ),
    "no_images.json": ('{"annotations": []}', "nothing is called 'images'"),
    "instances.json": (
        '{"images": [{"id": 1, "file_name": "a.jpg"}],'
        ' "annotations": [{"image_id": 1, "bbox": []}]}',
        "nothing is called 'caption'",
    ),
    "null.json": (
        '{"images": [{"id": 1, "file_name": "a.jpg"}],'
        ' "annotations": [{"image_id": 1, "caption": null}]}',
        "there is not one caption in it",
    ),
    "coco_number.json": (
        '{"images": [{"id": 1, "file_name": "a.jpg"}],'
        ' "annotations": [{"image_id": 1, "caption": 5}]}',
        "a caption of a.jpg is 5, which is no string",
    ),
    "deep.json": ("[" * 100_000, "neither COCO's captions nor Karpathy's"),
    "split.json": (
        '{"images": [{"filename": "a.jpg", "split": "holdout", "sentences": []}]}',
        "a.jpg: unknown split 'holdout'; it must be one of train, training, ",
    ),
    "tokens.txt": ("a.jpg#0\tone\na.jpg 1 two\n", "line 2 is not NAME"),
    "prose.txt": ("A dog runs.\n", "not a file of captions"),
    "headless.csv": ("a.jpg,A dog runs.\n", "not a file of captions"),
    "quotes.csv": (
        'image,caption\na.jpg,"A dog\nb.jpg,"A cat"\n',
        "line 2: .*; correct the quotes: inside a quoted field",
    ),
    "unclosed.csv": (
        'image,caption\na.jpg,"A dog\nb.jpg,one\n',
        "line 2: a quote is opened in this row and never closed",
    ),
    "header.csv": ("image,caption\n", "there is not one caption in it"),
    "none.csv": ("image,caption\na.jpg,\n", "there is not one caption in it"),
    "lost.csv": (
        "image,caption\nq.jpg,one\nr.jpg,two\n",
        "not one of its 2 pictures, such as q.jpg, is beside it",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_files_are_one_line(tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]):
    text, message = BROKEN[name]
    draw(tmp_path, ["a.jpg"])
    file = write(tmp_path / name, text)
    with pytest.raises(InputError, match=message) as error:
        captioned.load(file)
    assert str(error.value).startswith(f"{file}: ")
    assert "\n" not in str(error.value)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    "text",
    [
        '[{"image": "a.jpg", "caption": null}, {"image": "a.jpg", "caption": ["one", null]}]',
        '{"a.jpg": [null, "one", null]}',
        '{"file_name": "a.jpg", "text": null}\n{"file_name": "a.jpg", "text": ["one", null]}',
        '{"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": [{"image_id": 1, "caption": '
        'null}, {"image_id": 1, "caption": "one"}, {"image_id": 1, "caption": null}]}',
        '{"images": [{"filename": "a.jpg", "split": "train", "sentences": [{"raw": null}, '
        '{"raw": "one"}, {"raw": null}]}]}',
    ],
)
def test_null_is_an_empty_caption(tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str):
    draw(tmp_path, ["a.jpg"])
    file = write(tmp_path / "captions.json", text)
    assert everything(captioned.load(file)) == {"a.jpg": ("one",)}
    printed = f"warning: {file}: left out: empty captions (2): a.jpg, a.jpg\n"
    assert capsys.readouterr().err == printed


def test_another_encoding_is_one_line(tmp_path: Path):
    draw(tmp_path, ["a.jpg"])
    file = write(tmp_path / "captions.csv", "image,caption\na.jpg,Žluťoučký kůň\n", "cp1250")
    with pytest.raises(InputError, match=re.escape(f"{file}: line ") + r"\d is not UTF-8"):
        captioned.load(file)


def test_nothing_to_read(tmp_path: Path):
    with pytest.raises(InputError, match=r"nowhere\.json: No such file"):
        captioned.load(tmp_path / "nowhere.json")
    with pytest.raises(InputError, match="no captions there"):
        captioned.load(tmp_path)
    draw(tmp_path, ["a.jpg"])
    write(tmp_path / "readme.txt", "Pictures.\n")
    with pytest.raises(InputError, match="no captions there"):
        captioned.load(tmp_path)
    write(tmp_path / "a.txt", "")
    with pytest.raises(InputError, match="not one caption"):
        captioned.load(tmp_path)


def test_captions_of_two_names_of_one_picture_are_joined(tmp_path: Path):
    draw(tmp_path / "images", NAMES)
    rows = ["image,caption", *(f"{name},a dog" for name in NAMES)]
    rows += ["images/a.jpg,a cat", "images/a.jpg,a dog", "./b.jpg,a hen"]
    file = write(tmp_path / "captions.csv", "\n".join(rows))
    captions = everything(captioned.load(file))
    assert len(captions) == len(NAMES)
    assert captions["a.jpg"] == ("a dog", "a cat")
    assert captions["b.jpg"] == ("a dog", "a hen")
    assert captions["c.jpg"] == ("a dog",)


def test_a_table_with_other_columns_is_named(tmp_path: Path):
    draw(tmp_path, NAMES)
    write(tmp_path / "holiday.csv", "photo,description\na.jpg,a dog\n")
    with pytest.raises(InputError) as caught:
        captioned.load(tmp_path)
    told = "with a .txt file each; holiday.csv is a caption file if its first line is image,caption"
    assert str(caught.value).endswith(told)


def test_names_in_different_folders_are_not_one_picture(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    draw(tmp_path / "pics", NAMES[:4])
    rows = ["image,caption", "cats/a.jpg,a cat", "dogs/a.jpg,a dog", "b.jpg,a hen", "c.jpg,a cow"]
    rows += ["/home/me/d.jpg,a pig", "me/d.jpg,a sow"]
    file = write(tmp_path / "table" / "captions.csv", "\n".join(rows))
    expected = {"b.jpg": ("a hen",), "c.jpg": ("a cow",), "/home/me/d.jpg": ("a pig", "a sow")}
    assert everything(captioned.load(file, tmp_path / "pics")) == expected
    what = "names in different folders that would be one picture"
    printed = f"warning: {file}: left out: {what} (2 of 6): cats/a.jpg, dogs/a.jpg\n"
    assert capsys.readouterr().err == printed


def test_names_with_backslashes_and_in_another_case(tmp_path: Path):
    draw(tmp_path / "pics", ["a.jpg", "sub/b.jpg", "c.JPG", "d.jpg", "D.jpg"])
    rows = ["image,caption", "pics\\a.jpg,one", "sub\\b.jpg,two", "C:\\pics\\C.jpg,three"]
    file = write(tmp_path / "table" / "captions.csv", "\n".join([*rows, "D.JPG,four"]))
    names = [row.split(",")[0] for row in rows[1:]]
    assert sorted(everything(captioned.load(file, tmp_path / "pics"))) == sorted(names)
