"""Draws a caption under its picture and, with attention, a heat-map for each word.

Each text has a font with its letters, if one is installed: see `datasets.images.fonts`.
"""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from PIL import Image, ImageDraw, ImageFont, ImageOps
from torch import Tensor

from datasets.images.fonts import font_for

SIDE = 640  # width of a drawing and longer side of the picture, in pixels
COLUMN = 100  # least width of a thumbnail
GAP = 10  # between thumbnails, and around text
PAPER, INK, GREY = "#14141d", "#f6f6fa", "#b9b9cb"
HEAT = "#4a0c6b", "#ffe45e", "#f0544f"  # at 0, at 1, and in the middle


def draw(
    picture: Image.Image,
    caption: str,
    words: Sequence[str] = (),
    alphas: Float[Tensor, "words cells"] | None = None,
) -> Image.Image:
    """Return the RGB picture with its caption below, and below that a heat-map for each word.

    Args:
        picture: the picture, of any size.
        caption: the sentence.
        words: its words one by one; if there are none, no heat-maps are drawn.
        alphas: the attention weights for each word, over a square grid of cells, row by row.
    """
    parts = [fit(picture, SIDE, SIDE), _band(caption)]
    if alphas is not None and len(words):
        parts.append(_strip(parts[0], words, alphas.float().cpu().numpy()))
    drawing = Image.new("RGB", (SIDE, sum(part.height for part in parts)), PAPER)
    top = 0
    for part in parts:
        drawing.paste(part, ((SIDE - part.width) // 2, top))
        top += part.height
    return drawing


def fit(picture: Image.Image, width: int, height: int) -> Image.Image:
    """Scale a picture, its aspect kept, so that it just fits into `width` x `height`."""
    scale = min(width / picture.width, height / picture.height)
    fitted = (max(1, round(scale * picture.width)), max(1, round(scale * picture.height)))
    return picture.convert("RGB").resize(fitted, Image.Resampling.BICUBIC, reducing_gap=2.0)


def wrap(text: str, font: ImageFont.FreeTypeFont, width: int) -> list[str]:
    """Break a text into lines of at most `width` pixels; a word longer than that is cut."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(cut(word, font, width))
    return [line for line in lines if line]


def cut(word: str, font: ImageFont.FreeTypeFont, width: int) -> str:
    """Cut off the end of a word that is longer than `width` pixels."""
    if font.getlength(word) <= width:
        return word
    while word and font.getlength(f"{word}…") > width:
        word = word[:-1]
    return f"{word}…"


def heat(thumbnail: Image.Image, weights: Float[np.ndarray, "side side"]) -> Image.Image:
    """Return a grey, dim thumbnail that glows where `weights` (0 to 1) are high.

    Between the cells of the grid the glow is interpolated.
    """
    grid = Image.fromarray(weights.astype(np.float32))
    smooth = np.asarray(grid.resize(thumbnail.size, Image.Resampling.BICUBIC))
    warmth = Image.fromarray((255 * smooth.clip(0, 1)).astype(np.uint8))
    colours = ImageOps.colorize(warmth, *HEAT)
    paper = Image.new("RGB", thumbnail.size, PAPER)
    grey = Image.blend(paper, ImageOps.grayscale(thumbnail).convert("RGB"), 0.6)
    return Image.composite(colours, grey, warmth.point(lambda value: 0.7 * value))


def _band(caption: str) -> Image.Image:
    """Return the caption, its lines centred."""
    font = font_for(caption, 22)
    lines = wrap(caption, font, SIDE - 4 * GAP)
    band = Image.new("RGB", (SIDE, 30 * len(lines) + 2 * GAP), PAPER)
    for n, line in enumerate(lines):
        ImageDraw.Draw(band).text((SIDE / 2, GAP + 30 * n + 15), line, INK, font, "mm")
    return band


def _strip(
    picture: Image.Image, words: Sequence[str], alphas: Float[np.ndarray, "words cells"]
) -> Image.Image:
    """Return heat-maps side by side, in as many rows as it takes, each above its word.

    They glow where attention is above uniform, all on one scale, so that words can be compared.
    """
    rows = math.ceil(len(words) / ((SIDE - GAP) // (COLUMN + GAP)))
    columns = math.ceil(len(words) / rows)
    column = min((SIDE - GAP) // columns - GAP, 2 * COLUMN)
    thumbnail = fit(picture, column, column * 5 // 4)
    row = thumbnail.height + 22 + GAP
    strip = Image.new("RGB", (columns * (column + GAP) + GAP, rows * row), PAPER)
    side = math.isqrt(alphas.shape[1])
    uniform = 1 / alphas.shape[1]
    weights = (alphas - uniform) / max(alphas.max() - uniform, uniform)
    weights = weights.reshape(-1, side, side)
    for n, word in enumerate(words):
        x = GAP + n % columns * (column + GAP)
        y = n // columns * row
        strip.paste(heat(thumbnail, weights[n]), (x + (column - thumbnail.width) // 2, y))
        font = font_for(word, 14)
        text = cut(" ".join(word.split()), font, column + GAP)  # Pillow cannot measure line breaks
        ImageDraw.Draw(strip).text(
            (x + column / 2, y + thumbnail.height + 13), text, GREY, font, "mm"
        )
    return strip
