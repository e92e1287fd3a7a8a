"""Draws scanpaths: where a model looked, what its retina saw there, and what it predicted.

Each glimpse has a colour and a number, the same on the image and above its column. A column shows
the patches from the finest to the coarsest, the image as known by then, and how probable the
classes are by then.
"""

import math
from collections.abc import Sequence

import matplotlib
import numpy as np
from jaxtyping import Float
from matplotlib.colors import LinearSegmentedColormap, to_hex
from matplotlib.patheffects import Normal, Stroke
from PIL import Image

from datasets.images.files import encode
from glimpse.pictures.page import GREY, INK, Page, shorten
from glimpse.pictures.scanpath import Scanpath, seen_so_far, to_picture

UNSEEN, RIGHT, WRONG = "#e4e4ee", "#2a7f62", "#c1121f"
SHADES = LinearSegmentedColormap.from_list("shades", ["#f5f5f9", "#b4b4cc", INK])
HALO = [Stroke(linewidth=2.6, foreground=(0, 0, 0, 0.45)), Normal()]  # seen on white as on black
MARGIN, BETWEEN = 0.3, 0.5  # inches around and between plates
PANEL = 5.0  # inches, the longer side of an image with several scanpaths
FRAME, HOLD = 700, 2800  # milliseconds of an animation's frame and of its last one


def still(path: Scanpath, caption: str) -> bytes:
    """Return the PNG of one scanpath."""
    return _lay_out([Plate(path, caption)], columns=1).png()


def together(paths: Sequence[Scanpath], caption: str) -> bytes:
    """Return the PNG of several scanpaths of one image, the earlier glimpses darker."""
    height, width = paths[0].size
    scale = PANEL / max(height, width)
    wide, high = width * scale, height * scale
    page = Page(wide + 2 * MARGIN, high + 2 * MARGIN + Plate.TITLE)
    names = [path.best()[0] for path in paths]
    most = max(set(names), key=names.count)
    title = f"{shorten(most, 24)}   in {names.count(most)} of {len(paths)}"
    page.write(MARGIN, MARGIN, title, size=13, color=INK, weight="bold", va="top")
    page.write(MARGIN, MARGIN + 0.25, shorten(caption, 60), va="top")
    top = MARGIN + Plate.TITLE
    page.paste(paths[0].picture, MARGIN, top, wide, high, interpolation="auto")
    for path in paths:
        x, y = ((path.locations.numpy() + 1) / 2 * (wide, high) + (MARGIN, top)).T
        colours = matplotlib.colormaps["plasma"](np.linspace(0.36, 0.93, len(path)))
        page.axes.plot(x, y, color=GREY, linewidth=0.7, alpha=0.6)
        page.axes.scatter(x, y, 16, color=colours, edgecolor="white", linewidth=0.4, zorder=3)
    return page.png()


