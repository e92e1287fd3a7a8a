"""Draw where a trained model looks at pictures, and print what it predicts.

    uv run glimpse show board.png                                # by the model of this package
    uv run glimpse show runs/glimpse/digits three.png letters/   # scanpaths/three.scanpath.png

The retina measures in pixels, so a picture is first brought to the size of the training images: its
aspect ratio is kept, and the rest is black, as for class folders in training. With --native it
keeps its own size, which suits pictures whose objects are as large as in training. Models of light
digits on black want --invert for ink on paper. The drawing shows the picture as the model was shown
it.
"""

import csv
import io
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, ImageOps

from core import rng
from core.errors import InputError
from core.files import make_folder, prepare_target, replace, require_folder, to_json
from core.training import cli, devices
from core.training.config import require_within
from datasets.images.files import (
    find_pictures,
    name_outputs,
    open_picture,
    require_size,
    to_tensor,
)
from datasets.images.origins import Origin, letterbox
from glimpse.arguments import Show
from glimpse.model import DEFAULT, RecurrentAttention, greedy, open_model, sampling
from glimpse.pictures.scanpath import Scanpath, follow
from glimpse.sensor import Batch

MOST_GLIMPSES = 64  # that can be drawn legibly
MOST_SAMPLES = 1000


@dataclass(frozen=True)
class Looked:
    """A picture, what the model was shown of it, and its scanpaths."""

    file: Path
    size: tuple[int, int]  # width and height of the upright picture
    paths: Sequence[Scanpath]
    change: str  # what was done to the picture before, or ''

    @property
    def path(self) -> Scanpath:
        """The first scanpath, the only one unless several were sampled."""
        return self.paths[0]

    def pixels(self, path: Scanpath) -> list[tuple[float, float]]:
        """Return a scanpath in pixels (x, y) from the top left corner of the upright picture."""
        width, height = self.size
        origin = Origin(str(self.file), (height, width), path.size)
        return [(x, y) for x, y in origin.to_file(path.locations.cpu()).tolist()]


def main(arguments: Show) -> None:
    """Draw every picture; exit with code 1 at the end if some could not be drawn, 2 if none."""
    require_within(1, MOST_GLIMPSES, arguments, "glimpses")
    require_folder(arguments.out, "--out")
    require_within(1, MOST_SAMPLES, arguments, "samples")
    if arguments.csv is not None:
        prepare_target(arguments.csv)
    run, images = split_paths(arguments.paths)
    model, saved = open_model(run, devices.select(arguments.device, arguments.threads))
    files, missing = _find(images)
    classes = f"; the model knows {describe_classes(saved['extras']['classes'])} only"
    records: list[dict[str, Any]] = []
    rows: list[tuple[object, ...]] = []

    def show(pair: tuple[Path, Path]) -> None:
        nonlocal classes
        file, target = pair
        looked = look_at(file, model, saved["extras"], arguments)
        drawn = _draw(looked, target, gif=arguments.gif)
        if looked.change:
            print(f"{file}: {looked.change}{classes}", file=sys.stderr)
            classes = ""  # not once more for each picture
        rows.extend(tabulate(looked))
        if arguments.json:
            records.append({"file": str(file), "drawn": list(map(str, drawn))} | to_record(looked))
            return
        name, probability = looked.path.best()
        names = " and ".join(map(str, drawn))
        cli.say(f"{file}: {name} ({100 * probability:.1f} %), drawn in {names}")

    try:
        cli.for_each("glimpse show", name_outputs(files, arguments.out, "scanpath"), show)
    finally:
        if arguments.json:  # before the table, which a full disk may prevent
            print(to_json(records, indent=1), flush=True)
        if arguments.csv is not None and rows:
            _write_table(arguments.csv, rows)
    if missing:
        raise SystemExit(1 if files else 2)


def split_paths(paths: Sequence[Path]) -> tuple[Path, Sequence[Path]]:
    """Return the run, by default the model of this package, and the pictures.

    Raises `InputError` if the first path is neither a run nor anything that may hold pictures.
    """
    if not paths:
        raise InputError("no picture to look at: name files or folders")
    first = paths[0]
    is_run = any((first / name).exists() for name in ("best.pt", "last.pt", "config.json"))
    if is_run or first.suffix == ".pt":
        return first, paths[1:]
    if not first.exists() and not first.suffix:
        raise InputError(f"{first}: no such run, picture or folder")
    return DEFAULT, paths


def describe_classes(classes: Sequence[str]) -> str:
    """Return what a model knows in a few words."""
    if list(classes) == list("0123456789"):
        return "the digits 0 to 9"
    names = list(classes[:6])
    more = f" and {len(classes) - 6} more classes" if len(classes) > 6 else ""
    return ", ".join(names) + more


