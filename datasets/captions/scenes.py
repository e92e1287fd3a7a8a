"""Drawn scenes with sentences: a shape left of, right of, above, below or inside another one.

Nothing is downloaded. A scene is a function of (seed, number), and is drawn when it is opened.
"""

import hashlib
import math
from collections.abc import Iterable
from dataclasses import dataclass
from random import Random
from typing import NamedTuple

from PIL import Image, ImageDraw

from core.rng import fold

COUNTS = {"train": 2000, "validation": 200, "test": 200}
SENTENCES = 5  # of a scene
SIZE = 64  # pixels a side
FINE = 4  # drawn as many times larger, then averaged

COLOURS = {
    "red": (214, 35, 40),
    "orange": (246, 130, 15),
    "yellow": (250, 212, 30),
    "green": (35, 160, 65),
    "blue": (40, 95, 225),
    "purple": (130, 55, 180),
    "pink": (250, 145, 195),
    "black": (15, 15, 17),
    "white": (252, 252, 252),
}
GROUNDS = {"light": (205, 235), "dark": (45, 75)}  # greys, from and to
HIDDEN = {"light": "white", "dark": "black"}  # the colour that would hardly be seen there

RADII = {"small": (6.0, 7.5), "large": (10.5, 12.5)}  # pixels, from and to,
AROUND = (21.0, 24.0)  # and of a shape that has another inside
REACH = 1.12  # how far a shape of radius 1 goes from its middle, up or down or to a side
BORDER = 1.5  # pixels between a shape and the border, at least
GAP = 2.0  # pixels between two shapes, at least
SWAY = 3.0  # pixels that a shape is off their common line, at most


def _star(corners: int, *radii: float) -> list[tuple[float, float]]:
    """The corners of a polygon, clockwise from the top, y downwards, with these radii in turn."""
    turns = [2 * math.pi * n / corners for n in range(corners)]
    reach = [radii[n % len(radii)] for n in range(corners)]
    return [(r * math.sin(turn), -r * math.cos(turn)) for r, turn in zip(reach, turns, strict=True)]


SHAPES = {
    "circle": _star(60, 0.92),
    "square": [(-0.84, -0.84), (0.84, -0.84), (0.84, 0.84), (-0.84, 0.84)],
    "triangle": [(x, y + 0.2) for x, y in _star(3, REACH)],
    "star": _star(10, REACH, 0.5),
    "diamond": [(0, -1.1), (0.8, 0), (0, 1.1), (-0.8, 0)],
    "cross": [
        *((-0.36, -1), (0.36, -1), (0.36, -0.36), (1, -0.36), (1, 0.36), (0.36, 0.36)),
        *((0.36, 1), (-0.36, 1), (-0.36, 0.36), (-1, 0.36), (-1, -0.36), (-0.36, -0.36)),
    ],
}

TEMPLATES = {
    "left": (
        "{a} left of {b}",
        "{a} is to the left of {b}",
        "{b} right of {a}",
        "{b} is to the right of {a}",
        "there is {a} left of {b}",
        "{a} with {b} on its right",
        "{a} next to {b}",
        "there is {b} beside {a}",
    ),
    "above": (
        "{a} above {b}",
        "{a} is above {b}",
        "{b} below {a}",
        "{b} is below {a}",
        "there is {b} underneath {a}",
        "{a} with {b} below it",
        "there is {a} over {b}",
        "{b} is under {a}",
    ),
    "inside": (
        "{a} inside {b}",
        "{a} is inside {b}",
        "{b} with {a} inside",
        "there is {a} in {b}",
        "{b} around {a}",
        "{b} contains {a}",
        "{a} is in the middle of {b}",
        "there is {b} with {a} in it",
    ),
}


class Shape(NamedTuple):
    """A shape, and where it is: radius and middle in pixels, y downwards."""

    kind: str
    colour: str
    size: str
    radius: float
    x: float
    y: float


