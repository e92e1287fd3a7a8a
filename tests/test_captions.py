"""Captioned images in every format, as small real files; and what is wrong, missing or odd in them."""

import hashlib
import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core.errors import InputError
from datasets import captions
from datasets.captions import CaptionedImage, CaptionSplits

NAMES = [f"{letter}.jpg" for letter in "abcdefghij"]


def draw(folder: Path, names: Sequence[str] = NAMES) -> None:
    """A picture for each name, all different."""
    for name in names:
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        seed = int.from_bytes(hashlib.sha256(str(file).encode()).digest()[:4], "big")
        pixels = np.random.default_rng(seed).integers(0, 256, (4, 6, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(file, quality=95)


def write(file: Path, text: str, encoding: str = "utf-8") -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(text.encode(encoding))
    return file


def coco(file: Path, said: dict[str, list[object]], **more: object) -> Path:
    images = [{"id": 7 * n, "file_name": name, "license": 1} for n, name in enumerate(said)]
    pairs = [(7 * n, caption) for n, several in enumerate(said.values()) for caption in several]
    annotations = [{"id": n, "image_id": image, "caption": text} for n, (image, text) in enumerate(pairs)]
    return write(file, json.dumps({"info": {}, "images": images, "annotations": annotations[::-1]} | more))


def simple(names: Sequence[str] = NAMES) -> dict[str, list[object]]:
    return {name: [f"the picture {Path(name).stem}", "a picture"] for name in names}


def found(images: Sequence[CaptionedImage]) -> dict[str, tuple[str, ...]]:
    return {image.name: image.captions for image in images}


def everything(splits: CaptionSplits) -> dict[str, tuple[str, ...]]:
    return found([*splits.train, *splits.validation, *splits.test])


def files(images: Sequence[CaptionedImage]) -> dict[str, str]:
    return {image.name: image.digest() for image in images}


def sha(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


@pytest.fixture
def silent(capsys: pytest.CaptureFixture[str]):
    """Nothing may be told."""
    yield
    assert capsys.readouterr().err == ""


@pytest.mark.usefixtures("silent")
def test_coco_with_splits(tmp_path: Path):
    coco(tmp_path / "annotations" / "captions_train2017.json", simple(NAMES[:6]))
    coco(tmp_path / "annotations" / "captions_val2017.json", simple(NAMES[:4]))
    write(tmp_path / "annotations" / "instances_val2017.json", "{}")
    draw(tmp_path / "train2017", NAMES[:6])
    draw(tmp_path / "val2017", NAMES[:4])
    for source in (tmp_path, tmp_path / "annotations"):
        splits = captions.load(source)
        assert found(splits.train) == {name: ("a picture", f"the picture {name[0]}") for name in NAMES[:6]}
        assert files(splits.train) == {name: sha(tmp_path / "train2017" / name) for name in NAMES[:6]}
        assert files(splits.validation) == {name: sha(tmp_path / "val2017" / name) for name in NAMES[:4]}
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
        {"filepath": "val2014", "filename": name, "split": kind, "sentences": [{"raw": f"{name} 🐶", "tokens": []}]}
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


def flickr8k(folder: Path) -> Path:
    """The folders and files of the original archives."""
    lines = [f"{name}#{n}\tpicture {name[0]} , sentence {n} ." for name in NAMES for n in range(5)]
    text = folder / "Flickr8k_text"
    token = write(text / "Flickr8k.token.txt", "\n".join(lines) + "\n")
    write(text / "Flickr8k.lemma.token.txt", "\n".join(lines).replace("picture", "LEMMA"))
    write(text / "CrowdFlowerAnnotations.txt", "a.jpg\tb.jpg#2\t0.0\t3\t0\n")
    write(text / "readme.txt", "Captions.\n")
    write(text / "Flickr_8k.trainImages.txt", "".join(f"{name}\n" for name in NAMES[:6]))
    write(text / "Flickr_8k.devImages.txt", "g.jpg\r\nh.jpg")
    write(text / "Flickr_8k.testImages.txt", "i.jpg\nj.jpg\n")
    draw(folder / "Flicker8k_Dataset")
    return token


@pytest.mark.usefixtures("silent")
def test_flickr8k_with_its_lists(tmp_path: Path):
    token = flickr8k(tmp_path)
    for source in (tmp_path, tmp_path / "Flickr8k_text", token):
        splits = captions.load(source)
        assert list(found(splits.train)) == NAMES[:6]
        assert list(found(splits.validation)) == ["g.jpg", "h.jpg"]
        assert found(splits.test)["j.jpg"] == tuple(f"picture j , sentence {n} ." for n in range(5))
        assert len(splits.test) == 2


def test_images_in_no_list_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    token = flickr8k(tmp_path)
    (token.parent / "Flickr_8k.testImages.txt").unlink()
    splits = captions.load(token)
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (6, 2, 0)
    expected = f"warning: {token}: left out: images that are in none of the lists beside it (2 of 10): i.jpg, j.jpg\n"
    assert capsys.readouterr().err == expected


@pytest.mark.usefixtures("silent")
def test_tokens_without_lists(tmp_path: Path):
    names = [*NAMES[:3], "is #1.jpg", "d e.jpg"]
    file = write(
        tmp_path / "results_20130124.token",
        "\ufeff" + "".join(f"{name}#{n}\t\u201cNo. #3\u2028\t😀\u201d , {n}\r\n" for name in names for n in (0, 1)),
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
    assert everything(captions.load(tmp_path)) == everything(captions.load(tmp_path / name)) == expected


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
    assert everything(captions.load(tmp_path)) == {"a.jpg": ('" Two , young guys', "A | B ."), "b.jpg": ("One",)}
    assert capsys.readouterr().err == f"warning: {file}: left out: rows with too few fields (1): line 4\n"


@pytest.mark.usefixtures("silent")
def test_other_tables(tmp_path: Path):
    draw(tmp_path)
    file = write(tmp_path / "mine.csv", '"caption";"n";"filename"\nOne; 1; a.jpg\n"Two;\nlines"; 2; b.jpg\n')
    assert everything(captions.load(file)) == {"a.jpg": ("One",), "b.jpg": ("Two; lines",)}
    file = write(tmp_path / "mine.csv", "file\ttext\na.jpg\tOne \"or\" two\n./b.jpg\t'3', 4\n")
    assert everything(captions.load(file)) == {"a.jpg": ('One "or" two',), "./b.jpg": ("'3', 4",)}


@pytest.mark.usefixtures("silent")
def test_tables_with_splits_in_their_names(tmp_path: Path):
    draw(tmp_path / "images" / "train", NAMES[:3])
    draw(tmp_path / "images" / "valid", NAMES[:2])
    write(tmp_path / "captions_train.csv", "image,caption\na.jpg,one\nb.jpg,two\nc.jpg,three\n")
    write(tmp_path / "captions_valid.csv", "image,caption\na.jpg,one\nb.jpg,two\n")
    splits = captions.load(tmp_path)
    assert files(splits.train) == {name: sha(tmp_path / "images" / "train" / name) for name in NAMES[:3]}
    assert files(splits.validation) == {name: sha(tmp_path / "images" / "valid" / name) for name in NAMES[:2]}


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


@pytest.mark.usefixtures("silent")
def test_pictures_with_texts_in_folders_of_splits(tmp_path: Path):
    for part, count in (("train", 5), ("val", 2), ("test", 3)):
        draw(tmp_path / part, NAMES[:count])
        for name in NAMES[:count]:
            write(tmp_path / part / f"{name[0]}.txt", "something")
    splits = captions.load(tmp_path)
    assert list(found(splits.validation)) == ["val/a.jpg", "val/b.jpg"]
    assert (len(splits.train), len(splits.test)) == (5, 3)


@pytest.mark.usefixtures("silent")
def test_without_splits_they_hang_on_the_names_alone(tmp_path: Path):
    names = [f"{n:03}.jpg" for n in range(100)]
    draw(tmp_path / "images", names)
    splits = captions.load(coco(tmp_path / "mine.json", simple(names)))
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (90, 5, 5)
    assert sorted(everything(splits)) == names
    shuffled = captions.load(coco(tmp_path / "other.json", simple(names[::-1])))
    assert found(shuffled.validation) == found(splits.validation)
    assert found(shuffled.test) == found(splits.test)
    draw(tmp_path / "images", ["new.jpg"])
    grown = captions.load(coco(tmp_path / "grown.json", simple([*names, "new.jpg"])))
    assert len(found(grown.test).keys() - found(splits.test).keys()) <= 1


@pytest.mark.usefixtures("silent")
@pytest.mark.parametrize(("count", "sizes"), [(1, (1, 0, 0)), (2, (2, 0, 0)), (3, (1, 1, 1)), (10, (8, 1, 1))])
def test_splits_of_a_few(tmp_path: Path, count: int, sizes: tuple[int, int, int]):
    draw(tmp_path)
    splits = captions.load(coco(tmp_path / "captions.json", simple(NAMES[:count])))
    assert (len(splits.train), len(splits.validation), len(splits.test)) == sizes


@pytest.mark.usefixtures("silent")
def test_a_missing_validation_part_is_held_out_of_train(tmp_path: Path):
    draw(tmp_path)
    coco(tmp_path / "captions_train.json", simple(NAMES[:8]))
    coco(tmp_path / "captions_test.json", simple(NAMES[8:]))
    splits = captions.load(tmp_path)
    assert (len(splits.train), len(splits.validation)) == (7, 1)
    assert list(found(splits.test)) == NAMES[8:]
    (tmp_path / "captions_train.json").unlink()
    splits = captions.load(tmp_path)
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (0, 0, 2)


def test_pictures_and_their_digests(tmp_path: Path):
    Image.new("L", (3, 2), 9).save(tmp_path / "grey.png")
    Image.new("RGB", (3, 2), (1, 2, 3)).save(tmp_path / "red.png")
    write(tmp_path / "text.jpg", "no picture")
    file = write(tmp_path / "captions.csv", "image,caption\ngrey.png,one\nred.png,two\ntext.jpg,three")
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
    assert everything(captions.load(write(tmp_path / "a.csv", f"image,caption\na.jpg,{long}"))) == {"a.jpg": (long,)}


def test_what_is_missing_is_told_once_of_each_kind(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    draw(tmp_path, NAMES[:3])
    said = simple(NAMES[:7]) | {"b.jpg": [" \n", "one", ""], "c.jpg": [], "x.jpg": [""]}
    file = coco(tmp_path / "captions.json", said)
    data = json.loads(file.read_text())
    data["annotations"].append({"image_id": 1, "caption": "of nothing"})
    write(file, json.dumps(data))
    assert everything(captions.load(file)) == {"a.jpg": ("a picture", "the picture a"), "b.jpg": ("one",)}
    assert capsys.readouterr().err.splitlines() == [
        f"warning: {file}: left out: captions of images that it does not list (1 of 15): 1",
        f"warning: {file}: left out: empty captions (3): b.jpg, b.jpg, x.jpg",
        f"warning: {file}: left out: images without a caption (2 of 8): c.jpg, x.jpg",
        f"warning: {file}: left out: pictures that are not there (4 of 8): d.jpg, e.jpg, f.jpg, ...",
    ]


def test_pictures_without_a_text_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    draw(tmp_path, NAMES[:4])
    write(tmp_path / "a.txt", "one")
    write(tmp_path / "b.txt", "")
    write(tmp_path / "c.txt", " \r\n\n")
    assert everything(captions.load(tmp_path)) == {"a.jpg": ("one",)}
    told = f"warning: {tmp_path}: left out: images without a caption (3 of 4): b.jpg, c.jpg, d.jpg\n"
    assert capsys.readouterr().err == told


def test_a_file_that_tells_no_split_beside_others_that_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    draw(tmp_path)
    coco(tmp_path / "captions_train.json", simple(NAMES[:5]))
    coco(tmp_path / "captions_val.json", simple(NAMES[5:7]))
    coco(tmp_path / "captions_extra.json", simple(NAMES[7:]))
    splits = captions.load(tmp_path)
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (5, 2, 0)
    told = f"warning: {tmp_path}: left out: caption files whose names tell no split (1): captions_extra.json\n"
    assert capsys.readouterr().err == told


def test_odd_names_and_halves_of_characters(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    draw(tmp_path, ["a.jpg"])
    odd = ["\0.jpg", "x" * 300, "", "..", "/", "\ud83d.jpg"]
    file = coco(tmp_path / "captions.json", {"a.jpg": ["half a dog \ud83d"], **simple(odd)})
    assert everything(captions.load(file)) == {"a.jpg": ("half a dog ?",)}
    assert "pictures that are not there (6 of 7)" in capsys.readouterr().err


def test_scenes():
    splits = captions.load("scenes")
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (2000, 200, 200)
    image = splits.train[0]
    assert image.open().mode == "RGB"
    assert len(image.captions) == 5


BROKEN = {
    "empty.json": ("", "the file is empty"),
    "blank.txt": (" \n\n", "the file is empty"),
    "cut.json": ('{"images": [{"id": 1,\n "file_na', "line 2 is not JSON"),
    "list.json": ("[1, 2]", "neither COCO's captions nor Karpathy's"),
    "no_images.json": ('{"annotations": []}', "nothing is called 'images'"),
    "instances.json": (
        '{"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": [{"image_id": 1, "bbox": []}]}',
        "nothing is called 'caption'",
    ),
    "null.json": (
        '{"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": [{"image_id": 1, "caption": null}]}',
        "neither COCO's captions nor Karpathy's",
    ),
    "deep.json": ("[" * 100_000, "neither COCO's captions nor Karpathy's"),
    "split.json": (
        '{"images": [{"filename": "a.jpg", "split": "holdout", "sentences": []}]}',
        "nothing is called 'holdout'",
    ),
    "tokens.txt": ("a.jpg#0\tone\na.jpg 1 two\n", "line 2 is not NAME"),
    "prose.txt": ("A dog runs.\n", "not a file of captions"),
    "headless.csv": ("a.jpg,A dog runs.\n", "not a file of captions"),
    "quotes.csv": ('image,caption\na.jpg,"A dog\nb.jpg,"A cat"\n', "line 3: .*; correct the quotes"),
    "unclosed.csv": ('image,caption\na.jpg,"A dog\n', "correct the quotes"),
    "header.csv": ("image,caption\n", "there is not one caption in it"),
    "none.csv": ("image,caption\na.jpg,\n", "there is not one caption in it"),
    "lost.csv": ("image,caption\nq.jpg,one\nr.jpg,two\n", "not one of its 2 pictures, such as q.jpg, is beside it"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_files_are_one_line(tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]):
    text, message = BROKEN[name]
    draw(tmp_path, ["a.jpg"])
    file = write(tmp_path / name, text)
    with pytest.raises(InputError, match=message) as error:
        captions.load(file)
    assert str(error.value).startswith(f"{file}: ")
    assert "\n" not in str(error.value)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("encoding", ["cp1250", "utf-16"])
def test_another_encoding_is_one_line(tmp_path: Path, encoding: str):
    draw(tmp_path, ["a.jpg"])
    file = write(tmp_path / "captions.csv", "image,caption\na.jpg,Žluťoučký kůň\n", encoding)
    with pytest.raises(InputError, match=re.escape(f"{file}: line ") + r"\d is not UTF-8"):
        captions.load(file)


def test_nothing_to_read(tmp_path: Path):
    with pytest.raises(InputError, match=r"nowhere\.json: No such file"):
        captions.load(tmp_path / "nowhere.json")
    with pytest.raises(InputError, match="no captions there"):
        captions.load(tmp_path)
    draw(tmp_path, ["a.jpg"])
    write(tmp_path / "readme.txt", "Pictures.\n")
    with pytest.raises(InputError, match="no captions there"):
        captions.load(tmp_path)
    write(tmp_path / "a.txt", "")
    with pytest.raises(InputError, match="not one caption"):
        captions.load(tmp_path)


def test_two_files_and_no_splits(tmp_path: Path):
    draw(tmp_path, ["a.jpg"])
    for name in ("captions.csv", "captions.txt"):
        write(tmp_path / name, "image,caption\na.jpg,one\n")
    with pytest.raises(InputError, match=r"more than one caption file \(captions\.csv, captions\.txt\)"):
        captions.load(tmp_path)


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
