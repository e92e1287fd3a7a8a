"""Draws scanpaths: where a model looked, what its retina saw there, and what it made of it.

Each glimpse has a colour and a number, the same on the image and above its column. A column shows the patches from
the finest to the coarsest, the image as known by then, and how probable the classes are by then.
"""

import io
import math
import warnings
from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import Normal, Stroke
from PIL import Image

from glimpse.scanpath import Scanpath, seen_so_far, to_picture

DPI = 200  # of stills; an animation has half of it
MARGIN, TITLE = 0.3, 0.55  # inches
INK, GREY, UNSEEN, RIGHT, WRONG = "#22223b", "#7d7d92", "#e4e4ee", "#2a7f62", "#c1121f"
SHADES = LinearSegmentedColormap.from_list("shades", ["#f5f5f9", "#b4b4cc", INK])
HALO = [Stroke(linewidth=2.6, foreground=(0, 0, 0, 0.45)), Normal()]  # seen on white as on black


def still(path: Scanpath, caption: str) -> bytes:
    """Return the PNG of one scanpath."""
    return _png(_page([Plate(path, caption)], columns=1))


def animation(path: Scanpath, caption: str) -> bytes:
    """Return the animated GIF of one scanpath: a frame for each glimpse, the last one held."""
    plate = Plate(path, caption)
    frames = []
    for glimpses in range(1, len(path) + 1):
        canvas = FigureCanvasAgg(_page([plate], columns=1, glimpses=glimpses, dpi=DPI // 2))
        canvas.draw()
        frames.append(Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB"))
    palette = frames[-1].quantize(256, dither=Image.Dither.NONE)
    frames = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    file = io.BytesIO()
    durations = [700] * (len(frames) - 1) + [2800]  # milliseconds
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:], duration=durations, loop=0)
    return file.getvalue()


def contact_sheet(paths: Sequence[Scanpath], labels: Sequence[int]) -> bytes:
    """Return the PNG of several scanpaths, two in a row, beside what the images really are."""
    plates = []
    for path, label in zip(paths, labels, strict=True):
        truth = path.classes[label]
        caption, colour = ("right", RIGHT) if truth == path.best()[0] else (f"wrong, it is {truth}", WRONG)
        plates.append(Plate(path, caption, colour, column=0.36, panel=2.6, classes=5))
    return _png(_page(plates, columns=min(2, len(plates))))


class Plate:
    """The drawing of one scanpath; lengths are in inches from its top left corner, type sizes in points."""

    HEADER, GAP = 0.27, 0.14  # height of the numbers above the columns; space above the classes

    def __init__(
        self,
        path: Scanpath,
        caption: str,
        colour: str = GREY,
        *,
        column: float = 0.72,  # width of a glimpse's column, less if there are many
        panel: float = 5.0,  # the image is at most so wide
        line: float = 0.165,  # height of a class's line
        classes: int = 10,  # at most so many are shown: those most probable at any glimpse
    ):
        self.path, self.caption, self.colour, self.line = path, caption, colour, line
        self.colours = matplotlib.colormaps["plasma"](np.linspace(0.36, 0.93, len(path)))
        self.column = min(column, max(0.3, 6 * column / len(path)))
        self.cell = 0.94 * self.column
        best = path.probabilities.amax(0).topk(min(classes, len(path.classes))).indices
        self.classes = sorted(best.tolist())
        self.names = [shorten(path.classes[label], 14) for label in self.classes]

        height, width = path.size
        self.known = self.cell * width / max(path.size), self.cell * height / max(path.size)
        self.seen = len(path.widths) * self.column + self.known[1]  # height of all that the retina saw
        columns = self.HEADER + self.seen + self.GAP + len(self.classes) * line
        self.picture = path.picture.copy()
        self.picture.thumbnail((1000, 1000))  # more cannot be seen
        scale = min(panel / width, max(columns, 4 * column) / height)
        self.image = width * scale, height * scale
        self.left = self.image[0] + 0.4 + 0.07 * max(map(len, [*self.names, "so far"]))
        self.width = self.left + len(path) * self.column
        self.height = TITLE + max(columns, self.image[1])

    def draw(self, page: Axes, x: float, y: float, glimpses: int) -> None:
        """Draw the first `glimpses` glimpses, the top left corner at (x, y)."""
        name, probability = self.path.best(glimpses - 1)
        title = f"{shorten(name, 24)}   {100 * probability:.1f} %"
        _write(page, x, y, title, size=13, color=INK, weight="bold", ha="left", va="top")
        _write(page, x, y + 0.25, shorten(self.caption, 60), color=self.colour, ha="left", va="top")
        self._draw_image(page, x, y + TITLE, glimpses)
        self._draw_seen(page, x + self.left, y + TITLE + self.HEADER, glimpses)
        self._draw_classes(page, x + self.left, y + TITLE + self.HEADER + self.seen + self.GAP, glimpses)

    def _draw_image(self, page: Axes, x: float, y: float, glimpses: int) -> None:
        """The scanpath on the image."""
        height, width = self.path.size
        frame = _show(page, self.picture, x, y, *self.image, interpolation="auto")
        pixel = self.image[0] / width
        for t in range(glimpses):
            for k, wide in reversed(list(enumerate(self.path.widths))):
                left, top = (self.path.corners[t, k] * pixel).tolist()
                style = {"linewidth": 0.7 if k else 1.4, "alpha": 0.4 if k else 0.95}
                patch = Rectangle((x + left, y + top), wide * pixel, wide * pixel, fill=False, **style)
                patch.set(edgecolor=self.colours[t], path_effects=HALO if k == 0 else None)
                page.add_patch(patch).set_clip_path(frame)
        points = (self.path.locations.numpy() + 1) / 2 * self.image + (x, y)
        marks = spread(points, gap=0.17)
        for t in range(glimpses):
            for start, end in ((points[max(t - 1, 0)], points[t]), (points[t], marks[t])):
                page.plot(*np.stack([start, end]).T, color=self.colours[t], linewidth=1.1, path_effects=HALO)
        for t in range(glimpses):
            self._number(page, *marks[t], t)

    def _draw_seen(self, page: Axes, x: float, y: float, glimpses: int) -> None:
        """Numbers, patches and the image as known by then, in a column for each glimpse."""
        scales, (width, height) = len(self.path.widths), self.known
        known = seen_so_far(self.path, UNSEEN)
        for t in range(glimpses):
            left = x + t * self.column
            self._number(page, left + self.cell / 2, y - 0.5 * self.HEADER, t)
            for k in range(scales):
                patch = to_picture(self.path.patches[t, :, k])
                _show(page, patch, left, y + k * self.column, self.cell, self.cell)
            _show(page, known[t], left + (self.cell - width) / 2, y + scales * self.column, width, height)
        for k, pixels in enumerate(self.path.widths):
            _write(page, x - 0.09, y + k * self.column + self.cell / 2, f"{pixels} px", ha="right")
        _write(page, x - 0.09, y + scales * self.column + height / 2, "so far", ha="right")

    def _draw_classes(self, page: Axes, x: float, y: float, glimpses: int) -> None:
        """How probable the classes are after each glimpse, with the highest in percent."""
        table = self.path.probabilities[:glimpses, self.classes].numpy()
        for t, row in enumerate(table.argmax(1)):
            left, best = x + t * self.column, table[t, row]
            for n, probability in enumerate(table[t]):
                box = (left, y + n * self.line), self.cell, self.line - 0.015
                page.add_patch(Rectangle(*box, color=SHADES(probability), linewidth=0))
            style = {"size": 7, "color": "white" if best > 0.55 else INK}
            _write(page, left + self.cell / 2, y + (row + 0.46) * self.line, f"{100 * best:.0f}", ha="center", **style)
        for n, name in enumerate(self.names):
            style = {"color": INK, "weight": "bold"} if n == table[-1].argmax() else {}
            _write(page, x - 0.09, y + (n + 0.46) * self.line, name, ha="right", **style)

    def _number(self, page: Axes, x: float, y: float, t: int) -> None:
        """The mark of glimpse t: its number on a disc of its colour."""
        light = self.colours[t, :3] @ (0.3, 0.59, 0.11) > 0.52
        page.scatter(x, y, 125, color=self.colours[t], edgecolor="white", linewidth=0.7, zorder=3)
        style = {"size": 6.8, "weight": "bold", "color": INK if light else "white", "zorder": 4}
        _write(page, x, y, str(t + 1), ha="center", **style)


def spread(points: Float[np.ndarray, "points 2"], gap: float) -> Float[np.ndarray, "points 2"]:
    """Move points apart until none is nearer to another than `gap`; those with room stay where they are."""
    turns = np.arange(len(points)) * 2.4  # the golden angle parts points that coincide
    points = points + 1e-3 * gap * np.stack([np.cos(turns), np.sin(turns)], -1)
    for _ in range(300):
        apart = points[:, None] - points[None]
        distance = np.hypot(*apart.T).T + np.eye(len(points)) * 2 * gap
        lacking = np.clip(gap - distance, 0, None)
        if lacking.max() < 0.01 * gap:
            break
        points = points + 0.5 * (apart * (lacking / distance)[..., None]).sum(1)
    return points


def shorten(text: str, most: int) -> str:
    """Return the text with its middle left out if it is longer than `most`; what cannot be written becomes '?'."""
    text = text.encode("utf-8", "replace").decode()
    return text if len(text) <= most else f"{text[: most // 2]}…{text[-(most - most // 2 - 1) :]}"


def _page(plates: Sequence[Plate], columns: int, glimpses: int | None = None, dpi: int = DPI) -> Figure:
    """A page of plates, drawn up to a number of glimpses; its only axes measure inches from the top left."""
    wide, high = max(plate.width for plate in plates) + 0.55, max(plate.height for plate in plates) + 0.45
    rows = math.ceil(len(plates) / columns)
    width, height = columns * wide - 0.55 + 2 * MARGIN, rows * high - 0.45 + 2 * MARGIN
    figure = Figure((width, height), dpi=dpi, facecolor="white")
    page = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, 0), autoscale_on=False)
    page.set_axis_off()
    for n, plate in enumerate(plates):
        row, column = divmod(n, columns)
        plate.draw(page, MARGIN + column * wide, MARGIN + row * high, glimpses or len(plate.path))
    return figure


def _png(figure: Figure) -> bytes:
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # a name in a script the font lacks is drawn as boxes
        figure.savefig(file, format="png", metadata={"Software": None})
    return file.getvalue()


def _show(
    page: Axes, picture: Image.Image, x: float, y: float, width: float, height: float, interpolation: str = "nearest"
) -> Rectangle:
    """A picture with its top left corner at (x, y); returns its outline."""
    extent = (x, x + width, y + height, y)
    pixels = np.asarray(picture)
    page.imshow(pixels, "gray", vmin=0, vmax=255, extent=extent, aspect="auto", interpolation=interpolation)
    return Rectangle((x, y), width, height, transform=page.transData)


def _write(page: Axes, x: float, y: float, text: str, **style: Any) -> None:
    page.text(x, y, text, parse_math=False, **{"size": 8, "color": GREY, "va": "center_baseline"} | style)
