"""Defects of circuit boards: where each kind can be, and what it does to the copper.

See `datasets.images.boards`. A defect is a function of the copper, of its site and of a generator.
"""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float

Mask = Bool[np.ndarray, "height width"]
Point = Float[np.ndarray, "2"]  # x, y
BORDER = 20  # pixels along the edges of a board without defects


@dataclass(frozen=True)
class Site:
    """Where a defect goes."""

    place: Point
    normal: Point  # of the nearest edge, out of the copper
    depth: float  # pixels to that edge
    room: float  # half of the width of the copper there


def find_site(kind: str, copper: Mask, random: np.random.Generator) -> Site | None:
    """Return a place where a defect of this kind can be, if there is any."""
    inside = cv2.distanceTransform(copper.astype(np.uint8), cv2.DIST_L2, 5)
    outside = cv2.distanceTransform((~copper).astype(np.uint8), cv2.DIST_L2, 5)
    around = np.ones((25, 25), np.uint8)
    candidates = {
        "pinhole": inside >= 11,
        "spurious_copper": outside >= 17,
        "mousebite": (inside > 0) & (inside < 2) & (cv2.dilate(inside, around) >= 4),
        "spur": (outside > 0) & (outside < 2) & (cv2.dilate(outside, around) >= 12),
        "open": _ridge(inside) & (inside >= 2.5) & (inside <= 8),
        "short": _ridge(outside) & (outside >= 3) & (outside <= 18),
    }[kind]
    candidates[:BORDER] = candidates[-BORDER:] = False
    candidates[:, :BORDER] = candidates[:, -BORDER:] = False
    rows, columns = np.nonzero(candidates)
    if not len(rows):
        return None
    n = random.integers(len(rows))
    row, column = rows[n], columns[n]
    signed = cv2.GaussianBlur(outside - inside, (0, 0), 1.5)
    depth = float(max(inside[row, column], outside[row, column]))
    slope_y, slope_x = (edge[row, column] for edge in np.gradient(signed))
    length = np.hypot(slope_x, slope_y)
    if kind in ("open", "short"):
        normal = _across(inside if kind == "open" else outside, row, column)
    elif length < 1e-3:
        normal = np.array([1.0, 0.0])
    else:
        normal = np.array([slope_x, slope_y]) / length
    room = float(cv2.dilate(inside, around)[row, column])
    return Site(np.array([column, row], float), normal, depth, room)


def _ridge(distance: Float[np.ndarray, "height width"]) -> Mask:
    """Return where the distance to the edge is largest across: the middle line of a piece."""
    return (distance > 0) & (distance >= cv2.dilate(distance, np.ones((3, 3), np.uint8)) - 1e-6)


def _across(distance: Float[np.ndarray, "height width"], row: int, column: int) -> Point:
    """Return the direction in which the distance to the edge falls fastest on both sides."""
    angles = np.arange(16) * np.pi / 16
    reach = np.arange(1, 1 + int(distance[row, column]) + 3)
    height, width = distance.shape
    sums = []
    for angle in angles:
        step = np.array([np.cos(angle), np.sin(angle)])
        line = np.concatenate((reach, -reach))[:, None] * step + (column, row)
        x, y = np.round(line).astype(int).T
        sums.append(distance[y.clip(0, height - 1), x.clip(0, width - 1)].sum())
    angle = angles[int(np.argmin(sums))]
    return np.array([np.cos(angle), np.sin(angle)])


def _bite(copper: Mask, site: Site, random: np.random.Generator) -> Mask:
    """A bite out of the edge, less deep than the copper is wide."""
    radius = min(10.0, site.room * random.uniform(1.1, 1.5))
    return copper & ~_blob(copper.shape, site.place, radius, random)


def _gap(copper: Mask, site: Site, random: np.random.Generator) -> Mask:
    """A gap from edge to edge."""
    return copper & ~_line(copper.shape, site, int(random.integers(4, 9)), random)


def _hole(copper: Mask, site: Site, random: np.random.Generator) -> Mask:
    """A hole within the copper."""
    radius = random.uniform(5, min(10.0, site.depth - 4))
    return copper & ~_blob(copper.shape, site.place, radius, random)


def _bridge(copper: Mask, site: Site, random: np.random.Generator) -> Mask:
    """A bridge from edge to edge."""
    return copper | _line(copper.shape, site, int(random.integers(4, 9)), random)


def _bump(copper: Mask, site: Site, random: np.random.Generator) -> Mask:
    """A bump on the edge that reaches no other copper."""
    radius = random.uniform(6, 9)
    tip = site.place + site.normal * random.uniform(0, 3)
    return copper | _blob(copper.shape, tip, radius, random)


def _speck(copper: Mask, site: Site, random: np.random.Generator) -> Mask:
    """Copper apart from all other."""
    radius = random.uniform(6, min(10.0, site.depth - 5))
    return copper | _blob(copper.shape, site.place, radius, random)


DEFECTS: dict[str, Callable[[Mask, Site, np.random.Generator], Mask]] = {
    "mousebite": _bite,
    "open": _gap,
    "pinhole": _hole,
    "short": _bridge,
    "spur": _bump,
    "spurious_copper": _speck,
}


def _blob(shape: tuple[int, ...], place: Point, radius: float, random: np.random.Generator) -> Mask:
    """An uneven, somewhat longish disc."""
    angles = np.arange(14) * 2 * np.pi / 14
    radii = radius * random.uniform(0.65, 1.1, 14)
    outline = np.stack([np.cos(angles), random.uniform(0.6, 1.0) * np.sin(angles)], 1)
    turn = random.uniform(0, np.pi)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    outline = place + (radii[:, None] * outline) @ rotation
    mask = np.zeros(shape, np.uint8)
    cv2.fillPoly(mask, [np.round(outline).astype(np.int32)], 255)
    return mask > 0


def _line(shape: tuple[int, ...], site: Site, width: int, random: np.random.Generator) -> Mask:
    """A bent stroke across the site, a little longer than from edge to edge."""
    reach = site.depth + 3
    along = np.array([-site.normal[1], site.normal[0]])
    steps = np.linspace(-reach, reach, 5)
    bends = random.uniform(-2.5, 2.5, 5)
    points = site.place + steps[:, None] * site.normal + bends[:, None] * along
    mask = np.zeros(shape, np.uint8)
    cv2.polylines(mask, [np.round(points).astype(np.int32)], False, 255, width)
    return mask > 0
