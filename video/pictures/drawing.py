"""Draws labels over time: a video's timeline as a picture, and the colours of an overlay's strip.

A class has the same colour in all of them, and however many classes there are: see `palette`.
"""

import math
from collections.abc import Mapping, Sequence
from functools import cache

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from PIL import Image, ImageDraw

from datasets.images.files import encode
from video.labels.formats import Span
from video.labels.segments import to_segments
from video.pictures.fonts import cut, font

OKABE_ITO = ("#56b4e9", "#e69f00", "#009e73", "#cc79a7", "#f0e442", "#0072b2", "#d55e00")
PAPER, INK, GREY, EMPTY = "#ffffff", "#1f1f2b", "#6c6c7c", "#ececf1"

WIDTH = 1600  # pixels of a timeline picture
MARGIN = 40
LEFT = 180  # where bars begin
BAR = 72  # height of a bar
GAP = 12  # between two bars
LINE = 36  # height of a line of the legend
TO_CONES = np.array(
    [[0.41222, 0.21190, 0.08830], [0.53633, 0.68070, 0.28172], [0.05145, 0.10740, 0.62998]]
)
FROM_CONES = np.array(
    [[0.21045, 1.97800, 0.02590], [0.79362, -2.42859, 0.78277], [-0.00407, 0.45059, -0.80868]]
)
STEPS = (  # seconds between ticks
    *(0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30),
    *(60, 120, 300, 600, 900, 1800, 3600, 7200),
)
TICKS = 12  # at most, unless the video lasts more than a day


@cache
def palette(count: int) -> UInt8[np.ndarray, "count 3"]:
    """Return colours that look as different as can be, RGB; fewer classes have the first ones.

    Seven are those of Okabe and Ito, told apart by people of every colour vision
    (https://jfly.uni-koeln.de/color). Each further one is, among those of a grid, farthest from the
    ones before it, and from PAPER, INK and EMPTY.
    """
    chosen = [_rgb(text) for text in OKABE_ITO]
    levels = np.linspace(40, 220, 8).round()
    grid = np.stack(np.meshgrid(levels, levels, levels), -1).reshape(-1, 3)
    avoid = np.array([*chosen, _rgb(PAPER), _rgb(INK), _rgb(EMPTY)])
    gaps = np.linalg.norm(_oklab(grid)[:, None] - _oklab(avoid), axis=-1).min(1)
    while len(chosen) < count:
        chosen.append(grid[gaps.argmax()])
        gaps = np.minimum(gaps, np.linalg.norm(_oklab(grid) - _oklab(chosen[-1]), axis=-1))
    return np.array(chosen, dtype=np.uint8)[:count]


def ink(background: UInt8[np.ndarray, "3"]) -> str:
    """Return black or white, whichever is read more easily on a colour."""
    return INK if background @ (0.299, 0.587, 0.114) > 130 else PAPER


def columns(
    spans: Sequence[Span], classes: Sequence[str], start: float, end: float, width: int
) -> Int[np.ndarray, " width"]:
    """Return the class in each of `width` columns of pixels that stand for a time; -1: none.

    The columns go from `start` to `end` seconds.

    However short a span is, it has a column, unless a shorter one is in the same.
    """
    numbers = {name: n for n, name in enumerate(classes)}
    row = np.full(width, -1)
    visible = [span for span in spans if span.start < end and span.end > start]
    for span in sorted(visible, key=lambda span: span.start - span.end):  # the longest first
        left = round(width * (span.start - start) / (end - start))
        right = round(width * (span.end - start) / (end - start))
        left = min(max(left, 0), width - 1)
        row[left : max(right, left + 1)] = numbers[span.label]
    return row


def paint(
    row: Int[np.ndarray, " width"], count: int, empty: str = EMPTY
) -> UInt8[np.ndarray, "width 3"]:
    """Return columns of `count` classes in their colours, RGB; those of none are `empty`."""
    return np.concatenate([palette(count), _rgb(empty)[None].astype(np.uint8)])[row]


def timeline(
    rows: Mapping[str, Sequence[Span]],
    classes: Sequence[str],
    title: str = "",
    *,
    limits: tuple[float, float] | None = None,
    differences: bool = False,
) -> bytes:
    """Return the PNG of segments over an axis of time, with a legend of the classes that occur.

    Args:
        rows: for each row its name, such as "prediction" and "truth", and its segments.
        classes: names of the labels, in the order that gives them their colours.
        title: a line above.
        limits: the time in seconds at which the axis begins and ends; by default the first start
            and the last end of the segments.
        differences: whether marks show where two rows differ.

    Raises:
        ValueError: there is neither a segment nor a limit.
    """
    if limits is None:
        spans = [span for row in rows.values() for span in row]
        if not spans:
            raise ValueError("a timeline needs a segment or limits")
        limits = min(span.start for span in spans), max(span.end for span in spans)
    start, end = limits
    bars = [columns(row, classes, start, end, WIDTH - MARGIN - LEFT) for row in rows.values()]
    parts = []
    if title:
        parts.append(_title(title))
    parts += [_row(name, bar, classes) for name, bar in zip(rows, bars, strict=True)]
    if differences and len(bars) == 2:
        parts.append(_differences(bars[0] != bars[1]))
    parts.append(_axis(start, end))
    occurring = [n for n in range(len(classes)) if any(n in bar for bar in bars)]
    parts.append(_legend(occurring, classes))
    return encode(_stack(parts), "PNG")


