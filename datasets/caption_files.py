"""The formats of caption files, told apart by looking.

    COCO captions       {"images": [{"id", "file_name"}], "annotations": [{"image_id", "caption"}]}
    Karpathy's splits   {"images": [{"filename", "split", "sentences": [{"raw"}]}]}
    Flickr token        NAME.jpg#0<tab>caption, perhaps with Flickr_8k.trainImages.txt and the like beside it
    Kaggle              image,caption (captions.csv, captions.txt); Flickr30k's image_name| comment_number| comment
    pictures and texts  NAME.jpg and NAME.txt in one folder, a caption a line

A folder is searched for such files, in itself and in annotations/; COCO's names say of which split they are.
"""

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from core.errors import InputError
from datasets.pictures import pictures_in

Captions = dict[str, list[str]]
"""Captions by the name of their picture, in the order of the file."""

SPLIT_OF = {
    "train": "train",
    "restval": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
}
SPLIT_OF |= {"dev": "validation", "test": "test"}
TOKEN = re.compile(r"^(?P<name>[^\t]+)#\d+\t(?P<caption>.*)$")
DELIMITERS = ",|;\t"


def read(path: Path) -> dict[str, Captions]:
    """Return captions by split: "train", "validation", "test", or "all" where no splits are given.

    Raises:
        InputError: the path is not there, or nothing in it has a known format.
    """
    if not path.exists():
        raise InputError(f"{path}: no such file or folder of captions")
    if path.is_file():
        return _read_file(path)
    folders = [path, path / "annotations"]
    files = sorted(file for folder in folders if folder.is_dir() for file in folder.iterdir() if _may_be(file))
    given = {}
    for file in files:
        split = _split_in(file.stem)
        if file.suffix == ".json" and split and "captions" in file.stem:
            given.setdefault(split, {}).update(_read_file(file)["all"])
    if given:
        return given
    for file in files:
        if _looks_right(file):
            return _read_file(file)
    if pairs := _pairs(path):
        return {"all": pairs}
    raise InputError(f"{path}: no captions there: neither a caption file, nor pictures with a .txt file each")


def _may_be(file: Path) -> bool:
    return file.is_file() and file.suffix.lower() in (".json", ".csv", ".txt", ".token") and file.name[0] != "."


def _split_in(stem: str) -> str | None:
    """The split that a name such as captions_val2017 tells."""
    words = re.findall(r"[a-z]+", stem.lower())
    return next((SPLIT_OF[word] for word in words if word in SPLIT_OF), None)


def _looks_right(file: Path) -> bool:
    """Whether a file of a folder is one of captions, by its first lines."""
    if file.suffix == ".json":
        return file.stem.startswith(("dataset", "captions"))
    lines = _text(file).splitlines()[:1]
    return bool(lines) and (bool(TOKEN.match(lines[0])) or _columns(lines[0]) is not None)


def _read_file(path: Path) -> dict[str, Captions]:
    text = _text(path)
    if not text.strip():
        raise InputError(f"{path}: the file is empty")
    if text.lstrip()[0] in "{[":
        return _read_json(path, text)
    first = text.lstrip().splitlines()[0]
    if TOKEN.match(first):
        return _with_lists(path, _collect(_token_lines(path, text)))
    if columns := _columns(first):
        return {"all": _collect(_table_rows(path, text, *columns))}
    raise InputError(
        f"{path}: not a caption file: neither COCO's or Karpathy's JSON, nor NAME#0<tab>caption lines, nor a table "
        "with a header such as image,caption"
    )


