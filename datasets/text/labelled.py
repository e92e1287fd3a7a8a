"""Labelled sentences: generated reviews, or the user's own in any of the usual layouts.

    load(["reviews"])                 generated, nothing to download: see `datasets.text.reviews`
    load(["talk.pos", "talk.neg"])    a file for each label, a sentence a line
    load(["reviews.csv"])             a table with columns of texts and labels, perhaps of splits,
                                      which have usual names or are given as `Columns`
    load(["train.csv", "test.csv"])   such tables, whose names tell the splits
    load(["reviews/"])                a folder with such files, or with a folder for each label that
                                      holds .txt files, a text each; or with train/ and test/, each
                                      as one of these

Empty texts are left out. A text that occurs twice, ignoring case and spaces, is in one split only.
"""

import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from core.errors import InputError, counted
from datasets.builtin import require_no_namesake
from datasets.splits import SPLITS, name_hash, split_in
from datasets.text import reviews
from datasets.text_files import Line, column_names, plain_name, read_table, read_text, warn

BUILT_IN = "reviews"
TEXTS = ("text", "sentence", "review", "phrase", "comment", "content", "message", "tweet")
LABELS = ("label", "sentiment", "class", "category", "polarity", "target")
UNLABELLED = "unsup"  # a folder of texts without labels in the Large Movie Review data set
WHOLE = re.compile(r"(?<=\d)\.0$")  # what pandas adds to whole numbers beside gaps
LEAST = 3  # different texts of a label, so that each split has one


class Labelled(NamedTuple):
    """A text and the name of its label."""

    text: str
    label: str


class Columns(NamedTuple):
    """The names of a table's columns of texts and of labels; None: one of `TEXTS` or `LABELS`."""

    text: str | None = None
    label: str | None = None


ANY = Columns()


@dataclass(frozen=True)
class TextSplits:
    """Train on `train`, choose on `validation`, report once on `test`, which may be empty."""

    train: Sequence[Labelled]
    validation: Sequence[Labelled]
    test: Sequence[Labelled]
    classes: tuple[str, ...]  # sorted


Parts = Mapping[str, Sequence[Labelled]]
"""Texts by split: "train", "validation" and "test", or "all" where none is told."""


def load(
    sources: Sequence[str | Path],
    validation_share: float = 0.1,
    test_share: float = 0.1,
    columns: Columns = ANY,
) -> TextSplits:
    """Load labelled texts; given splits are kept.

    Where no split is given, each label's different texts are sorted by a hash: the first
    `test_share` of them are test, and the next `validation_share` validation, at least one. Where
    only validation is missing, it is held out of train. That is the same in every run and on every
    machine; a text added later moves few others. Training texts that are also in a given
    validation or test split are left out, and counted in one line.

    Raises:
        InputError: nothing is there; a file is empty, not UTF-8 or no text; a table has no such
            columns; there is one label only; or too few texts have it.
    """
    parts = read(sources, columns)
    where = str(sources[0])
    by_split = {name: list(part) for name, part in parts.items()}
    if not by_split.keys() & {"all", "train"}:
        raise InputError(f"{where}: no texts to train on, only {' and '.join(by_split)}")
    classes = tuple(sorted({row.label for part in parts.values() for row in part}))
    _require(where, parts.get("all", parts.get("train", ())), classes)
    if "all" in by_split:
        by_split["test"], rest = hold_out(by_split["all"], test_share)
        by_split["validation"], by_split["train"] = hold_out(
            rest, validation_share / (1 - test_share)
        )
    elif "validation" not in by_split:
        by_split["validation"], by_split["train"] = hold_out(by_split["train"], validation_share)
    held = {_key(row.text) for name in ("validation", "test") for row in by_split.get(name, ())}
    train = [row for row in by_split["train"] if _key(row.text) not in held]
    repeated = [row.text[:40] for row in by_split["train"] if _key(row.text) in held]
    reason = "training texts that are in the validation or test split too"
    warn(Path(where), reason, repeated, len(by_split["train"]))
    return TextSplits(train, by_split["validation"], by_split.get("test", []), classes)


