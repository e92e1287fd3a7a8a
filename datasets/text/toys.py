"""Small texts that come with the project: `hello` (slides 8-9), and `pages`, drawn at random.

    toy_text("hello")[:10]      # "hellohello"
    toy_text("pages")[:40]      # "<page>\\n  <title>Lo mire</title>\\n  <text>"

`pages` has the marks of a Wikipedia dump, all of them closed: nested tags, and in its texts links,
templates and bold words. Its words are made of syllables.
"""

import random
from collections.abc import Callable

from datasets.text.corpora import Corpus, corpus_of

HELLOS = 444  # stretches of a batch of 8 then begin at different letters
PAGES = 500
SYLLABLES = [consonant + vowel for consonant in "klmnrst" for vowel in "aeio"]


def toy_text(name: str) -> str:
    """Return the text of that name, a key of `TOYS`."""
    return TOYS[name]()


def toy_corpus(name: str, *, as_bytes: bool = False) -> Corpus:
    """Return the text of that name as numbers."""
    return corpus_of(name, toy_text(name), as_bytes=as_bytes)


def pages(count: int = PAGES, seed: int = 0) -> str:
    """Return the text of `count` pages."""
    draw = random.Random(seed)
    return "".join(_page(draw) for _ in range(count))


def _page(draw: random.Random) -> str:
    title = " ".join(_word(draw) for _ in range(draw.randint(1, 2))).capitalize()
    lines = " ".join(_sentence(draw) for _ in range(draw.randint(1, 4)))
    number = draw.randint(1, 999)
    return (
        f"<page>\n  <title>{title}</title>\n  <id>{number}</id>\n  <text>{lines}</text>\n</page>\n"
    )


def _sentence(draw: random.Random) -> str:
    words = [_marked(draw) for _ in range(draw.randint(3, 8))]
    return f"{' '.join(words).capitalize()}."


def _marked(draw: random.Random) -> str:
    word, other = _word(draw), _word(draw)
    marks = [
        f"[[{word}]]",
        f"[[{word} {other}|{other}]]",
        f"{{{{{word}|{other}}}}}",
        f"'''{word}'''",
    ]
    return draw.choice(marks) if draw.random() < 0.25 else word


def _word(draw: random.Random) -> str:
    return "".join(draw.choice(SYLLABLES) for _ in range(draw.choice((1, 1, 2, 2, 2, 3))))


TOYS: dict[str, Callable[[], str]] = {"hello": lambda: "hello" * HELLOS, "pages": pages}