def _text(path: Path) -> str:
    """The text of a file in UTF-8, with or without a byte order mark."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        line = path.read_bytes()[: error.start].count(b"\n") + 1
        raise InputError(f"{path}: line {line} is not UTF-8: save the file in that encoding") from None
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from None


def _collect(pairs: Iterable[tuple[str, str]]) -> Captions:
    """Captions by name, without empty ones; an image all of whose captions are empty stays, with none."""
    captions: Captions = {}
    for name, caption in pairs:
        sentences = captions.setdefault(name, [])
        if caption := " ".join(caption.split()):
            sentences.append(caption)
    return captions


def _read_json(path: Path, text: str) -> dict[str, Captions]:
    try:
        data: Any = json.loads(text)
        images = data["images"]
        if "annotations" in data:
            names = {image["id"]: image["file_name"] for image in images}
            captions = _collect((name, "") for name in names.values())
            said = _collect((names[each["image_id"]], each["caption"]) for each in data["annotations"])
            return {"all": captions | said}
        found: dict[str, Captions] = {}
        for image in images:
            name = "/".join(filter(None, (image.get("filepath"), image["filename"])))
            said = _collect((name, sentence["raw"]) for sentence in image["sentences"])
            found.setdefault(SPLIT_OF[image["split"]], {}).update({name: []} | said)
        return found
    except json.JSONDecodeError as error:
        raise InputError(f"{path}: line {error.lineno} is not JSON ({error.msg})") from None
    except (KeyError, TypeError, AttributeError) as error:
        what = (
            f"{error.args[0]!r} is missing or unknown" if isinstance(error, KeyError) else "its parts are other ones"
        )
        raise InputError(f"{path}: neither COCO's caption format nor Karpathy's: {what}") from None


def _token_lines(path: Path, text: str) -> Iterator[tuple[str, str]]:
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        if not (found := TOKEN.match(line)):
            raise InputError(f"{path}: line {number} is not NAME#number<tab>caption: {line[:40]!r}")
        yield found["name"], found["caption"]


def _with_lists(path: Path, captions: Captions) -> dict[str, Captions]:
    """Split by the lists Flickr_8k.trainImages.txt, devImages and testImages, if they lie beside the file."""
    lists = {SPLIT_OF[name]: list(path.parent.glob(f"*{name}Images.txt")) for name in ("train", "dev", "test")}
    found = {
        split: {name: captions[name] for name in _text(files[0]).split() if name in captions}
        for split, files in lists.items()
        if files
    }
    return found if found.get("train") else {"all": captions}


def _columns(header: str) -> tuple[str, int, int] | None:
    """The delimiter of a table and its columns of names and captions, or None if this is no header of one."""
    for delimiter in DELIMITERS:
        titles = [title.strip().strip('"').lower() for title in header.split(delimiter)]
        name = next((n for n, title in enumerate(titles) if title in ("image", "image_name", "file_name")), None)
        caption = next((n for n, title in enumerate(titles) if title in ("caption", "comment", "caption_text")), None)
        if name is not None and caption is not None:
            return delimiter, name, caption
    return None


def _table_rows(path: Path, text: str, delimiter: str, name: int, caption: int) -> Iterator[tuple[str, str]]:
    """The rows of a table; a last column that holds unquoted delimiters is put together again."""
    rows = csv.reader(io.StringIO(text), delimiter=delimiter, skipinitialspace=True)
    width = len(next(rows))
    for row in rows:
        if not row:
            continue
        if len(row) < width:
            raise InputError(f"{path}: line {rows.line_num} has {len(row)} columns, not {width}")
        if caption == width - 1:
            row[caption:] = [delimiter.join(row[caption:])]
        yield row[name].strip(), row[caption]


def _pairs(folder: Path) -> Captions:
    """Pictures with a text file of the same name; those without one have no caption."""
    pictures = {str(file.relative_to(folder)): file.with_suffix(".txt") for file in pictures_in(folder)}
    if not any(text.is_file() for text in pictures.values()):
        return {}
    return {name: _lines(text) if text.is_file() else [] for name, text in pictures.items()}


def _lines(text: Path) -> list[str]:
    return [" ".join(line.split()) for line in _text(text).splitlines() if line.strip()]
