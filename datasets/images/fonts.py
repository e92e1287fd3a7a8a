"""Fonts for what is written on pictures: matplotlib's own, and installed ones of other scripts."""

import functools
import sys
import unicodedata

from matplotlib import font_manager
from matplotlib.ft2font import FT2Font
from PIL import ImageFont

FONT = "DejaVu Sans"  # comes with matplotlib: Latin, Greek, Cyrillic, Hebrew and Arabic letters
OTHER_SCRIPTS = (
    *("Noto Sans CJK JP", "Noto Sans CJK SC", "Noto Sans JP", "Noto Sans SC", "Noto Sans KR"),
    *("Hiragino Sans", "PingFang SC", "Apple SD Gothic Neo", "Yu Gothic", "Microsoft YaHei"),
    *("Malgun Gothic", "WenQuanYi Zen Hei", "Noto Sans Devanagari", "Noto Sans Thai"),
    "Arial Unicode MS",
)
"""Fonts of Linux, macOS and Windows for letters that `FONT` lacks, the first that has one."""
INVISIBLE = ("Cc", "Cf", "Zs", "Zl", "Zp")  # categories of characters that need no glyph


def font_families() -> list[str]:
    """Return `FONT` and those of `OTHER_SCRIPTS` that are installed here."""
    installed = {font.name for font in font_manager.fontManager.ttflist}
    return [FONT, *(name for name in OTHER_SCRIPTS if name in installed)]


def font_for(text: str, size: int) -> ImageFont.FreeTypeFont:
    """Return Pillow's font, `size` pixels high, of the first family that has all letters of a text.

    If none has, it is the first that lacks fewest: those are boxes, which is told once.
    """
    letters = {ord(letter) for letter in text if _is_visible(letter)}
    files = [font_manager.findfont(family) for family in font_families()]
    lacking = [len(letters - _glyphs(file)) for file in files]
    if min(lacking):
        tell_lacking_glyphs()
    return _font(files[lacking.index(min(lacking))], size)


@functools.cache
def tell_lacking_glyphs() -> None:
    """Print one line, not one for each picture."""
    print(
        "warning: no font here has all letters of what is written on pictures, and those that lack "
        "are drawn as boxes; install one that has them, as Noto Sans CJK",
        file=sys.stderr,
    )


def _is_visible(letter: str) -> bool:
    selects = "\ufe00" <= letter <= "\ufe0f"  # how the letter before it is drawn
    return unicodedata.category(letter) not in INVISIBLE and not selects


@functools.cache
def _glyphs(file: str) -> frozenset[int]:
    """Return the numbers of the characters that a font has."""
    return frozenset(FT2Font(file).get_charmap())


@functools.cache
def _font(file: str, size: int) -> ImageFont.FreeTypeFont:
    index = getattr(file, "face_index", 0)  # in a collection of fonts; since matplotlib 3.11
    return ImageFont.truetype(str(file), size, index)
