"""Which sub-folders of a folder of pictures are its splits, and which are its classes."""

from pathlib import Path

from core.errors import InputError
from datasets.splits import SPLITS, split_in

ARCHIVED = "__MACOSX"
"""A folder of metadata that macOS adds to archives."""


def subfolders(folder: Path) -> list[Path]:
    """Return the sorted sub-folders, without hidden ones and what macOS adds to archives."""
    return sorted(
        path
        for path in folder.iterdir()
        if path.is_dir() and path.name[0] != "." and path.name != ARCHIVED
    )


def given_splits(folder: Path) -> dict[str, Path]:
    """Return the folders of "train", "validation" and "test", or none if there are classes alone.

    A split is named as in `datasets.splits.SPLITS`, in upper or lower case (Train, valid, dev).

    Raises:
        InputError: it cannot be told whether the sub-folders are splits or classes, two of them are
            one split, or there is nothing but train/, or nothing to train on.
    """
    inside = subfolders(folder)
    splits: dict[str, Path] = {}
    for path in inside:
        split = _split_of(path)
        if split is None:
            continue
        if split in splits:
            raise InputError(
                f"{folder}: both {splits[split].name}/ and {path.name}/; only one can be the "
                f"{split} set"
            )
        splits[split] = path
    if splits and len(splits) == len(inside):
        return _checked(folder, splits)
    if len(splits) > 1 or _hold_the_same(inside):
        raise _doubt(folder, inside)
    return {}


def _split_of(path: Path) -> str | None:
    """Return the split that a folder is named after."""
    name = path.name.lower()
    # In captions of COCO restval belongs to train; beside pictures in folders it has no meaning.
    return None if name == "restval" else SPLITS.get(name)


def _checked(folder: Path, splits: dict[str, Path]) -> dict[str, Path]:
    """Return the splits if there is something to train on, and something to measure on."""
    if len(splits) == 1 and "train" in splits:
        raise InputError(
            f"{folder}: {splits['train'].name}/ alone; add validation/ or test/, or put all class "
            "folders side by side"
        )
    if len(splits) == 1:  # one folder of any name is one class
        return {}
    if "train" not in splits:
        names = " and ".join(f"{path.name}/" for path in splits.values())
        raise InputError(f"{folder}: {names} name splits, and there is no train/ to learn from")
    return splits


def _hold_the_same(folders: list[Path]) -> bool:
    """Return whether folders hold sub-folders of the same names, and one is called like a split.

    Classes may be divided alike (cat/indoor, dog/indoor): that alone is no reason for doubt.
    """
    if len(folders) < 2 or not any(split_in(path.name) for path in folders):
        return False
    names = [{path.name for path in subfolders(inside)} for inside in folders]
    return bool(names[0]) and all(others == names[0] for others in names)


def _doubt(folder: Path, inside: list[Path]) -> InputError:
    """Return the error for folders that may be splits as well as classes."""
    names = ", ".join(f"{path.name}/" for path in inside[:6])
    more = ", ..." if len(inside) > 6 else ""
    return InputError(
        f"{folder}: are {names}{more} splits or classes? Splits are called train, validation and "
        "test, with nothing beside them; rename classes that are called so"
    )
