"""Where a trained model looks at your own pictures, and what it makes of them.

    uv run glimpse show runs/glimpse/digits three.png letters/    # scanpaths/three.scanpath.png, ...

A retina measures in pixels, so a picture is first brought to the size of the training images, its own aspect
kept, black where that leaves room: as the pictures of class folders are for training. With --native it stays as
it is, which suits pictures of many sizes whose things are as large as in training. Models of light digits on
black want --invert for ink on paper.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageOps

from core.errors import InputError
from core.files import replace, to_json, writing
from core.training import cli, devices
from core.training.config import require_within
from datasets.folders import letterbox
from datasets.pictures import find_pictures, name_outputs, open_picture, to_tensor
from glimpse.arguments import Show
from glimpse.model import RecurrentAttention, open_model
from glimpse.scanpath import Scanpath, follow

MOST_GLIMPSES = 64  # that a picture can show legibly


def main(arguments: Show) -> None:
    """Look at every picture; exit with code 1 at the end if some could not be looked at, 2 if none could."""
    require_within(1, MOST_GLIMPSES, arguments, "glimpses")
    model, saved = open_model(arguments.run, devices.select(arguments.device, arguments.threads))
    glimpses = model.config.glimpses if arguments.glimpses is None else arguments.glimpses
    found, failed = _find(arguments.images)
    done, told = 0, []
    for file, target in name_outputs(found, arguments.out, "scanpath"):
        try:
            path, size = look_at(file, model, saved["extras"], glimpses, arguments)
            drawn = _draw(path, file, target, gif=arguments.gif)
        except InputError as error:
            failed = True
            _complain(error)
            continue
        done += 1
        if arguments.json:
            told.append(
                {"file": str(file), "drawn": [str(each) for each in drawn]} | tell(path, size)
            )
        else:
            name, probability = path.best()
            line = f"{file}: {name} ({100 * probability:.1f} %), drawn in {' and '.join(map(str, drawn))}"
            print(line.encode("utf-8", "replace").decode(), flush=True)
    if arguments.json:
        print(to_json(told, indent=1), flush=True)
    if failed:
        raise SystemExit(1 if done else 2)


def look_at(
    file: Path,
    model: RecurrentAttention,
    extras: dict[str, Any],
    glimpses: int,
    arguments: Show,
) -> tuple[Scanpath, tuple[int, int]]:
    """Look at the picture in a file, with the channels the model was trained on; return its size too.

    Raises `InputError`, naming the file, for what is no picture or too small to look at.
    """
    channels, height, width = extras["image_shape"]
    picture = open_picture(file).convert("L" if channels == 1 else "RGB")
    if min(picture.size) < 2:
        raise InputError(
            f"{file}: {picture.width} x {picture.height} pixels; looking takes at least 2 x 2"
        )
    picture = ImageOps.invert(picture) if arguments.invert else picture
    framed = picture if arguments.native else frame(picture, height, width)
    looked_at = framed if arguments.native else framed.resize((width, height))
    device = model.action.weight.device
    (path,) = follow(
        model, to_tensor(looked_at)[None].to(device), extras["classes"], glimpses, [framed]
    )
    return path, picture.size


def frame(picture: Image.Image, height: int, width: int) -> Image.Image:
    """The picture at its own size on black of the aspect height x width."""
    scale = max(picture.height / height, picture.width / width)
    return letterbox(picture, (round(height * scale), round(width * scale)))


def tell(path: Scanpath, size: tuple[int, int]) -> dict[str, Any]:
    """Return the scanpath on a picture of that size (width, height) as JSON values.

    `location` is (x, y) in [-1, 1] of what was looked at, `pixel` the same place in pixels from the top left
    corner of the upright picture as it is in its file.
    """
    name, probability = path.best()
    width, height = path.picture.size
    left, top = (width - size[0]) // 2, (height - size[1]) // 2
    glimpses = [
        {
            "location": [x, y],
            "pixel": [(x + 1) / 2 * width - left, (y + 1) / 2 * height - top],
            "probabilities": dict(zip(path.classes, probabilities, strict=True)),
        }
        for (x, y), probabilities in zip(
            path.locations.tolist(), path.probabilities.tolist(), strict=True
        )
    ]
    sizes = {"size": list(size), "looked_at_size": [path.size[1], path.size[0]]}
    return {"prediction": name, "probability": probability, **sizes, "glimpses": glimpses}


def _find(images: Sequence[Path]) -> tuple[list[Path], bool]:
    """All pictures, and whether some paths have none."""
    if not images:
        raise InputError("no picture to look at: name files or folders")
    found, failed = [], False
    for path in images:
        try:
            found += find_pictures([path])
        except InputError as error:
            failed = True
            _complain(error)
    return found, failed


def _complain(error: InputError) -> None:
    """Say at once what is wrong with one picture; the others go on."""
    print(f"glimpse show: {error}", file=sys.stderr)


def _draw(path: Scanpath, file: Path, target: Path, *, gif: bool) -> list[Path]:
    from glimpse import drawing  # matplotlib takes seconds to import

    with writing(target.parent):
        target.parent.mkdir(parents=True, exist_ok=True)
    replace(target, drawing.still(path, file.name))
    if not gif:
        return [target]
    replace(target.with_suffix(".gif"), drawing.animation(path, file.name))
    return [target, target.with_suffix(".gif")]


if __name__ == "__main__":
    raise SystemExit(cli.script("glimpse show"))
