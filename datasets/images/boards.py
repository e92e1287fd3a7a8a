"""Circuit boards, each with one defect of six kinds somewhere, drawn from a seed at any size.

    board = draw(seed=0, number=7)                  # a Board of 256 x 256: image, kind, box
    write_folder(Path("boards"), count=2000)        # class folders and boxes.csv

Copper is black on white, as in DeepPCB (Tang, He, Huang, Yang 2019), whose kinds these are:

    mousebite          a bite out of the edge of copper
    open               a gap through a trace
    pinhole            a hole within copper
    short              a bridge between two pieces of copper
    spur               a bump on the edge of copper
    spurious_copper    copper that belongs to nothing

Everything is measured in pixels, so larger boards hold more, not larger things.
"""

import csv
import io
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from core.errors import InputError
from core.files import replace, writing
from datasets.images.board_defects import DEFECTS, Mask, Point, find_site
from datasets.images.files import encode

KINDS = ("mousebite", "open", "pinhole", "short", "spur", "spurious_copper")
SIZE = (256, 256)
LEAST = 96  # pixels of a side: less leaves no room for a defect
VALIDATION = 0.15  # share of the boards of a folder, and the same again for the test
MARGIN = 10  # pixels between a defect and its box, as in DeepPCB
_CLEARANCE = 17  # pixels, twice the least distance between two pieces of copper
_ATTEMPTS = 40  # layouts that are drawn before one has room for the defect


@dataclass(frozen=True, eq=False)
class Board:
    """A drawn board, the kind of its defect, and the box x1, y1, x2, y2 around it in pixels."""

    image: UInt8[Tensor, "1 height width"]
    kind: str
    box: tuple[int, int, int, int]


def draw(seed: int, number: int, size: tuple[int, int] = SIZE, kind: str | None = None) -> Board:
    """Return a board of height and width `size`: a function of the arguments.

    Raises `InputError` for a size below 96 pixels or an unknown kind.
    """
    if min(size) < LEAST:
        raise InputError(f"a board needs {LEAST} x {LEAST} pixels or more, not {size[0]}x{size[1]}")
    if kind is not None and kind not in KINDS:
        raise InputError(f"there is no defect {kind!r}, only {', '.join(KINDS)}")
    random = np.random.default_rng([seed, number])
    kind = kind or KINDS[number % len(KINDS)]
    for _ in range(_ATTEMPTS):
        copper = _roughen(_layout(random, size), random)
        site = find_site(kind, copper, random)
        if site is None:
            continue
        damaged = DEFECTS[kind](copper, site, random)
        rows, columns = np.nonzero(damaged != copper)
        if len(rows) < 12:
            continue
        box = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        image = torch.from_numpy(np.where(damaged, 0, 255).astype(np.uint8))[None]
        return Board(image, kind, _widen(box, size))
    raise InputError(f"no room for a defect of kind {kind} on {size[0]}x{size[1]} pixels")


