"""Draws the retina, its coordinates and the content of each patch.

    python -m glimpse.retina assets/retina.png

A patch of `glimpse.sensor` is outlined on the image in the colour of the frame of its content.
"""

import sys
from pathlib import Path

import matplotlib
import torch
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from core.files import replace
from datasets.images import digits
from datasets.images.files import to_tensor
from glimpse.pictures.page import GREY, INK, Page
from glimpse.pictures.scanpath import to_picture
from glimpse.sensor import Retina

LOCATION = (0.3, -0.2)
LEFT, TOP, PIXEL = 0.75, 0.6, 0.06  # inches


def draw(image: UInt8[Tensor, "channels height width"], retina: Retina) -> Page:
    """Return the drawing of a retina at `LOCATION` in the image."""
    height, width = (PIXEL * n for n in image.shape[1:])
    page = Page(LEFT + width + 3.1, TOP + height + 0.6, dpi=130)
    frame = page.paste(to_picture(image), LEFT, TOP, width, height, interpolation="bicubic")
    _draw_coordinates(page, width, height)

    prepared = retina.prepare(image[None])
    location = torch.tensor([LOCATION])
    patches = retina(prepared, location)[0]
    corners = retina.corners(prepared.half_sizes, location)[0] * PIXEL
    x = LEFT + width + 0.5
    side = (height - 0.3) / 3
    colours = matplotlib.colormaps["plasma"]([0.45, 0.68, 0.9])
    for k, wide in enumerate(retina.widths):
        outline = {"fill": False, "edgecolor": colours[k], "linewidth": 2}
        left, top = corners[k].tolist()
        page.box(LEFT + left, TOP + top, wide * PIXEL, wide * PIXEL, **outline).set_clip_path(frame)
        y = TOP + k * (side + 0.15)
        page.paste(to_picture(patches[:, k]), x, y, side, side)
        page.box(x, y, side, side, **outline)
        text = f"{wide} pixels wide,\n{retina.size} × {retina.size} cells"
        page.write(x + side + 0.15, y + side / 2, text, size=10, va="center")
    return page


def _draw_coordinates(page: Page, width: float, height: float) -> None:
    """Corners, centre and axes of the image, and the location looked at."""
    right = LEFT + width
    bottom = TOP + height
    style = {"size": 10, "color": INK, "ha": "center"}
    for text, x, y, below in (
        ("(−1, −1)", LEFT, TOP, -0.18),
        ("(1, −1)", right, TOP, -0.18),
        ("(−1, 1)", LEFT, bottom, 0.2),
        ("(1, 1)", right, bottom, 0.2),
    ):
        page.axes.scatter(x, y, 22, color=INK, zorder=3)
        page.write(x, y + below, text, **style)
    x, y = LEFT + width / 2, TOP + height / 2
    page.axes.scatter(x, y, 40, color="white", marker="+", linewidth=1)
    page.write(x - 0.1, y, "(0, 0)", **style | {"color": "white", "ha": "right"})
    arrow = {"arrowstyle": "-|>", "color": GREY, "linewidth": 1, "shrinkA": 7}
    for name, start, (right, down) in (
        ("x", (x, TOP - 0.18), (0.5, 0)),
        ("y", (LEFT - 0.18, y), (0, 0.5)),
    ):
        page.write(*start, name, size=10, ha="center")
        page.axes.annotate("", (start[0] + right, start[1] + down), start, arrowprops=arrow)
    x, y = LEFT + (LOCATION[0] + 1) / 2 * width, TOP + (LOCATION[1] + 1) / 2 * height
    page.axes.scatter(x, y, 30, color="white", edgecolor=INK, zorder=3)
    page.write(
        x, bottom + 0.2, f"looking at ({LOCATION[0]}, {LOCATION[1]})".replace("-", "−"), **style
    )


def _plane() -> UInt8[Tensor, "1 60 96"]:
    """Return some built-in digits on a plane."""
    images = digits.load("digits").train.fetch(torch.arange(10))
    plane = Image.new("L", (96, 60))
    for n, corner in ((0, (12, 30)), (1, (52, 12)), (5, (26, 2)), (9, (72, 34))):
        plane.paste(to_picture(images[n]).resize((20, 24), Image.Resampling.BICUBIC), corner)
    return to_tensor(plane)


if __name__ == "__main__":
    replace(Path(sys.argv[1]), draw(_plane(), Retina(12, scales=3)).png())