@dataclass(frozen=True)
class Scene:
    """A picture that is drawn when it is opened, and sentences that are true of it."""

    name: str
    captions: tuple[str, ...]
    relation: str
    """Of the first shape to the second: left, above or inside."""
    shapes: tuple[Shape, Shape]
    grey: int
    """Of the background, 0 to 255."""

    def open(self) -> Image.Image:
        """Return the RGB picture."""
        picture = Image.new("RGB", (FINE * SIZE, FINE * SIZE), (self.grey,) * 3)
        brush = ImageDraw.Draw(picture)
        for kind, colour, _, radius, x, y in reversed(self.shapes):
            corners = [(x + radius * dx, y + radius * dy) for dx, dy in SHAPES[kind]]
            brush.polygon([(FINE * x - 0.5, FINE * y - 0.5) for x, y in corners], COLOURS[colour])
        return picture.reduce(FINE)

    def digest(self) -> str:
        """Return the SHA-256 of the pixels."""
        return hashlib.sha256(self.open().tobytes()).hexdigest()


def splits(seed: int = 0) -> dict[str, tuple[Scene, ...]]:
    """Return the scenes of train, validation and test, as many as `COUNTS` says."""
    found, first = {}, 0
    for name, count in COUNTS.items():
        found[name] = tuple(scene(seed, number) for number in range(first, first + count))
        first += count
    return found


def scene(seed: int, number: int) -> Scene:
    """Return one scene: two shapes of different colours in a relation, and its captions."""
    random = Random(fold(seed, number, "scene"))
    relation, ground = _pick(random, TEMPLATES), _pick(random, GROUNDS)
    colours = _shuffled(random, (colour for colour in COLOURS if colour != HIDDEN[ground]))
    looks = [(_pick(random, SHAPES), colour) for colour in colours[:2]]
    places = (
        _inside(random)
        if relation == "inside"
        else _side_by_side(random, upright=relation == "above")
    )
    a, b = (Shape(*look, *place) for look, place in zip(looks, places, strict=True))
    templates = _shuffled(random, TEMPLATES[relation])[:SENTENCES]
    captions = tuple(_sentence(random, template, a, b, ground) for template in templates)
    return Scene(
        f"scene {seed}-{number}",
        captions,
        relation,
        (a, b),
        round(random.uniform(*GROUNDS[ground])),
    )


Place = tuple[str, float, float, float]  # size, radius, x, y


def _inside(random: Random) -> tuple[Place, Place]:
    """A small shape in the middle of one that has room for it."""
    inner, outer = random.uniform(*RADII["small"]), random.uniform(*AROUND)
    free = BORDER + REACH * outer
    x, y = random.uniform(free, SIZE - free), random.uniform(free, SIZE - free)
    return ("small", inner, x, y), ("large", outer, x, y)


def _side_by_side(random: Random, *, upright: bool) -> tuple[Place, Place]:
    """The first shape left of the second, or above it, both near enough to one line."""
    sizes = _pick(random, RADII), _pick(random, RADII)
    radii = [random.uniform(*RADII[size]) for size in sizes]
    a, b = (REACH * radius for radius in radii)
    room = SIZE - 2 * (BORDER + a + b) - GAP
    first, second = sorted((random.uniform(0, room), random.uniform(0, room)))
    along = BORDER + first + a, BORDER + second + 2 * a + GAP + b
    free = BORDER + SWAY + max(a, b)
    line = random.uniform(free, SIZE - free)
    across = line + random.uniform(-SWAY, SWAY), line + random.uniform(-SWAY, SWAY)
    (x, x2), (y, y2) = along, across
    if upright:
        (x, x2), (y, y2) = across, along
    return (sizes[0], radii[0], x, y), (sizes[1], radii[1], x2, y2)


def _sentence(random: Random, template: str, a: Shape, b: Shape, ground: str) -> str:
    """Fill in a template, sometimes with the background or with the sizes."""
    tail = f" on a {ground} background" if random.random() < 0.15 else ""
    first, second = (_phrase(shape, sized=not tail and random.random() < 0.3) for shape in (a, b))
    return template.format(a=first, b=second) + tail


def _phrase(shape: Shape, *, sized: bool) -> str:
    words = f"{shape.colour} {shape.kind}"
    if sized:
        words = f"{shape.size} {words}"
    if words.startswith("orange"):
        return f"an {words}"
    return f"a {words}"


# Python promises that random() keeps its stream in later versions; choice() and shuffle() may not.


def _pick(random: Random, options: Iterable[str]) -> str:
    options = tuple(options)
    return options[int(len(options) * random.random())]


def _shuffled(random: Random, options: Iterable[str]) -> list[str]:
    return sorted(options, key=lambda _: random.random())
