"""Which marks in a text are paired: tags, brackets, comments, environments, dollar signs.

    share(["<a><b></a>"], "xml")["tags"]    # 2 of 3 marks are paired: 0.667

These are what the samples of slides 38 to 43 get right. A piece that is cut out of a longer text
opens marks that close outside of it. So no text scores 100 %: compare a score with that of real
text of the same length.
"""

import html
import re
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

Mark = tuple[str, bool]  # its kind, as "b" of "</b>", and whether it opens

TAG = re.compile(r"<!--.*?-->|<(/?)([A-Za-z][\w:.-]*)(?:\s[^<>]*?)?(/?)>", re.DOTALL)
UNPAIRED = {"br", "hr", "img", "wbr"}  # tags of HTML that do not close
C_WORD = re.compile(
    r"/\*(?P<comment>.*?)(?P<end>\*/|\Z)|(?P<stray>\*/)|//[^\n]*"
    r"|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'"
    r"|(?P<bracket>[(){}])",
    re.DOTALL,
)
TEX_COMMENT = re.compile(r"(?<!\\)((?:\\\\)*)%[^\n]*")
ENVIRONMENT = re.compile(r"\\(begin|end)\s*\{([^{}\n]*)\}")
DOLLARS = re.compile(r"\\.|(\$\$?)", re.DOTALL)


class Paired(NamedTuple):
    """The number of marks that are paired, and of all."""

    paired: int
    marks: int


def pairs(marks: Iterable[Mark]) -> Paired:
    """Match marks: one that closes takes the last of its kind that is open, if there is any.

    Marks that were opened in between stay unpaired.
    """
    open_marks: list[str] = []
    paired = count = 0
    for name, opens in marks:
        count += 1
        if opens:
            open_marks.append(name)
        elif name in open_marks:
            while open_marks.pop() != name:
                pass
            paired += 2
    return Paired(paired, count)


def tags(text: str) -> Iterator[Mark]:
    """Yield the tags of XML, also those that are escaped inside texts of a Wikipedia dump."""
    for match in TAG.finditer(html.unescape(text)):
        slash, name, closed = match.groups()
        if name and not closed and name.lower() not in UNPAIRED:
            yield name, not slash


def doubled(text: str, opening: str, closing: str) -> Iterator[Mark]:
    """Yield pairs of brackets such as [[ and ]]."""
    for match in re.finditer(f"{re.escape(opening)}|{re.escape(closing)}", text):
        yield opening, match[0] == opening


def c_brackets(text: str, opening: str, closing: str) -> Iterator[Mark]:
    """Yield brackets of C that stand outside of comments, strings and characters."""
    for match in C_WORD.finditer(text):
        if match["bracket"] in (opening, closing):
            yield opening, match["bracket"] == opening


def c_comments(text: str) -> Iterator[Mark]:
    """Yield the beginnings and ends of C's comments."""
    for match in C_WORD.finditer(text):
        if match["comment"] is not None:
            yield "/*", True
        if match["end"] or match["stray"]:
            yield "/*", False


def environments(text: str) -> Iterator[Mark]:
    """Yield LaTeX's begin and end of environments."""
    for match in ENVIRONMENT.finditer(TEX_COMMENT.sub(r"\1", text)):
        yield match[2], match[1] == "begin"


def dollars(text: str) -> Iterator[Mark]:
    r"""Yield the dollar signs of LaTeX, which open or close a formula; $$ is one sign, \$ is none.

    A formula ends with its paragraph at the latest.
    """
    for number, paragraph in enumerate(re.split(r"\n\s*\n", TEX_COMMENT.sub(r"\1", text))):
        inside = ""
        for match in DOLLARS.finditer(paragraph):
            if sign := match[1]:
                inside = "" if inside == sign else sign
                yield f"{sign}{number}", bool(inside)


def tex_braces(text: str) -> Iterator[Mark]:
    r"""Yield the braces of LaTeX; \{ is none."""
    for match in re.finditer(r"\\.|([{}])", TEX_COMMENT.sub(r"\1", text), re.DOTALL):
        if match[1]:
            yield "{", match[1] == "{"


STRUCTURES: dict[str, dict[str, Callable[[str], Iterable[Mark]]]] = {
    "xml": {
        "tags": tags,
        "[[links]]": lambda text: doubled(text, "[[", "]]"),
        "{{templates}}": lambda text: doubled(text, "{{", "}}"),
    },
    "c": {
        "{braces}": lambda text: c_brackets(text, "{", "}"),
        "(parentheses)": lambda text: c_brackets(text, "(", ")"),
        "/*comments*/": c_comments,
    },
    "latex": {"environments": environments, "$formulas$": dollars, "{braces}": tex_braces},
}


def count(texts: Iterable[str], kind: str) -> dict[str, Paired]:
    """Return the counts of marks by name, matched within each text; `kind` is of `STRUCTURES`."""
    counts = {name: Paired(0, 0) for name in STRUCTURES[kind]}
    for text in texts:
        for name, marks in STRUCTURES[kind].items():
            paired, all_marks = pairs(marks(text))
            counts[name] = Paired(counts[name].paired + paired, counts[name].marks + all_marks)
    return counts


def share(texts: Iterable[str], kind: str) -> dict[str, float]:
    """Return the share of marks that are paired; NaN where there is no mark."""
    return {
        name: paired / marks if marks else float("nan")
        for name, (paired, marks) in count(texts, kind).items()
    }
