"""Boxes around what matters in pictures, read from a table.

    file,x1,y1,x2,y2            pixels from the top left corner; other columns are left alone
    open/0041.png,27,205,63,234

A picture may have several boxes, a line each, or none: no line, or one without numbers. `file` is
the path below the folder of the classes, as `names` of labelled images have it.
"""

import csv
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from core.errors import InputError

COLUMNS = ("file", "x1", "y1", "x2", "y2")

Boxes = Float[Tensor, "count most 4"]
"""x1, y1, x2, y2 of the boxes of each image; NaN where an image has fewer than `most`."""


def read(path: str | Path) -> dict[str, list[tuple[float, ...]]]:
    """Return the boxes of each picture in a table, in pixels.

    Raises `InputError` for a table without these columns or with a box that is none.
    """
    boxes: dict[str, list[tuple[float, ...]]] = defaultdict(list)
    try:
        with open(path, newline="", encoding="utf8") as file:
            table = csv.DictReader(file)
            missing = set(COLUMNS) - set(table.fieldnames or ())
            if missing:
                raise InputError(f"{path}: no column {', '.join(sorted(missing))}")
            for row in table:
                if not any(row[name] for name in COLUMNS[1:]):
                    continue
                boxes[row["file"]].append(_box(row, f"{path}, line {table.line_num}"))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: not a table of boxes ({error})") from error
    return dict(boxes)


def align(
    boxes: dict[str, list[tuple[float, ...]]],
    names: Sequence[str],
    sizes: Sequence[tuple[int, int]],
) -> Boxes:
    """Return the boxes of these images, in coordinates from -1 to 1 within each image.

    Args:
        boxes: by file name, in pixels.
        names: of the images.
        sizes: height and width of each image.

    Raises:
        InputError: no image has a box.
    """
    found = [boxes.get(name, []) for name in names]
    most = max(map(len, found), default=0)
    if not most:
        raise InputError(f"none of the {len(names)} images has a box: are the file names right?")
    aligned = torch.full((len(names), most, 4), torch.nan)
    for n, (height, width) in enumerate(sizes):
        if found[n]:
            scale = torch.tensor([width, height, width, height]) / 2
            aligned[n, : len(found[n])] = torch.tensor(found[n]) / scale - 1
    return aligned


def _box(row: dict[str, str], place: str) -> tuple[float, ...]:
    try:
        x1, y1, x2, y2 = (float(row[name]) for name in COLUMNS[1:])
    except (TypeError, ValueError):
        raise InputError(f"{place}: x1, y1, x2 and y2 must be numbers") from None
    if not (x1 <= x2 and y1 <= y2):
        raise InputError(f"{place}: a box needs x1 <= x2 and y1 <= y2")
    return x1, y1, x2, y2