def read(sources: Sequence[str | Path], columns: Columns = ANY) -> Parts:
    """Return the texts of files or a folder by the split they tell, or "all"; raises as `load`."""
    if list(sources) == [BUILT_IN]:
        require_no_namesake(BUILT_IN)
        _require_unnamed(BUILT_IN, columns)
        return {"all": [Labelled(*row) for row in reviews.sentences()]}
    paths = [Path(source) for source in sources]
    if missing := [path for path in paths if not path.exists()]:
        raise InputError(f"{missing[0]}: no such file or folder of labelled sentences")
    if len(paths) == 1 and paths[0].is_dir():
        return _folder(paths[0], columns)
    return _files(paths, columns)


def hold_out(rows: Sequence[Labelled], share: float) -> tuple[list[Labelled], list[Labelled]]:
    """Split into (held out, rest), both in order.

    Held out is a share of each label's different texts, at least one if the share is not 0. Equal
    texts stay together, also if their labels differ.
    """
    label: dict[bytes, str] = {}
    for row in rows:
        label[_key(row.text)] = min(row.label, label.get(_key(row.text), row.label))
    held: set[bytes] = set()
    for name in set(label.values()):
        if not share:
            break
        keys = sorted(key for key, of in label.items() if of == name)
        held.update(keys[: max(1, round(share * len(keys)))])
    held_rows = [row for row in rows if _key(row.text) in held]
    rest = [row for row in rows if _key(row.text) not in held]
    return held_rows, rest


def _key(text: str) -> bytes:
    """Return a key, the same for texts that differ in case and spaces only; keys sort randomly."""
    return name_hash(" ".join(text.casefold().split()))


def _require(where: str, rows: Sequence[Labelled], classes: Sequence[str]) -> None:
    """Raise InputError if there are not two labels, or too few texts of one."""
    if len(classes) < 2:
        raise InputError(f"{where}: one label only ({', '.join(classes)}); at least two are needed")
    texts: dict[str, set[bytes]] = {name: set() for name in classes}
    for row in rows:
        texts[row.label].add(_key(row.text))
    for name, different in texts.items():
        if len(different) < LEAST:
            count = f"{counted(len(different), 'different text')} with the label {name}"
            raise InputError(f"{where}: {count}; give {LEAST} or more")


def _folder(folder: Path, columns: Columns) -> Parts:
    """Return the texts in a folder, whatever its layout."""
    inside = [path for path in sorted(folder.iterdir()) if path.name[0] != "."]
    folders = [path for path in inside if path.is_dir()]
    splits = {SPLITS[path.name.lower()]: path for path in folders if path.name.lower() in SPLITS}
    if splits:
        return {name: _all_in(path, columns) for name, path in splits.items()}
    if folders:
        _require_unnamed(folder, columns)
        return _by_label([path for path in folders if path.name != UNLABELLED])
    files = [path for path in inside if path.stem.lower() not in ("readme", "license", "licence")]
    if not files:
        raise InputError(f"{folder}: the folder is empty")
    return _files([file for file in files if _columns(file, columns)] or files, columns)


def _all_in(folder: Path, columns: Columns) -> list[Labelled]:
    """Return the texts in a folder, whatever splits they tell."""
    return [row for rows in _folder(folder, columns).values() for row in rows]


def _files(paths: Sequence[Path], columns: Columns) -> Parts:
    """Return the texts in tables, or in a file or folder for each label."""
    tables = {path: names for path in paths if (names := _columns(path, columns))}
    if not tables and len(paths) > 1 and columns == ANY:
        return _by_label(paths)
    if len(tables) < len(paths):
        raise _no_table(next(path for path in paths if path not in tables), columns)
    by_split: dict[str, list[Labelled]] = {}
    for table, (text, label) in tables.items():
        for name, rows in _table(table, text, label, columns).items():
            split = split_in(table.stem) if name == "all" and len(tables) > 1 else None
            by_split.setdefault(split or name, []).extend(rows)
    if "all" in by_split and len(by_split) > 1:
        named = ", ".join(by_split.keys() - {"all"})
        raise InputError(f"{paths[0]}: some texts have a split ({named}), others none")
    return by_split


