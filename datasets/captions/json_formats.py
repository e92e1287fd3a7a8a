"""Caption files in JSON: COCO's, Karpathy's, lists of objects, objects of captions by picture.

And the lines of an imagefolder's metadata.jsonl.
"""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from core.errors import InputError
from datasets.splits import SPLITS
from datasets.text_files import Line, warn

NAMES = ("image", "image_name", "image_file", "file", "file_name", "filename")
CAPTIONS = ("caption", "captions", "comment", "text")
UNKNOWN = (
    "neither COCO's captions nor Karpathy's, nor a list [{file_name, text}, ...], "
    "nor an object {picture: [caption, ...], ...}"
)

Captions = dict[str, list[str]]
"""Captions, perhaps empty ones, by the name of their picture, in the order of the file."""


@dataclass(frozen=True)
class Entry(Line):
    """An object in a JSON list; `number` counts the objects, from 1."""

    def error(self, message: str) -> InputError:
        """Return the error to raise for what is wrong in this object."""
        return InputError(f"{self.file}: entry {self.number}: {message}")


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
            raise row.line.error(_unknown_split(row.split))
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
        InputError: its format is unknown, a split is, or two pictures have one id.
    """
    try:
        data: Any = json.loads(text)
        if isinstance(data, list):
            return by_split(path, [_row(Entry(path, n), row) for n, row in enumerate(data, 1)])
        if "annotations" in data:
            return _coco(path, data)
        if "images" in data:
            return _karpathy(path, data)
        return {"all": _by_picture(path, data)}
    except json.JSONDecodeError as error:
        raise InputError(f"{path}: line {error.lineno} is not JSON ({error.msg})") from None
    except KeyError as error:
        what = f"nothing is called {error} where they have it"
        raise InputError(f"{path}: neither COCO's captions nor Karpathy's: {what}") from None
    except (TypeError, AttributeError, RecursionError, ValueError):
        raise InputError(f"{path}: {UNKNOWN}") from None


def read_json_lines(path: Path, text: str) -> dict[str, Captions]:
    """Return the captions of a file with a JSON object a line, as imagefolders have it, by split.

        {"file_name": "a.jpg", "text": "a dog"}      or a list of sentences; perhaps "split": "test"

    Raises:
        InputError: a line is no such object; or as `by_split`.
    """
    rows: list[Row] = []
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            rows.append(_line_row(Line(path, number, line)))
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


def _line_row(line: Line) -> Row:
    """Return what a line of JSON says."""
    try:
        fields: Any = json.loads(line.text)
    except (ValueError, RecursionError):
        raise line.error("it is not JSON") from None
    return _row(line, fields)


def _row(line: Line, fields: Any) -> Row:
    """Return the picture's name, its captions and its split."""
    if not isinstance(fields, dict):
        raise line.error("it is no JSON object")
    name = next((fields[key] for key in NAMES if key in fields), None)
    title = next((key for key in CAPTIONS if key in fields), None)
    if not isinstance(name, str):
        raise line.error("it does not name a picture in file_name")
    if title is None:
        raise line.error("it has no caption in text")
    try:
        captions = _sentences(fields[title])
    except TypeError:
        hint = "it must be a string or a list of strings"
        raise line.error(f"it has no caption in {title}: {hint}") from None
    split = fields.get("split")
    return Row(line, name, captions, None if split is None else str(split))


def _by_picture(path: Path, data: dict[str, Any]) -> Captions:
    """The captions of an object whose keys are the names of pictures."""
    if not data.keys().isdisjoint(NAMES) and not data.keys().isdisjoint(CAPTIONS):
        raise TypeError  # an object of columns
    captions: Captions = {}
    for name, said in data.items():
        try:
            captions[name] = _sentences(said)
        except TypeError:
            what = f"{name!r} is followed by neither a string nor a list of strings"
            raise InputError(f"{path}: {UNKNOWN}: {what}") from None
    return captions


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
            name = names[number]
            captions[name].append(_caption(path, name, annotation["caption"]))
        else:
            strange.append(number)
    warn(path, "captions of images that it does not list", strange, len(data["annotations"]))
    return {"all": captions}


def _karpathy(path: Path, data: Any) -> dict[str, Captions]:
    parts: dict[str, Captions] = {}
    for image in data["images"]:
        name = "/".join(filter(None, (image.get("filepath"), image["filename"])))
        split = SPLITS.get(str(image["split"]).lower())
        if split is None:
            raise InputError(f"{path}: {name}: {_unknown_split(image['split'])}")
        captions = [_caption(path, name, sentence["raw"]) for sentence in image["sentences"]]
        parts.setdefault(split, {}).setdefault(name, []).extend(captions)
    return parts


def _unknown_split(split: object) -> str:
    return f"unknown split {split!r}; it must be one of {', '.join(SPLITS)}"


def _caption(path: Path, name: str, value: object) -> str:
    """The caption of a picture in a file."""
    try:
        return _text(value)
    except TypeError:
        raise InputError(f"{path}: a caption of {name} is {value!r}, which is no string") from None


def _sentences(value: object) -> list[str]:
    """Return one caption or a list of them as a list; raises TypeError for anything else."""
    values = value if isinstance(value, list) else [value]
    return [_text(value) for value in values]


def _text(value: object) -> str:
    """Return a caption, an empty one for null; raises TypeError for anything else but text."""
    if value is None:
        return ""
    if not isinstance(value, str):
        raise TypeError
    return value
