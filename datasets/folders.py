"""The user's own pictures: one sub-folder per class, the layout of torchvision's ImageFolder.

Either classes alone, `pets/cat/*.jpg` and `pets/dog/*.jpg`, split here 70 / 15 / 15%; or the user's own
splits, `pets/train/cat/*.jpg` ... `pets/test/dog/*.jpg`, where validation/ (or val/) may be missing and is
then 15% of train.
"""

import sys
from collections import Counter
from pathlib import Path

import torch
from PIL import Image

from core.errors import InputError
from datasets.pictures import open_picture, pictures_in, to_tensor
from datasets.splits import Images, Splits, hold_out, name_hash

LONGEST_SIDE = 128
_SHARE = 0.15


def load(folder: str | Path, *, size: tuple[int, int] | None = None) -> Splits:
    """Load pictures in class folders as one tensor, grey if all of them are grey and RGB otherwise.

    All are brought to `size` (height, width), keeping their aspect and padding with zeros. By default no
    side is longer than `LONGEST_SIDE` pixels, and the size is what is then the most common one.

    Without given splits each class is split in the order of a hash of the file names: the same in every run
    and on every machine; a picture added later moves few others across a border.

    Pictures that cannot be read are left out and named in one warning line. Raises InputError if there are
    no class folders, one class alone, or too few pictures in a class.
    """
    if size and min(size) < 1:
        raise InputError(f"a picture size must be at least 1x1, not {size[0]}x{size[1]}")
    folder = Path(folder)
    parts = _given_splits(folder) or {"all": folder}
    classes = _classes(parts.get("train", folder))
    labels = {
        file: label for part in parts.values() for file, label in _labelled(part, classes).items()
    }
    files = sorted(labels, key=lambda file: name_hash(file.relative_to(folder).as_posix()))
    pictures = _open_all(folder, files, size)
    box = size or _most_common_size(pictures)
    mode = "L" if all(picture.mode == "L" for picture in pictures.values()) else "RGB"

    def images(part: str, least: int) -> Images:
        rows = [file for file in pictures if file.is_relative_to(parts[part])]
        _check_counts(parts[part], classes, Counter(labels[file] for file in rows), least)
        pixels = torch.stack(
            [to_tensor(letterbox(pictures[file], box).convert(mode)) for file in rows]
        )
        return Images(pixels, torch.tensor([labels[file] for file in rows]), classes)

    if "all" in parts:
        test, rest = hold_out(images("all", 3), _SHARE)
        validation, train = hold_out(rest, _SHARE / (1 - _SHARE))
    elif "validation" in parts:
        train, validation, test = images("train", 1), images("validation", 0), images("test", 0)
    else:
        validation, train = hold_out(images("train", 2), _SHARE)
        test = images("test", 0)
    return Splits(train, validation, test)


def _given_splits(folder: Path) -> dict[str, Path]:
    """Return the folders of the splits by name, or none if the sub-folders of `folder` are classes."""
    names = {path.name: path for path in _subfolders(folder)}
    if "train" not in names or not names.keys() <= {"train", "val", "validation", "test"}:
        return {}
    if {"val", "validation"} <= names.keys():
        raise InputError(f"{folder}: both val/ and validation/; only one can be the validation set")
    if "val" in names:
        names["validation"] = names.pop("val")
    if "test" not in names:
        raise InputError(
            f"{folder}: train/ but no test/; add test/, or put the class folders of all pictures side by side"
        )
    return names


def _classes(folder: Path) -> tuple[str, ...]:
    classes = tuple(path.name for path in _subfolders(folder))
    if not classes:
        raise InputError(
            f"{folder}: no class folders; put the pictures of each class into one of its own"
        )
    if len(classes) == 1:
        raise InputError(f"{folder}: one class only ({classes[0]}); at least two are needed")
    return classes


def _subfolders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and path.name[0] != ".")


def _labelled(folder: Path, classes: tuple[str, ...]) -> dict[Path, int]:
    """Return the pictures in the class folders of `folder`, each with the index of their class."""
    unknown = [path.name for path in _subfolders(folder) if path.name not in classes]
    if unknown:
        raise InputError(f"{folder / unknown[0]}: there is no class {unknown[0]} to train on")
    return {
        file: label for label, name in enumerate(classes) for file in pictures_in(folder / name)
    }


def _check_counts(folder: Path, classes: tuple[str, ...], counts: Counter[int], least: int) -> None:
    """Demand `least` pictures of each class, one for each split made of them, and at least one in all."""
    if not counts:
        raise InputError(f"{folder}: not one readable picture in its class folders")
    for label, name in enumerate(classes):
        if counts[label] < least:
            raise InputError(
                f"{folder / name}: {counts[label]} readable pictures, of {least} or more needed"
            )


def _open_all(
    folder: Path, files: list[Path], size: tuple[int, int] | None
) -> dict[Path, Image.Image]:
    """Return all readable pictures, at `size` or within `LONGEST_SIDE`; one line names the others."""
    pictures, broken = {}, []
    for file in files:
        try:
            picture = open_picture(file)
        except InputError:
            broken.append(str(file.relative_to(folder)))
            continue
        if size:
            picture = letterbox(picture, size)
        else:
            picture.thumbnail((LONGEST_SIDE, LONGEST_SIDE))  # shrinks what is larger, in place
        pictures[file] = picture
    if broken:
        names = ", ".join(broken[:3]) + (", ..." if len(broken) > 3 else "")
        count = f"{len(broken)} of {len(files)} pictures"
        print(
            f"warning: {count} in {folder} cannot be read and are left out: {names}",
            file=sys.stderr,
        )
    if not pictures:
        raise InputError(f"{folder}: not one readable picture in its class folders")
    return pictures


def _most_common_size(pictures: dict[Path, Image.Image]) -> tuple[int, int]:
    return Counter((picture.height, picture.width) for picture in pictures.values()).most_common(1)[
        0
    ][0]


def letterbox(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Return the picture scaled to fit into `size` (height, width), centred on black; its aspect is kept."""
    height, width = size
    scale = min(height / picture.height, width / picture.width)
    inner = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    if inner == (width, height) == picture.size:
        return picture
    box = Image.new(picture.mode, (width, height))
    box.paste(picture.resize(inner), ((width - inner[0]) // 2, (height - inner[1]) // 2))
    return box
