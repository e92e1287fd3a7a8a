"""A white page to draw on, in inches from its top left corner; type sizes are in points."""

import warnings
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from datasets.images.files import encode
from datasets.images.fonts import font_families, tell_lacking_glyphs

INK, GREY = "#22223b", "#7d7d92"


class Page:
    """An empty page of `width` x `height` inches."""

    def __init__(self, width: float, height: float, dpi: int = 200):
        self.figure = Figure((width, height), dpi=dpi, facecolor="white")
        self.axes = self.figure.add_axes((0, 0, 1, 1), autoscale_on=False)
        self.axes.set(xlim=(0, width), ylim=(height, 0))
        self.axes.set_axis_off()
        self.families = font_families()

    def write(self, x: float, y: float, text: str, **style: Any) -> None:
        """Write text, by default small, grey and vertically centred; formulas stay text."""
        style = {"size": 8, "color": GREY, "va": "center_baseline", "family": self.families} | style
        self.axes.text(x, y, text, parse_math=False, **style)

    def paste(
        self,
        picture: Image.Image,
        x: float,
        y: float,
        width: float,
        height: float,
        interpolation: str = "nearest",
    ) -> Rectangle:
        """Show a picture with its top left corner at (x, y); return its outline."""
        scale = {"cmap": "gray", "vmin": 0, "vmax": 255, "interpolation": interpolation}
        extent = (x, x + width, y + height, y)
        self.axes.imshow(np.asarray(picture), extent=extent, aspect="auto", **scale)
        return Rectangle((x, y), width, height, transform=self.axes.transData)

    def box(self, x: float, y: float, width: float, height: float, **style: Any) -> Rectangle:
        """Draw a rectangle with its top left corner at (x, y)."""
        rectangle = Rectangle((x, y), width, height, **style)
        self.axes.add_patch(rectangle)
        return rectangle

    def png(self) -> bytes:
        """Return the page as a PNG file."""
        return encode(self.image(), "PNG")

    def image(self) -> Image.Image:
        """Return the page as an RGB image; letters that no font has are boxes, and told once."""
        canvas = FigureCanvasAgg(self.figure)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            canvas.draw()
        for warning in caught:
            if str(warning.message).startswith("Glyph"):
                tell_lacking_glyphs()
            else:
                warnings.warn(warning.message, warning.category, stacklevel=2)
        return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")


def shorten(text: str, most: int) -> str:
    """Leave out the middle of a text longer than `most`; what has no encoding becomes ?."""
    text = text.encode("utf-8", "replace").decode()
    return text if len(text) <= most else f"{text[: most // 2]}…{text[-(most - most // 2 - 1) :]}"
