"""A self-contained HTML page of pictures and their captions, without scripts and links."""

import base64
from collections.abc import Sequence
from html import escape

from PIL import Image

from datasets.images.files import encode

SIDE = 400  # longer side of a picture on the page, in pixels

STYLE = """
:root { color-scheme: light dark;
  --paper: #f4f3ef; --card: #fff; --ink: #23222b; --grey: #6b6a76; --line: #e2e0d9 }
@media (prefers-color-scheme: dark) {
  :root { --paper: #15151b; --card: #1f1f28; --ink: #ecebf2; --grey: #a09fae; --line: #30303c }
}
* { box-sizing: border-box }
body { margin: 0; padding: clamp(1rem, 4vw, 3rem); background: var(--paper); color: var(--ink);
  font: 1rem/1.45 system-ui, -apple-system, "Segoe UI", sans-serif }
header, main { max-width: 90rem; margin: 0 auto }
header { margin-bottom: 2rem }
h1 { margin: 0; font: 600 1.9rem/1.2 Georgia, "DejaVu Serif", serif }
header p { margin: .3rem 0 0; color: var(--grey) }
main { display: grid; gap: 1.5rem;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 17rem), 1fr)) }
figure { margin: 0; display: flex; flex-direction: column; overflow: hidden;
  background: var(--card); border: 1px solid var(--line); border-radius: .75rem;
  box-shadow: 0 1px 3px #0001, 0 6px 18px #0001 }
img { display: block; width: 100%; aspect-ratio: 4 / 3; object-fit: contain }
figcaption { display: flex; flex-direction: column; flex: 1; padding: .9rem 1.1rem 1rem;
  overflow-wrap: anywhere }
.caption { margin: 0; font: 1.15rem/1.4 Georgia, "DejaVu Serif", serif }
ol { margin: .7rem 0 0; padding: .6rem 0 0; list-style: none; border-top: 1px solid var(--line);
  font-size: .84rem; color: var(--grey) }
li, .file { display: flex; gap: .8rem; justify-content: space-between; padding: .1rem 0 }
span { white-space: nowrap; font-variant-numeric: tabular-nums }
.file { margin: auto 0 0; padding-top: .7rem; color: var(--grey); font-size: .75rem }
@media print {
  body { background: none; padding: 0 }
  figure { break-inside: avoid; box-shadow: none }
}
"""

GENERATOR = '<meta name="generator" content="captioning caption">'
"""Tells a page of ours from one of the user's."""

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
{generator}
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
  content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<link rel="icon" href="data:,">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<header>
<h1>{title}</h1>
<p>{about}</p>
</header>
<main>
{cards}
</main>
</body>
</html>
"""


def page(cards: Sequence[str], title: str, about: str) -> bytes:
    """Return the page of these cards as a file in UTF-8; `about` is a line below its title."""
    filled = PAGE.format(
        generator=GENERATOR,
        title=escape(title),
        about=escape(about),
        style=STYLE,
        cards="\n".join(cards),
    )
    return filled.encode("utf-8", "replace")  # a file name need not be text


def card(picture: Image.Image, file: str, captions: Sequence[tuple[str, str]]) -> str:
    """Return the HTML of one RGB picture: its best caption, the other captions, its file's name.

    Each caption is its text and its confidence.
    """
    (best, note), *others = [(escape(text), escape(note)) for text, note in captions]
    rows = "".join(f"<li>{text} <span>{note}</span></li>\n" for text, note in others)
    more = f"<ol>\n{rows}</ol>\n" if others else ""
    note = f" <span>{note}</span>"
    background = f"background: {_mean_colour(picture)}"
    return (
        f'<figure>\n<img alt="{best}" src="{_data_uri(picture)}" style="{background}">\n'
        f'<figcaption>\n<p class="caption">{best}</p>\n{more}'
        f'<p class="file">{escape(file)}{note}</p>\n</figcaption>\n</figure>'
    )


def _data_uri(picture: Image.Image) -> str:
    small = picture.copy()
    small.thumbnail((SIDE, SIDE))
    content = encode(small, "JPEG", quality=85, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(content).decode()}"


def _mean_colour(picture: Image.Image) -> str:
    """Return the mean colour, for the borders beside a picture that does not fill its place."""
    return f"#{picture.resize((1, 1), Image.Resampling.BOX).tobytes().hex()}"
