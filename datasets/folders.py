"""The user's own pictures: one sub-folder per class, the layout of torchvision's ImageFolder.

Either classes alone, `pets/cat/*.jpg` and `pets/dog/*.jpg`, split here 70 / 15 / 15%; or the user's own
splits, `pets/train/cat/*.jpg` ... `pets/test/dog/*.jpg`, where validation/ (or val/) may be missing and is
then 15% of train.
"""

from __future__ import annotations

import hashlib
import sys
from collections import Counter
from pathlib import Path

import torch
from PIL import Image

from core.errors import InputError
from datasets.pictures import open_picture, picture_size, pictures_in, to_tensor
from datasets.splits import Images, Splits, hold_out

LONGEST_SIDE = 128
_SHARE = 0.15


def load(folder: str | Path, *, size: tuple[int, int] | None = None) -> Splits:
    """Loads pictures in class folders as one tensor, grey if all of them are grey and RGB otherwise.

    All are brought to `size` (height, width), keeping their aspect and padding with zeros. By default it is
    the most common size, scaled down to at most `LONGEST_SIDE` pixels on the longer side.

    Without given splits each class is split in the order of a hash of the file names: the same in every run
    and on every machine; a picture added later moves few others across a border.

    Pictures that cannot be read are left out and named in one warning line. Raises InputError if there are
    no class folders, one class alone, or too few pictures in a class.
    """
    folder = Path(folder)
    parts = _given_splits(folder) or {"all": folder}
    classes = _classes(parts.get("train", folder))
    labels = {file: label for part in parts.values() for file, label in _labelled(part, classes).items()}
    files = sorted(labels, key=lambda file: _hash(file.relative_to(folder)))
    pictures = _open_all(files, size or _common_size(folder, files), folder)
    mode = "L" if all(picture.mode == "L" for picture in pictures.values()) else "RGB"

    def images(part: str, least: int) -> Images:
        rows = [file for file in pictures if file.is_relative_to(parts[part])]
        _check_counts(parts[part], classes, Counter(labels[file] for file in rows), least)
        pixels = torch.stack([to_tensor(pictures[file].convert(mode)) for file in rows])
        return Images(pixels, torch.tensor([labels[file] for file in rows]), classes)

    if "all" in parts:
        test, rest = hold_out(images("all", least=3), _SHARE)
        validation, train = hold_out(rest, _SHARE / (1 - _SHARE))
    elif "validation" in parts:
        train, validation, test = (
            images("train", least=1),
            images("validation", least=0),
            images("test", least=0),
        )
    else:
        validation, train = hold_out(images("train", least=2), _SHARE)
        test = images("test", least=0)
    return Splits(train, validation, test)


def _hash(name: Path) -> bytes:
    return hashlib.sha256(name.as_posix().encode()).digest()


def _given_splits(folder: Path) -> dict[str, Path]:
    """The folders of the splits by name, or nothing if the sub-folders of `folder` are classes."""
    names = {path.name: path for path in _subfolders(folder)}
    if "train" not in names or not names.keys() <= {"train", "val", "validation", "test"}:
        return {}
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
            f"{folder}: no class folders; put the pictures of each class into a folder inside it"
        )
    if len(classes) == 1:
        raise InputError(f"{folder}: one class only ({classes[0]}); at least two are needed")
    return classes


def _subfolders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and path.name[0] != ".")


def _labelled(folder: Path, classes: tuple[str, ...]) -> dict[Path, int]:
    """The pictures in the class folders of `folder` with the index of their class."""
    unknown = [path.name for path in _subfolders(folder) if path.name not in classes]
    if unknown:
        raise InputError(f"{folder / unknown[0]}: there is no class {unknown[0]} to train on")
    return {file: label for label, name in enumerate(classes) for file in pictures_in(folder / name)}


def _check_counts(folder: Path, classes: tuple[str, ...], counts: Counter[int], least: int) -> None:
    """At least one picture in all, and `least` of each class: one for each split that is made of them."""
    if not counts:
        raise InputError(f"{folder}: not one readable picture in its class folders")
    for label, name in enumerate(classes):
        if counts[label] < least:
            raise InputError(
                f"{folder / name}: {counts[label]} readable pictures; at least {least} are needed"
            )


def _common_size(folder: Path, files: list[Path]) -> tuple[int, int]:
    """The most common (height, width), scaled down to `LONGEST_SIDE`."""
    sizes: Counter[tuple[int, int]] = Counter()
    for file in files:
        try:
            sizes[picture_size(file)] += 1
        except InputError:
            continue  # reported when its pixels are read
    if not sizes:
        raise InputError(f"{folder}: not one readable picture in its class folders")
    (height, width), _ = sizes.most_common(1)[0]
    scale = min(1.0, LONGEST_SIDE / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def _open_all(files: list[Path], size: tuple[int, int], folder: Path) -> dict[Path, Image.Image]:
    """All readable pictures at `size`; the others are counted, and the first few named, on one line."""
    pictures, broken = {}, []
    for file in files:
        try:
            pictures[file] = letterbox(open_picture(file), size)
        except InputError:
            broken.append(str(file.relative_to(folder)))
    if broken:
        names = ", ".join(broken[:3]) + (", ..." if len(broken) > 3 else "")
        count = f"{len(broken)} of {len(files)} pictures"
        print(f"warning: {count} in {folder} cannot be read and are left out: {names}", file=sys.stderr)
    return pictures


def letterbox(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    """The picture scaled to fit into `size` (height, width), centred on black; its aspect is kept."""
    height, width = size
    scale = min(height / picture.height, width / picture.width)
    inner = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    if inner == (width, height) == picture.size:
        return picture
    box = Image.new(picture.mode, (width, height))
    box.paste(picture.resize(inner), ((width - inner[0]) // 2, (height - inner[1]) // 2))
    return box
