"""The formats of caption files, told apart by looking.

    COCO's captions       {"images": [{id, file_name}], "annotations": [{image_id, caption}]}
    Karpathy's splits     {"images": [{"filename", "split", "sentences": [{"raw"}]}]}
    other JSON            [{file_name, text}], perhaps with split, or {picture: [caption]}
    Flickr8k's tokens     NAME.jpg#0<tab>caption; splits are Flickr_8k.trainImages.txt and the like
    tables                image,caption (Kaggle), or image_name| comment_number| comment (Flickr30k)
                          perhaps with a column split
    imagefolders          metadata.jsonl or metadata.csv beside the pictures: file_name and text
    pictures with texts   NAME.jpg and NAME.txt in one folder, a caption a line

In a folder they are found by their names and first lines. captions_train.json and captions_val.json
are two splits, and so are train/metadata.jsonl and validation/metadata.jsonl.
"""

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from core.errors import InputError
from datasets.captions.json_formats import (
    CAPTIONS,
    NAMES,
    Captions,
    Row,
    by_split,
    is_json_line,
    read_json,
    read_json_lines,
)
from datasets.images.files import SUFFIXES, pictures_in
from datasets.splits import SPLITS, split_in
from datasets.text_files import Line, quote_error, read_text, warn

FOLDERS = ("annotations", "captions", "flickr8k_text")
"""Where in a folder its caption files may lie."""
METADATA = ("metadata.jsonl", "metadata.csv")  # of an imagefolder
TOKEN = re.compile(r"([^\t]+)#\d+\t(.*)")
DELIMITERS = ",;|\t"
LONGEST_LINE = 1 << 20  # characters of the first line that is looked at


class Part(NamedTuple):
    """Captions of one split ("train", "validation", "test"), or "all" where none is told."""

    split: str
    captions: Captions
    base: Path  # the folder of the file they are from
    told: str  # the split that the name of a file tells, even if it is the only one to be read


def read(path: Path) -> list[Part]:
    """Return the captions in a file or a folder.

    Raises:
        InputError: nothing is there, or nothing in it has a known format.
    """
    if not path.is_dir():
        return _read_file(path)
    inside = sorted(path.iterdir())
    folders = [sub for sub in inside if sub.name.lower() in FOLDERS and sub.is_dir()]
    for folder in (path, *folders):
        files = _caption_files(folder)
        if files:
            splits = [split_in(file.stem) or "all" for file in files]
            return _read_files(files, splits)
    files = _metadata(path)
    if files:
        splits = [SPLITS[file.parent.name.lower()] for file in files]
        return _read_files(files, splits)
    if parts := _pairs(path):
        return parts
    raise _no_captions(path, inside)


def _no_captions(path: Path, inside: Sequence[Path]) -> InputError:
    """The error that nothing in a folder is known, with the table that may have been meant."""
    hint = "neither a caption file, nor metadata.jsonl, nor pictures with a .txt file each"
    table = next((file for file in inside if file.suffix.lower() in (".csv", ".tsv")), None)
    if table:
        hint += f"; {table.name} is a caption file if its first line is image,caption"
    return InputError(f"{path}: no captions there, {hint}")


def _read_files(files: Sequence[Path], splits: Sequence[str]) -> list[Part]:
    parts = []
    for file, split in zip(files, splits, strict=True):
        parts += _read_file(file, split)
    return parts


def _metadata(path: Path) -> list[Path]:
    """The metadata files of an imagefolder whose splits are folders."""
    folders = [sub for sub in sorted(path.iterdir()) if sub.name.lower() in SPLITS]
    files = [sub / name for sub in folders for name in METADATA]
    return [file for file in files if file.is_file()]


def _caption_files(folder: Path) -> list[Path]:
    """The caption files in a folder: those that tell their split, or else the only one."""
    inside = sorted(folder.iterdir())
    texts = {
        file.with_suffix(".txt") for file in inside if file.suffix.lower() in SUFFIXES
    }  # of one picture each
    files = [file for file in inside if file not in texts and file.is_file() and _looks_right(file)]
    split = [file for file in files if split_in(file.stem)]
    if not split and len(files) > 1:
        names = ", ".join(file.name for file in files)
        raise InputError(
            f"{folder}: it holds more than one caption file ({names}); name the one to use"
        )
    if split:
        unused = [file.name for file in files if file not in split]
        warn(folder, "caption files whose names tell no split", unused)
    return split or files


def _looks_right(file: Path) -> bool:
    """Whether a file in a folder is one of captions, by its name and first line."""
    name = file.name.lower()
    if (
        name[0] == "." or "lemma" in name
    ):  # Flickr8k has its captions once more, in ground forms of words
        return False
    if name.endswith(".json"):
        return "caption" in name or name.startswith("dataset")
    if not name.endswith((".csv", ".tsv", ".txt", ".token", ".jsonl")):
        return False
    with file.open(encoding="utf-8-sig", errors="replace") as lines:
        first = lines.readline(LONGEST_LINE)
    if name.endswith(".jsonl"):
        return is_json_line(first)
    return TOKEN.match(first) is not None or _columns(first) is not None