def write(path: Path, seed: int, number: int, size: tuple[int, int] = SIZE) -> Board:
    """Write one board as a picture; return it. Raises `InputError` if it cannot be written."""
    board = draw(seed, number, size)
    with writing(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
    replace(path, _png(board))
    return board


def write_folder(folder: Path, count: int, seed: int = 0, size: tuple[int, int] = SIZE) -> None:
    """Write boards into class folders of train/, val/ and test/, and boxes.csv beside these.

    Raises `InputError` if the folder exists or cannot be written.
    """
    with writing(folder):
        folder.mkdir(parents=True)
    text = io.StringIO()
    table = csv.writer(text)
    table.writerow(["file", "x1", "y1", "x2", "y2"])
    held = round(VALIDATION * count)
    for number in range(count):
        part = "train"
        if number < 2 * held:
            part = "val" if number < held else "test"
        board = draw(seed, number, size)
        name = f"{board.kind}/{number:06}.png"
        with writing(folder):
            (folder / part / board.kind).mkdir(parents=True, exist_ok=True)
            (folder / part / name).write_bytes(_png(board))
        table.writerow([name, *board.box])
    replace(folder / "boxes.csv", text.getvalue().encode())


def _png(board: Board) -> bytes:
    return encode(Image.fromarray(board.image[0].numpy()), "PNG")


def _widen(box: tuple[int, ...], size: tuple[int, int]) -> tuple[int, int, int, int]:
    x1, y1, x2, y2 = (int(edge) for edge in box)
    height, width = size
    left, top = max(0, x1 - MARGIN), max(0, y1 - MARGIN)
    return left, top, min(width, x2 + MARGIN), min(height, y2 + MARGIN)


def _layout(random: np.random.Generator, size: tuple[int, int]) -> Mask:
    """Draw planes, buses of parallel traces, pads and holes, apart from each other."""
    copper = np.zeros(size, np.uint8)
    area = size[0] * size[1] / (256 * 256)
    shapes = [_plane] * random.poisson(1.2 * area)
    shapes += [_bus] * (2 + random.poisson(4 * area))
    shapes += [_pad] * random.poisson(5 * area)
    for shape in shapes:
        drawn = np.zeros(size, np.uint8)
        shape(drawn, random)
        around = np.asarray(cv2.dilate(drawn, np.ones((_CLEARANCE, _CLEARANCE), np.uint8)))
        if not np.logical_and(around, copper).any():
            copper |= drawn
    return copper > 0


def _plane(canvas: UInt8[np.ndarray, "height width"], random: np.random.Generator) -> None:
    """Fill a rectangle, turned by a multiple of 45 degrees."""
    centre = _anywhere(canvas.shape, random)
    sides = random.uniform(60, 240, 2)
    corners = cv2.boxPoints((tuple(centre), tuple(sides), 45.0 * random.integers(2)))
    cv2.fillPoly(canvas, [np.round(corners).astype(np.int32)], 255)
    along, across = corners[1] - corners[0], corners[3] - corners[0]
    for _ in range(random.poisson(1.5)):  # holes of vias
        right, down = random.uniform(0.15, 0.85, 2)
        place = np.round(corners[0] + right * along + down * across).astype(int).tolist()
        cv2.circle(canvas, place, int(random.integers(4, 8)), 0, -1)


def _bus(canvas: UInt8[np.ndarray, "height width"], random: np.random.Generator) -> None:
    """Draw parallel traces that turn by 45 degrees once or twice."""
    width = int(random.choice([6, 7, 8, 10, 14, 24, 40]))
    pitch = width + int(random.integers(10, 30))
    heading = random.integers(8)
    points = [_anywhere(canvas.shape, random)]
    for _ in range(random.integers(1, 4)):
        angle = heading * np.pi / 4
        step = random.uniform(60, 220) * np.array([np.cos(angle), np.sin(angle)])
        points.append(points[-1] + step)
        heading += random.choice([-1, 1])
    normal = np.array([-(points[1] - points[0])[1], (points[1] - points[0])[0]])
    normal /= np.hypot(*normal)
    for lane in range(random.integers(1, 6)):
        path = np.round(np.array(points) + lane * pitch * normal).astype(np.int32)
        cv2.polylines(canvas, [path], False, 255, width)
        if random.random() < 0.4:
            cv2.circle(canvas, path[-1].tolist(), width // 2 + int(random.integers(3, 9)), 255, -1)


def _pad(canvas: UInt8[np.ndarray, "height width"], random: np.random.Generator) -> None:
    """Draw a round pad, with or without a hole."""
    place = _anywhere(canvas.shape, random).astype(int).tolist()
    radius = int(random.integers(8, 40))
    cv2.circle(canvas, place, radius, 255, -1)
    if radius > 16 and random.random() < 0.4:
        cv2.circle(canvas, place, radius // 2, 0, -1)


def _anywhere(shape: tuple[int, ...], random: np.random.Generator) -> Point:
    return random.uniform(0, 1, 2) * (shape[1], shape[0])


def _roughen(copper: Mask, random: np.random.Generator) -> Mask:
    """Make the edges as uneven as etching does."""
    noise = cv2.GaussianBlur(random.standard_normal(copper.shape), (0, 0), 1.2)
    return cv2.GaussianBlur(copper.astype(np.float64), (0, 0), 1.0) + 0.35 * noise > 0.5
