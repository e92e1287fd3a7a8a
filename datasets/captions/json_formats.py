"""Caption files in JSON: COCO's, Karpathy's, and the lines of an imagefolder's metadata.jsonl."""

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from core.errors import InputError
from datasets.splits import SPLITS
from datasets.text_files import Line, warn

NAMES = ("image", "image_name", "image_file", "file", "file_name", "filename")
CAPTIONS = ("caption", "captions", "comment", "text")

Captions = dict[str, list[str]]
"""Captions, perhaps empty ones, by the name of their picture, in the order of the file."""


class Row(NamedTuple):
    """What one line or object of a file says about a picture."""

    line: Line
    name: str
    captions: list[str]
    split: str | None  # None where the row has no field of that name


def by_split(file: Path, rows: Iterable[Row]) -> dict[str, Captions]:
    """Return the captions of rows by the split in their field `split`, "all" where none has it.

    Raises:
        InputError: a split is unknown, one picture is in two splits, or some rows have no split.
    """
    parts: dict[str, Captions] = {}
    splits: dict[str, str] = {}
    for row in rows:
        split = "all" if row.split is None else SPLITS.get(row.split.lower())
        if split is None:
            names = ", ".join(SPLITS)
            raise row.line.error(f"unknown split {row.split!r}; it must be one of {names}")
        first = splits.setdefault(row.name, split)
        if "all" not in (first, split) and first != split:
            raise row.line.error(f"{row.name} is in {split} here, and in {first} above")
        parts.setdefault(split, {}).setdefault(row.name, []).extend(row.captions)
    if "all" in parts and len(parts) > 1:
        told = ", ".join(sorted(parts.keys() - {"all"}))
        raise InputError(f"{file}: some pictures have a split ({told}), others none")
    return parts or {"all": {}}


def read_json(path: Path, text: str) -> dict[str, Captions]:
    """Return the captions of a JSON file by split, "all" where none is told.

    Raises:
        InputError: it is neither COCO's format nor Karpathy's, or two pictures have one id.
    """
    try:
        data: Any = json.loads(text)
        return _coco(path, data) if "annotations" in data else _karpathy(data)
    except json.JSONDecodeError as error:
        raise InputError(f"{path}: line {error.lineno} is not JSON ({error.msg})") from None
    except KeyError as error:
        what = f"nothing is called {error} where they have it"
        raise InputError(f"{path}: neither COCO's captions nor Karpathy's: {what}") from None
    except (TypeError, AttributeError, RecursionError, ValueError):
        raise InputError(f"{path}: neither COCO's captions nor Karpathy's") from None


def read_json_lines(path: Path, text: str) -> dict[str, Captions]:
    """Return the captions of a file with a JSON object a line, as imagefolders have it, by split.

        {"file_name": "a.jpg", "text": "a dog"}      or a list of sentences; perhaps "split": "test"

    Raises:
        InputError: a line is no such object; or as `by_split`.
    """
    rows: list[Row] = []
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            rows.append(_row(Line(path, number, line)))
    return by_split(path, rows)


def is_json_line(line: str) -> bool:
    """Whether a line is an object that names a picture and its captions."""
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError):
        return False
    if not isinstance(fields, dict):
        return False
    return any(key in fields for key in NAMES) and any(key in fields for key in CAPTIONS)


def _row(line: Line) -> Row:
    """Return the picture's name, its captions and its split."""
    try:
        fields: Any = json.loads(line.text)
    except (ValueError, RecursionError):
        raise line.error("it is not JSON") from None
    if not isinstance(fields, dict):
        raise line.error("it is no JSON object")
    name = next((fields[key] for key in NAMES if key in fields), None)
    said = next((fields[key] for key in CAPTIONS if key in fields), None)
    if isinstance(said, str):
        said = [said]
    if not isinstance(name, str):
        raise line.error("it does not name a picture in file_name")
    if not isinstance(said, list) or not all(isinstance(text, str) for text in said):
        raise line.error("it has no caption in text")
    split = fields.get("split")
    return Row(line, name, said, None if split is None else str(split))


def _coco(path: Path, data: Any) -> dict[str, Captions]:
    pairs = [(image["id"], str(image["file_name"])) for image in data["images"]]
    for number, name in pairs:
        if not isinstance(number, int | str):
            raise InputError(f"{path}: the id of {name} is {number}, not a whole number")
    # Some files have numbers in one place and the same numbers as text in the other.
    names = {str(number): name for number, name in pairs}
    if len(names) < len(pairs):
        counts = Counter(str(number) for number, _ in pairs)
        double = next(number for number, count in counts.items() if count > 1)
        pictures = " and ".join(name for number, name in pairs if str(number) == double)
        raise InputError(f"{path}: {pictures} have one id, {double}: give each an id of its own")
    captions: Captions = {name: [] for name in names.values()}
    strange = []
    for annotation in data["annotations"]:
        number = str(annotation["image_id"])
        if number in names:
            captions[names[number]].append(_string(annotation["caption"]))
        else:
            strange.append(number)
    warn(path, "captions of images that it does not list", strange, len(data["annotations"]))
    return {"all": captions}


def _karpathy(data: Any) -> dict[str, Captions]:
    parts: dict[str, Captions] = {}
    for image in data["images"]:
        name = "/".join(filter(None, (image.get("filepath"), image["filename"])))
        said = [_string(sentence["raw"]) for sentence in image["sentences"]]
        parts.setdefault(SPLITS[image["split"]], {}).setdefault(name, []).extend(said)
    return parts


def _string(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value