def clock(seconds: float, digits: int = 0) -> str:
    """Return a time as 0:07 or 1:02:03, with `digits` decimals, rounded down."""
    ticks = math.floor(seconds * 10**digits + 1e-6)
    minutes, rest = divmod(ticks, 60 * 10**digits)
    width = 2
    if digits:
        width = 3 + digits
    text = f"{rest / 10**digits:0{width}.{digits}f}"
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}:{minutes:02}:{text}"
    return f"{minutes}:{text}"


def _rgb(text: str) -> Float[np.ndarray, "3"]:
    return np.array([*bytes.fromhex(text[1:])], dtype=np.float64)


def _oklab(rgb: Float[np.ndarray, "*colours 3"]) -> Float[np.ndarray, "*colours 3"]:
    """Return colours in a space where distance is how different they look.

    See https://bottosson.github.io/posts/oklab.
    """
    linear = np.where(rgb <= 10.31, rgb / 255 / 12.92, ((rgb / 255 + 0.055) / 1.055) ** 2.4)
    return np.cbrt(linear @ TO_CONES) @ FROM_CONES


def _sheet(height: int) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    sheet = Image.new("RGB", (WIDTH, height), PAPER)
    return sheet, ImageDraw.Draw(sheet)


def _stack(parts: Sequence[Image.Image]) -> Image.Image:
    """All parts below one another, with a margin."""
    whole, _ = _sheet(sum(part.height for part in parts) + 2 * MARGIN)
    top = MARGIN
    for part in parts:
        whole.paste(part, (0, top))
        top += part.height
    return whole


def _title(text: str) -> Image.Image:
    sheet, draw = _sheet(52)
    letters = font(26, "Bold")
    draw.text((MARGIN, 2), cut(text, letters, WIDTH - 2 * MARGIN), INK, letters, "la")
    return sheet


def _row(name: str, bar: Int[np.ndarray, " width"], classes: Sequence[str]) -> Image.Image:
    """A name and its bar; segments that are long enough have their names in them."""
    sheet, draw = _sheet(BAR + GAP)
    shown = cut(name, font(20), LEFT - 16 - MARGIN / 2)
    draw.text((LEFT - 16, BAR / 2), shown, INK, font(20), "rm")
    sheet.paste(Image.fromarray(np.tile(paint(bar, len(classes)), (BAR, 1, 1))), (LEFT, 0))
    for label, left, right in to_segments(torch.from_numpy(bar)):
        if label < 0 or right - left < 8:
            continue
        draw.line([(LEFT + right, 0), (LEFT + right, BAR)], PAPER, 2)
        text = cut(classes[label], font(18), right - left - 16)
        if len(text) > 4 or text == classes[label]:
            middle = (LEFT + (left + right) / 2, BAR / 2)
            draw.text(middle, text, ink(palette(len(classes))[label]), font(18), "mm")
    return sheet


def _differences(differ: np.ndarray) -> Image.Image:
    sheet, draw = _sheet(12 + GAP)
    draw.text((LEFT - 16, 6), "differ", GREY, font(16), "rm")
    marks = np.where(differ[:, None], _rgb(INK), _rgb(EMPTY)).astype(np.uint8)
    sheet.paste(Image.fromarray(np.tile(marks, (12, 1, 1))), (LEFT, 0))
    return sheet


def _axis(start: float, end: float) -> Image.Image:
    """Draw ticks at round seconds; videos above two minutes have minutes and seconds."""
    sheet, draw = _sheet(64)
    step = next((step for step in STEPS if (end - start) / step <= TICKS), 86400)
    for n in range(math.ceil(start / step), math.floor(end / step + 1e-6) + 1):
        x = LEFT + (WIDTH - MARGIN - LEFT) * (n * step - start) / (end - start)
        draw.line([(x, 0), (x, 8)], GREY, 2)
        text = f"{n * step:.4g}"
        if end > 120:
            text = clock(n * step)
        elif n == 0:
            text = "0 s"
        draw.text((x, 14), text, GREY, font(18), "ma")
    return sheet


def _legend(labels: Sequence[int], classes: Sequence[str]) -> Image.Image:
    """The colour and name of each class, in as many lines as it takes."""
    places = []
    x = LEFT
    y = 0
    for label in labels:
        name = cut(classes[label], font(20), WIDTH - MARGIN - LEFT - 32)
        width = 32 + font(20).getlength(name)
        if x + width > WIDTH - MARGIN:
            x = LEFT
            y += LINE
        places.append((label, name, x, y))
        x += width + 36
    sheet, draw = _sheet(y + 22)
    for label, name, x, y in places:
        colour = tuple(palette(len(classes))[label].tolist())
        draw.rounded_rectangle((x, y, x + 20, y + 20), 4, colour)
        draw.text((x + 30, y + 10), name, INK, font(20), "lm")
    return sheet