def _require_unnamed(source: str | Path, columns: Columns) -> None:
    """Raise InputError if columns are given for data that are no tables."""
    if columns != ANY:
        flags = "--text-column and --label-column name columns of tables"
        raise InputError(f"{source}: there is no table; {flags}")


def _no_table(file: Path, columns: Columns) -> InputError:
    """The error that a file's first line does not name the columns; raises a better reason."""
    read_text(file)
    if columns != ANY:
        names = column_names(file)
        text, label = (plain_name(name) if name else None for name in columns)
        if text and text not in names:
            missing = columns.text
        elif label and label not in names:
            missing = columns.label
        else:
            missing = f"of {'labels' if text else 'texts'}"
        hint = "name those with --text-column and --label-column"
        return InputError(f"{file}: no column {missing}; there are {', '.join(names)}: {hint}")
    return InputError(
        f"{file}: its first line names no columns of texts ({TEXTS[0]}, say) and of labels "
        f"({LABELS[0]}, say): name them with --text-column and --label-column; without a table, "
        "give two files or more, one for each label"
    )


def _columns(file: Path, columns: Columns) -> tuple[str, str] | None:
    """Return the columns of texts and of labels that a file's first line names, or None."""
    try:
        names = column_names(file)
    except InputError:  # a folder, or what is no text
        return None
    texts = [plain_name(columns.text)] if columns.text else TEXTS
    labels = [plain_name(columns.label)] if columns.label else LABELS
    text = next((name for name in texts if name in names), None)
    label = next((name for name in labels if name in names), None)
    return (text, label) if text and label else None


def _table(file: Path, text: str, label: str, columns: Columns) -> Parts:
    """Return the rows of a table with these columns by their split, from the column `split`."""
    by_split: dict[str, list[Labelled]] = {}
    rows = read_table(file)
    others = [name for name in (*TEXTS, *LABELS) if rows and name in rows[0].values]
    unread = ", ".join(name for name in others if name not in (text, label))
    if unread and not (columns.text and columns.label):
        chosen = f"texts are read from the column {text}, labels from {label}"
        print(f"{file}: {chosen}, and not from {unread}", file=sys.stderr)
    for row in rows:
        if not row.values[label]:
            raise row.error("there is no label")
        if row.values[text]:
            sentence = Labelled(row.values[text], WHOLE.sub("", row.values[label]))
            by_split.setdefault(_split(row), []).append(sentence)
    empty = [f"line {row.number}" for row in rows if not row.values[text]]
    warn(file, "rows without a text", empty, len(rows))
    return by_split


def _split(row: Line) -> str:
    split = row.values.get("split")
    if split is None:
        return "all"
    if split.lower() not in SPLITS:
        raise row.error(f"unknown split {split!r}; it must be one of {', '.join(SPLITS)}")
    return SPLITS[split.lower()]


def _by_label(paths: Sequence[Path]) -> Parts:
    """Return the texts of a file or folder for each label: talk.pos or pos.txt."""
    endings = len({path.stem for path in paths}) == 1
    names = [path.suffix[1:] if endings else path.stem for path in paths]
    rows: list[Labelled] = []
    for path, name in zip(paths, names, strict=True):
        rows += [Labelled(text, name) for text in _texts(path)]
    return {"all": rows}


def _texts(path: Path) -> Iterable[str]:
    """Return the lines of a file, or the texts in the .txt files of a folder."""
    if not path.is_dir():
        return [line.strip() for line in read_text(path).split("\n") if line.strip()]
    files = sorted(path.glob("*.txt"))
    if not files:
        raise InputError(f"{path}: no .txt file there; each text is to have one")
    texts = {file.name: " ".join(read_text(file, blank=True).split()) for file in files}
    warn(path, "empty texts", [name for name, text in texts.items() if not text], len(files))
    return [text for text in texts.values() if text]