def _read_file(path: Path, split: str = "all") -> list[Part]:
    """The captions of one file, in the splits that it tells, or else in `split`."""
    text = read_text(path)
    first = text.lstrip().partition("\n")[0]
    if path.suffix == ".jsonl" or is_json_line(first):
        parts = read_json_lines(path, text)
    elif first[0] in "{[":
        parts = read_json(path, text)
    elif TOKEN.match(first):
        parts = _listed(path, _collect(_token_lines(path, text)))
    elif columns := _columns(first):
        parts = by_split(path, _table_rows(path, text, columns))
    else:
        raise InputError(
            f"{path}: not a file of captions: neither COCO's or Karpathy's JSON, nor JSON lines, "
            "nor lines NAME.jpg#0<tab>caption, nor a table that begins with image,caption"
        )
    if "all" in parts:
        return [Part(split, parts["all"], path.parent, split_in(path.stem) or "all")]
    return [Part(name, captions, path.parent, name) for name, captions in parts.items()]


def _collect(pairs: Iterable[tuple[str, str]]) -> Captions:
    captions: Captions = {}
    for name, caption in pairs:
        captions.setdefault(name, []).append(caption)
    return captions


def _token_lines(path: Path, text: str) -> Iterator[tuple[str, str]]:
    for number, line in enumerate(text.split("\n"), 1):
        if match := TOKEN.match(line):
            yield match[1].strip(), match[2]
        elif line.strip():
            raise InputError(f"{path}: line {number} is not NAME.jpg#0<tab>caption")


def _listed(path: Path, captions: Captions) -> dict[str, Captions]:
    """Split by lists of names beside the file, such as Flickr_8k.trainImages.txt, if there are."""
    parts: dict[str, Captions] = {}
    for file in sorted(path.parent.glob("*Images.txt")):
        if split := split_in(file.stem.removesuffix("Images")):
            names = [line.strip() for line in read_text(file).split("\n")]
            parts[split] = {name: captions[name] for name in names if name in captions}
    if parts:
        unused = [name for name in captions if not any(name in part for part in parts.values())]
        warn(path, "images that are in none of the lists beside it", unused, len(captions))
    return parts or {"all": captions}


class Columns(NamedTuple):
    """The delimiter of a table, and the numbers of its columns."""

    delimiter: str
    name: int
    caption: int
    split: int | None


def _columns(header: str) -> Columns | None:
    """The columns of a table; None if this is no header."""
    for delimiter in DELIMITERS:
        titles = [title.strip().strip('"').lower() for title in header.split(delimiter)]
        name = next((n for n, title in enumerate(titles) if title in NAMES), None)
        caption = next((n for n, title in enumerate(titles) if title in CAPTIONS), None)
        if name is not None and caption is not None:
            split = titles.index("split") if "split" in titles else None
            return Columns(delimiter, name, caption, split)
    return None


def _table_rows(path: Path, text: str, columns: Columns) -> Iterator[Row]:
    """The rows of a table; captions in the last column may hold delimiters without quotes.

    Quotes have a meaning in tables of commas or semicolons only. A row with too few fields is left
    out (Flickr30k's results.csv has one).
    """
    delimiter = columns.delimiter
    caption = columns.caption
    quoting = csv.QUOTE_MINIMAL if delimiter in ",;" else csv.QUOTE_NONE
    lines = io.StringIO(text, newline="")
    rows = csv.reader(lines, delimiter=delimiter, quoting=quoting, strict=True)
    short = []
    first_line = 1
    try:
        width = len(next(row for row in rows if row))
        first_line = rows.line_num + 1
        for row in rows:
            first_line = rows.line_num + 1  # of the next row
            if 0 < len(row) < width:
                short.append(f"line {rows.line_num}")
            elif row:
                last = delimiter.join(row[caption:]) if caption == width - 1 else row[caption]
                split = None if columns.split is None else _unquoted(row[columns.split])
                line = Line(path, rows.line_num)
                yield Row(line, _unquoted(row[columns.name]), [_unquoted(last)], split)
    except csv.Error as error:
        raise quote_error(Line(path, first_line), error) from None
    warn(path, "rows with too few fields", short)


def _unquoted(value: str) -> str:
    """A field without spaces around it, and without the quotes that these may have hidden."""
    value = value.strip()
    return (
        value[1:-1].replace('""', '"') if len(value) > 1 and value[0] == value[-1] == '"' else value
    )


def _pairs(folder: Path) -> list[Part]:
    """Pictures with a text file of the same name; folders train/, val/ and test/ are splits."""
    pictures = pictures_in(folder)
    if not any(picture.with_suffix(".txt").is_file() for picture in pictures):
        return []
    parts: dict[str, Captions] = {}
    for picture in pictures:
        inside = picture.relative_to(folder)
        split = SPLITS.get(inside.parts[0].lower(), "all")
        parts.setdefault(split, {})[inside.as_posix()] = _lines(picture.with_suffix(".txt"))
    if parts.keys() > {"all"}:  # some are in such folders and others are not
        parts = {"all": {name: said for part in parts.values() for name, said in part.items()}}
    return [Part(split, captions, folder, split) for split, captions in parts.items()]


def _lines(text: Path) -> list[str]:
    """The lines of a text file that say something, none if there is no such file."""
    if not text.is_file() or not text.read_bytes().strip():
        return []
    return [line for line in read_text(text).split("\n") if line.strip()]