def animation(path: Scanpath, caption: str) -> bytes:
    """Return the animated GIF of one scanpath: a frame for each glimpse, the last one held."""
    plate = Plate(path, caption)
    count = len(path)
    frames = [_lay_out([plate], columns=1, glimpses=t + 1, dpi=100).image() for t in range(count)]
    width, height = frames[0].size
    roll = Image.new(
        "RGB", (width, (count + 1) * height)
    )  # all frames, and room for the glimpses' colours
    for t, frame in enumerate(frames):
        roll.paste(frame, (0, t * height))
        y = count * height + t * height // count
        roll.paste(to_hex(plate.colours[t]), (0, y, width, y + height // count))
    roll = roll.quantize(256, dither=Image.Dither.NONE)  # hence one palette
    first, *others = (roll.crop((0, t * height, width, (t + 1) * height)) for t in range(count))
    durations = [FRAME] * (count - 1) + [HOLD]
    return encode(first, "GIF", save_all=True, append_images=others, duration=durations, loop=0)


def contact_sheet(paths: Sequence[Scanpath], truths: Sequence[str]) -> bytes:
    """Return the PNG of several scanpaths, two in a row, with the names of what they show."""
    plates = []
    for path, truth in zip(paths, truths, strict=True):
        caption, colour = (
            ("right", RIGHT) if truth == path.best()[0] else (f"wrong, it is {truth}", WRONG)
        )
        plates.append(Plate(path, caption, colour, column=0.36, panel=2.6, classes=5, mark=0.125))
    return _lay_out(plates, columns=min(2, len(plates))).png()


class Plate:
    """The drawing of one scanpath; lengths are in inches from its top left corner."""

    TITLE, HEADER, GAP = (
        0.55,
        0.27,
        0.14,
    )  # heights of title, of the columns' numbers, above the classes
    LINE = 0.165  # height of a class's line

    def __init__(
        self,
        path: Scanpath,
        caption: str,
        colour: str = GREY,
        *,
        column: float = 0.72,  # width of a glimpse's column, less if there are many
        panel: float = 5.0,  # the image is at most so wide
        classes: int = 10,  # so many are shown: the answers, and the most probable at any glimpse
        mark: float = 0.155,  # diameter of a glimpse's number
    ):
        self.path = path
        self.caption = caption
        self.colour = colour
        self.mark = mark
        self.colours = matplotlib.colormaps["plasma"](np.linspace(0.36, 0.93, len(path)))
        self.picture = path.picture.copy()
        self.picture.thumbnail((1000, 1000))  # more could not be seen
        answers = path.probabilities[path.answering()].argmax(-1).unique()
        probable = path.probabilities.amax(0)
        probable[answers] = 2.0  # before all others
        shown = min(max(classes, len(answers)), len(path.classes))
        self.classes = sorted(probable.topk(shown).indices.tolist())
        self.names = [shorten(path.classes[label], 14) for label in self.classes]

        height, width = path.size
        self.column = min(column, max(0.3, 6 * column / len(path)))
        self.cell = 0.94 * self.column
        self.view = self.cell * width / max(path.size), self.cell * height / max(path.size)
        # The patches, and the image as known by then.
        self.column_height = len(path.widths) * self.column + self.view[1]
        columns = self.HEADER + self.column_height + self.GAP + len(self.classes) * self.LINE
        scale = min(panel / width, max(columns, 4 * column) / height)
        self.image = width * scale, height * scale
        self.left = self.image[0] + 0.4 + 0.07 * max(map(len, [*self.names, "so far"]))
        self.width = self.left + len(path) * self.column
        self.height = self.TITLE + max(columns, self.image[1])

    def draw(self, page: Page, x: float, y: float, glimpses: int) -> None:
        """Draw the first `glimpses` glimpses, the top left corner at (x, y)."""
        name, probability = self.path.best(glimpses - 1)
        title = f"{shorten(name, 24)}   {100 * probability:.1f} %"
        page.write(x, y, title, size=13, color=INK, weight="bold", va="top")
        page.write(x, y + 0.25, shorten(self.caption, 60), color=self.colour, va="top")
        y += self.TITLE
        self._draw_image(page, x, y, glimpses)
        self._draw_patches(page, x + self.left, y + self.HEADER, glimpses)
        self._draw_classes(
            page, x + self.left, y + self.HEADER + self.column_height + self.GAP, glimpses
        )

    def _draw_image(self, page: Page, x: float, y: float, glimpses: int) -> None:
        """Draw the image, the outlines of the patches, and the numbered path."""
        frame = page.paste(self.picture, x, y, *self.image, interpolation="auto")
        pixel = self.image[0] / self.path.size[1]
        for t in range(glimpses):
            for k, wide in reversed(list(enumerate(self.path.widths))):
                left, top = (self.path.corners[t, k] * pixel).tolist()
                box = page.box(x + left, y + top, wide * pixel, wide * pixel, fill=False)
                box.set(
                    edgecolor=self.colours[t], linewidth=0.7 if k else 1.4, alpha=0.4 if k else 0.95
                )
                box.set(path_effects=None if k else HALO, clip_path=frame)
        points = (self.path.locations.numpy() + 1) / 2 * self.image + (x, y)
        marks = spread(points, gap=1.1 * self.mark)
        for t in range(glimpses):
            for ends in ([points[max(t - 1, 0)], points[t]], [points[t], marks[t]]):
                page.axes.plot(
                    *np.transpose(ends), color=self.colours[t], linewidth=1.1, path_effects=HALO
                )
        for t, (mark_x, mark_y) in enumerate(marks[:glimpses]):
            self._number(page, mark_x, mark_y, t)

    def _draw_patches(self, page: Page, x: float, y: float, glimpses: int) -> None:
        """Draw a column for each glimpse: its number, patches and the image as known by then."""
        scales = len(self.path.widths)
        width, height = self.view
        views = seen_so_far(self.path, UNSEEN)
        below = y + scales * self.column
        for t in range(glimpses):
            left = x + t * self.column
            self._number(page, left + self.cell / 2, y - self.HEADER / 2, t)
            for k in range(scales):
                patch = to_picture(self.path.patches[t, :, k])
                page.paste(patch, left, y + k * self.column, self.cell, self.cell)
            page.paste(views[t], left + (self.cell - width) / 2, below, width, height)
        for k, pixels in enumerate(self.path.widths):
            page.write(x - 0.09, y + k * self.column + self.cell / 2, f"{pixels} px", ha="right")
        page.write(x - 0.09, below + height / 2, "so far", ha="right")

    def _draw_classes(self, page: Page, x: float, y: float, glimpses: int) -> None:
        """Draw the probability of the classes after each glimpse, the highest in percent."""
        table = self.path.probabilities[:glimpses, self.classes].numpy()
        middles = [y + (n + 0.46) * self.LINE for n in range(len(self.classes))]
        for t, row in enumerate(table.argmax(1)):
            left = x + t * self.column
            for n, probability in enumerate(table[t]):
                shade = page.box(left, y + n * self.LINE, self.cell, self.LINE - 0.015, linewidth=0)
                shade.set_facecolor(SHADES(probability))
            style = {"size": 7, "color": "white" if table[t, row] > 0.55 else INK, "ha": "center"}
            percent = f"{100 * table[t, row]:.0f}"
            if self.cell > 0.4:  # wide enough for the unit
                percent += " %"
            page.write(left + self.cell / 2, middles[row], percent, **style)
        for n, name in enumerate(self.names):
            style = {"color": INK, "weight": "bold"} if n == table[-1].argmax() else {}
            page.write(x - 0.09, middles[n], name, ha="right", **style)

    def _number(self, page: Page, x: float, y: float, t: int) -> None:
        """Draw the number of glimpse t on a disc of its colour."""
        area = (72 * self.mark) ** 2  # in square points
        page.axes.scatter(
            x, y, area, color=self.colours[t], edgecolor="white", linewidth=0.7, zorder=3
        )
        light = self.colours[t, :3] @ (0.3, 0.59, 0.11) > 0.52
        style = {
            "size": 44 * self.mark,
            "weight": "bold",
            "color": INK if light else "white",
            "ha": "center",
        }
        page.write(x, y, str(t + 1), zorder=4, **style)


def spread(points: Float[np.ndarray, "points 2"], gap: float) -> Float[np.ndarray, "points 2"]:
    """Move points apart until none is nearer to another than `gap`; those with room hardly move."""
    turns = np.arange(len(points)) * 2.4  # the golden angle parts points that coincide
    points = points + 1e-3 * gap * np.stack([np.cos(turns), np.sin(turns)], -1)
    for _ in range(300):
        apart = points[:, None] - points[None]
        distance = np.hypot(apart[..., 0], apart[..., 1]) + np.eye(len(points)) * 2 * gap
        lacking = np.clip(gap - distance, 0, None)
        if lacking.max() < 0.01 * gap:
            break
        points = points + 0.5 * (apart * (lacking / distance)[..., None]).sum(1)
    return points


def _lay_out(
    plates: Sequence[Plate], columns: int, glimpses: int | None = None, dpi: int = 200
) -> Page:
    """Return a page of plates in rows, drawn up to a number of glimpses."""
    wide = max(plate.width for plate in plates) + BETWEEN
    high = max(plate.height for plate in plates) + BETWEEN
    rows = math.ceil(len(plates) / columns)
    around = 2 * MARGIN - BETWEEN
    page = Page(columns * wide + around, rows * high + around, dpi)
    for n, plate in enumerate(plates):
        row, column = divmod(n, columns)
        plate.draw(page, MARGIN + column * wide, MARGIN + row * high, glimpses or len(plate.path))
    return page
