"""Bounding boxes of what matters in pictures, read from a table.

    file,x1,y1,x2,y2            pixels from the top left corner; other columns are left alone
    open/0041.png,27,205,63,234

A picture may have several boxes, a line each, or none: no line, or one without numbers. `file` is
the path below the folder of the classes, CLASS/FILE, whether or not that lies in train/ or test/.
The pixels are those of the upright picture in the file (after its EXIF orientation), also where the
pictures are brought to another size.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from core.errors import InputError
from datasets.images.origins import Origin
from datasets.text_files import Line, read_table

COLUMNS = ("file", "x1", "y1", "x2", "y2")

Boxes = Float[Tensor, "count most 4"]
"""x1, y1, x2, y2 of the boxes of each image; NaN where an image has fewer than `most`."""


def read(path: str | Path) -> dict[str, list[tuple[float, ...]]]:
    """Return the boxes of each picture in a table, in pixels.

    Fields are separated by commas, semicolons or tabs, as spreadsheets write them.

    Raises:
        InputError: the table cannot be read, lacks one of these columns, or has a malformed box.
    """
    rows = read_table(Path(path))
    titles = rows[0].titles
    if missing := [name for name in COLUMNS if name not in titles]:
        names = ", ".join(titles.values())
        raise InputError(f"{path}: no column {', '.join(missing)}; the first line names {names}")
    boxes: dict[str, list[tuple[float, ...]]] = defaultdict(list)
    for row in rows:
        if any(row.values[name] for name in COLUMNS[1:]):
            boxes[row.values["file"]].append(_box(row))
    return dict(boxes)


def align(boxes: dict[str, list[tuple[float, ...]]], origins: Sequence[Origin]) -> Boxes:
    """Return the boxes of these images, in coordinates from -1 to 1 within each image.

    Args:
        boxes: by file name, in pixels of the file.
        origins: of the images.

    Raises:
        InputError: no image has a box, a box lies outside its picture, or two images have one name.
    """
    for name, count in Counter(origin.name for origin in origins).items():
        if count > 1 and name in boxes:
            raise InputError(f"{count} pictures are called {name}: give each a name of its own")
    found = [boxes.get(origin.name, []) for origin in origins]
    most = max(map(len, found), default=0)
    if not most:
        line = f"none of the {len(origins)} images has a box"
        if boxes and origins:
            line += f": the images are called as {origins[0].name}, in the table as "
            line += next(iter(boxes))
        raise InputError(line)
    aligned = torch.full((len(origins), most, 4), torch.nan)
    for n, origin in enumerate(origins):
        if found[n]:
            _require_inside(found[n], origin)
            corners = torch.tensor(found[n]).unflatten(1, (2, 2))
            aligned[n, : len(corners)] = origin.to_image(corners).flatten(1)
    return aligned


def _require_inside(boxes: Sequence[tuple[float, ...]], origin: Origin) -> None:
    """Raise InputError for a box that has nothing in common with its picture."""
    height, width = origin.native
    for x1, y1, x2, y2 in boxes:
        if x1 > width or y1 > height or x2 < 0 or y2 < 0:
            place = f"the box {x1:g}, {y1:g}, {x2:g}, {y2:g} lies outside"
            hint = "are the boxes those of another size?"
            raise InputError(f"{origin.name}: {place} its {width} x {height} pixels: {hint}")


def _box(row: Line) -> tuple[float, ...]:
    try:
        x1, y1, x2, y2 = (float(row.values[name]) for name in COLUMNS[1:])
    except ValueError:
        raise row.error("x1, y1, x2 and y2 must be numbers") from None
    if not (-math.inf < x1 <= x2 < math.inf and -math.inf < y1 <= y2 < math.inf):
        raise row.error("a box needs x1 <= x2 and y1 <= y2")
    return x1, y1, x2, y2
