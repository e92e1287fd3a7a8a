"""Letters for pictures, with Pillow.

The font is the one that comes with matplotlib: it has the letters of Latin, Greek and Cyrillic
scripts, while Pillow's own has those of English alone. What it lacks becomes a box.
"""

from functools import cache
from pathlib import Path

import matplotlib
from PIL import ImageFont


@cache
def font(size: int, weight: str = "") -> ImageFont.FreeTypeFont:
    """Return the font, `size` pixels high, as it is or of weight "Bold"."""
    name = f"DejaVuSans-{weight}.ttf" if weight else "DejaVuSans.ttf"
    return ImageFont.truetype(Path(matplotlib.get_data_path(), "fonts", "ttf", name), size)


def cut(text: str, font: ImageFont.FreeTypeFont, width: float) -> str:
    """Return the text on one line, its end cut off if it is longer than `width` pixels."""
    text = " ".join(text.split())  # Pillow cannot measure line breaks
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(f"{text}…") > width:
        text = text[:-1]
    return f"{text}…" if text else ""
