"""The user's own pictures: one sub-folder per class, the layout of torchvision's ImageFolder.

Either classes alone, `pets/cat/*.jpg` and `pets/dog/*.jpg`, split here 70 / 15 / 15%; or the user's
own splits, `pets/train/cat/*.jpg` ... `pets/test/dog/*.jpg`, where validation/ may be missing, and
is then 15% of train, or test/, for which validation/ then stands. Other names of splits (val, dev)
are in `datasets.splits`. Pictures keep their native sizes unless a size is asked for.
"""

import re
import sys
from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from core.errors import InputError
from datasets.images.files import picture_header, pictures_in, require_size, unreadable_in
from datasets.images.labelled_files import ImageFiles
from datasets.images.layout import given_splits, subfolders
from datasets.images.origins import Origin, letterbox
from datasets.images.splits import Images, Labelled, Splits, hold_out
from datasets.images.store import GIGABYTE, InMemory, PictureFile, decoder, open_store
from datasets.splits import name_hash

MEMORY = 2.0
STACKED = 2**16  # bytes of a picture up to which a batch is copied into one tensor
NAMED = 3  # pictures of each reason for which some are left out
_SHARE = 0.15


def load(
    folder: str | Path,
    *,
    grey: bool | None = None,
    size: tuple[int, int] | None = None,
    memory: float = MEMORY,
    workers: int = 2,
) -> Splits:
    """Load the splits of pictures in class folders.

    Without given splits each class is split in the order of a hash of the file names: the same in
    every run and on every machine; a picture added later moves few others across a border.
    Pictures that cannot be read, or are smaller than 2 x 2 pixels, are left out and counted by
    reason in one warning line.

    Args:
        folder: of class folders, or of splits with class folders.
        grey: whether the pictures are brought to grey, or else to RGB; by default they are if all
            of them are grey.
        size: height and width to which all are brought, keeping their aspect ratio and padding with
            zeros. By default pictures keep their native sizes. Small ones of one size that fit the
            memory are held in one tensor (`Images`), others as `ImageFiles`.
        memory: gigabytes of decoded pictures that may be held (see `datasets.images.store`).
        workers: threads that decode.

    Raises:
        InputError: there are no class folders, one class alone, or too few pictures in a class, or
            folders that may be splits as well as classes.
    """
    folder = Path(folder)
    parts = given_splits(folder) or {"all": folder}
    classes = _classes(parts.get("train", folder))
    images = _open(folder, parts, classes, size, memory, workers, grey)
    for part in parts:
        least = 1 if part == "train" else 0
        if part == "all":
            least = 3
        elif part == "train" and "validation" not in parts:
            least = 2
        counts = Counter(images[part].labels.tolist())
        _check_counts(parts[part], classes, counts, least)
    if "all" in parts:
        test, rest = hold_out(images["all"], _SHARE)
        validation, train = hold_out(rest, _SHARE / (1 - _SHARE))
        return Splits(train, validation, test)
    if "validation" in parts:
        return Splits(
            images["train"], images["validation"], images.get("test", images["validation"])
        )
    validation, train = hold_out(images["train"], _SHARE)
    return Splits(train, validation, images["test"])


def load_all(
    folder: str | Path,
    classes: tuple[str, ...],
    *,
    grey: bool,
    size: tuple[int, int] | None = None,
    memory: float = MEMORY,
    workers: int = 2,
) -> Labelled:
    """Return all pictures in class folders, whatever the splits, labelled by the given classes.

    Args:
        folder: as that of `load`; some classes may have no folder or no picture.
        classes: all that there may be.
        grey: whether the pictures are brought to grey, or else to RGB.
        size: as that of `load`, as are `memory` and `workers`.

    Raises:
        InputError: there is a class that is not one of these, or no picture.
    """
    folder = Path(folder)
    parts = given_splits(folder) or {"all": folder}
    images = _open(folder, parts, classes, size, memory, workers, grey)
    return join(list(images.values()))


def join(parts: list[Labelled]) -> Labelled:
    """Return all images of several parts of one data set."""
    labels = torch.cat([part.labels for part in parts])
    origins = tuple(origin for part in parts for origin in part.origins)
    first = parts[0]
    if isinstance(first, ImageFiles):
        rows = torch.cat([part.rows for part in parts if isinstance(part, ImageFiles)])
        return replace(first, rows=rows, labels=labels, origins=origins)
    pixels = [part.images for part in parts if isinstance(part, Images)]
    return Images(torch.cat(pixels), labels, first.classes, origins)


def describe_sizes(sizes: list[tuple[int, int]]) -> str:
    """Return "28x28", or "10x20 to 30x40" for a range, height x width."""
    heights = [height for height, _ in sizes]
    widths = [width for _, width in sizes]
    smallest, largest = f"{min(heights)}x{min(widths)}", f"{max(heights)}x{max(widths)}"
    return smallest if smallest == largest else f"{smallest} to {largest}"