def look_at(
    file: Path, model: RecurrentAttention, extras: dict[str, Any], arguments: Show
) -> Looked:
    """Look at the picture in a file, brought to the size and channels of the training images.

    Raises `InputError`, naming the file, for what is no picture or too small to look at.
    """
    channels, height, width = extras["image_shape"]
    picture = open_picture(file)
    size = picture.size
    require_size(file, picture.height, picture.width)
    shown = picture.convert("L" if channels == 1 else "RGB")
    if arguments.invert:
        shown = ImageOps.invert(shown)
    if not (arguments.native or height is None):
        shown = letterbox(shown, (height, width))
    change = _describe_change(picture, shown)
    images = to_tensor(shown)[None].to(model.action.weight.device)
    return Looked(file, size, _follow(model, images, extras, arguments), change)


def _follow(
    model: RecurrentAttention, images: Batch, extras: dict[str, Any], arguments: Show
) -> list[Scanpath]:
    """Return the scanpaths at one image, up to where the model is sure or as long as asked for."""
    stop = extras.get("stop")
    glimpses = arguments.glimpses or (stop or {}).get("most") or model.config.glimpses
    generator = rng.generator(model.action.weight.device, "samples")
    policies = [greedy]
    if arguments.samples > 1:
        policies = [sampling(model.config, generator)] * arguments.samples
    paths = [follow(model, images, extras["classes"], glimpses, each)[0] for each in policies]
    if stop is None or arguments.glimpses is not None:
        return paths
    return [path.until_sure(stop["threshold"]) for path in paths]


def _describe_change(picture: Image.Image, shown: Image.Image) -> str:
    """Return to what the picture was brought: 'brought from 451x300 to 20x20 and to grey'."""
    changes = []
    if picture.size != shown.size:
        before, after = (f"{each.width}x{each.height}" for each in (picture, shown))
        changes.append(f"from {before} to {after}")
    if picture.mode == "RGB" and shown.mode == "L":
        changes.append("to grey")
    return f"brought {' and '.join(changes)}" if changes else ""


def to_record(looked: Looked) -> dict[str, Any]:
    """Return the first scanpath as JSON values.

    `location` is (x, y) in [-1, 1] of the glimpse, `pixel` the same place in pixels from the top
    left corner of the upright picture in the file.
    """
    path = looked.path
    name, probability = path.best()
    height, width = path.size
    glimpses = [
        {
            "location": [x, y],
            "pixel": list(pixel),
            "probabilities": dict(zip(path.classes, probabilities, strict=True)),
        }
        for (x, y), pixel, probabilities in zip(
            path.locations.tolist(), looked.pixels(path), path.probabilities.tolist(), strict=True
        )
    ]
    sizes = {"size": list(looked.size), "looked_at_size": [width, height]}
    return {"prediction": name, "probability": probability, **sizes, "glimpses": glimpses}


def tabulate(looked: Looked) -> list[tuple[object, ...]]:
    """Return the rows image, sample, t, x, y of all scanpaths, in pixels of the picture."""
    return [
        (str(looked.file), sample, t, round(x, 2), round(y, 2))
        for sample, path in enumerate(looked.paths)
        for t, (x, y) in enumerate(looked.pixels(path))
    ]


def _write_table(file: Path, rows: Sequence[tuple[object, ...]]) -> None:
    text = io.StringIO()
    table = csv.writer(text)
    table.writerow(("image", "sample", "t", "x", "y"))
    table.writerows(rows)
    replace(file, text.getvalue().encode("utf-8", "surrogateescape"))


def _find(images: Sequence[Path]) -> tuple[list[Path], bool]:
    """Return all pictures, and whether some paths have none."""
    if not images:
        raise InputError("no picture to look at: name files or folders")
    found: list[Path] = []
    missing = False
    for path in images:
        try:
            found += find_pictures([path])
        except InputError as error:
            missing = True
            print(f"glimpse show: {error}", file=sys.stderr)
    return found, missing


def _draw(looked: Looked, target: Path, *, gif: bool) -> list[Path]:
    from glimpse.pictures import drawing

    path = looked.path
    caption = looked.file.name
    make_folder(target.parent)
    if len(looked.paths) > 1:
        replace(target, drawing.together(looked.paths, caption))
    else:
        replace(target, drawing.still(path, caption))
    if not gif:
        return [target]
    replace(target.with_suffix(".gif"), drawing.animation(path, caption))
    return [target, target.with_suffix(".gif")]


if __name__ == "__main__":
    raise SystemExit(cli.script("glimpse show"))