def _open(
    folder: Path,
    parts: dict[str, Path],
    classes: tuple[str, ...],
    size: tuple[int, int] | None,
    memory: float,
    workers: int,
    grey: bool | None = None,
) -> dict[str, Labelled]:
    """Return the images of each part in the order of the hash of their names."""
    if size and min(size) < 1:
        raise InputError(f"a picture size must be at least 1x1, not {size[0]}x{size[1]}")
    labels: dict[Path, int] = {}
    for part in parts.values():
        labels |= _labelled(part, classes)
    if left_out := unreadable_in(folder):
        print(f"{folder}: left out {left_out}", file=sys.stderr)
    paths = sorted(labels, key=lambda file: name_hash(file.relative_to(folder).as_posix()))
    files, broken = _read_headers(paths, size, grey)
    key = f"{size} {grey}"
    store, readable = open_store(files, key, memory * GIGABYTE, workers)
    intact = set(readable)
    broken |= {file.path: _decoding_error(file) for n, file in enumerate(files) if n not in intact}
    _tell_broken(folder, broken, len(paths))
    if not readable:
        raise InputError(f"{folder}: not one readable picture in its class folders")

    def images(part: Path) -> Labelled:
        rows = [n for n in readable if files[n].path.is_relative_to(part)]
        chosen = torch.tensor([labels[files[n].path] for n in rows], dtype=torch.int64)
        numbers = torch.tensor(rows, dtype=torch.int64)
        origins = tuple(_origin(files[n], part) for n in rows)
        held = ImageFiles(store, files, numbers, chosen, classes, origins=origins)
        sizes = {(files[n].height, files[n].width) for n in readable}
        small = files[readable[0]].count <= STACKED
        if isinstance(store, InMemory) and len(sizes) == 1 and small:
            pixels = held.fetch(torch.arange(len(held)))
            height, width = sizes.pop()
            empty = torch.empty(0, held.channels, height, width, dtype=torch.uint8)
            return Images(torch.stack(pixels) if pixels else empty, chosen, classes, origins)
        return held

    return {name: images(part) for name, part in parts.items()}


def _read_headers(
    paths: list[Path], size: tuple[int, int] | None, grey: bool | None
) -> tuple[list[PictureFile], dict[Path, InputError]]:
    """Return the pictures whose headers can be read, and why the others cannot."""
    headers: dict[Path, tuple[int, int, bool]] = {}
    broken: dict[Path, InputError] = {}
    for path in paths:
        try:
            height, width, is_grey = picture_header(path)
            require_size(path, height, width)
            headers[path] = height, width, is_grey
        except InputError as error:
            broken[path] = error
    if grey is None:
        grey = all(is_grey for _, _, is_grey in headers.values())
    fit = None if size is None else partial(letterbox, size=size)
    decode = decoder(grey, fit)
    files = []
    for path, (height, width, _) in headers.items():
        native = height, width
        height, width = size or native
        channels = 1 if grey else 3
        files.append(PictureFile(path, native, height, width, channels, decode))
    return files, broken


def _origin(file: PictureFile, part: Path) -> Origin:
    """Return where the image of a file comes from; it is called by its path below its part."""
    name = file.path.relative_to(part).as_posix()
    return Origin(name, file.native, (file.height, file.width))


def _decoding_error(file: PictureFile) -> InputError:
    """Return why a picture whose header is intact could not be decoded."""
    try:
        file.read()
    except InputError as error:
        return error
    # The list of broken pictures is kept with the cache; this one was mended without a new date.
    return InputError(f"{file.path}: could not be decoded before")


def _tell_broken(folder: Path, broken: dict[Path, InputError], count: int) -> None:
    """Say in one line how many pictures are left out, by reason, and name some of each."""
    if not broken:
        return
    names: dict[str, list[str]] = {}
    for path, error in broken.items():
        reason = str(error).removeprefix(f"{path}: ")
        # What a decoder says, in brackets at the end, differs from picture to picture.
        reason = re.sub(r" \(.*\)$", "", reason)
        names.setdefault(reason, []).append(str(path.relative_to(folder)))
    reasons = [
        f"{len(some)} x {reason} ({', '.join(some[:NAMED])}{', ...' if some[NAMED:] else ''})"
        for reason, some in sorted(names.items())
    ]
    print(
        f"warning: {len(broken)} of {count} pictures in {folder} are left out: "
        f"{'; '.join(reasons)}",
        file=sys.stderr,
    )


def _classes(folder: Path) -> tuple[str, ...]:
    classes = tuple(path.name for path in subfolders(folder))
    if not classes:
        raise InputError(
            f"{folder}: no class folders; put the pictures of each class into one of its own"
        )
    if len(classes) == 1:
        raise InputError(f"{folder}: one class only ({classes[0]}); at least two are needed")
    return classes


def _labelled(folder: Path, classes: tuple[str, ...]) -> dict[Path, int]:
    """Return the pictures in the class folders of `folder`, each with the index of their class."""
    unknown = [path.name for path in subfolders(folder) if path.name not in classes]
    if unknown:
        raise InputError(f"{folder / unknown[0]}: there is no class {unknown[0]} to train on")
    labels: dict[Path, int] = {}
    for label, name in enumerate(classes):
        labels |= dict.fromkeys(pictures_in(folder / name), label)
    return labels


def _check_counts(folder: Path, classes: tuple[str, ...], counts: Counter[int], least: int) -> None:
    """Require `least` pictures of each class, and at least one in all."""
    if not counts:
        raise InputError(f"{folder}: not one readable picture in its class folders")
    for label, name in enumerate(classes):
        if counts[label] < least:
            raise InputError(
                f"{folder / name}: {counts[label]} readable pictures, of {least} or more needed"
            )
