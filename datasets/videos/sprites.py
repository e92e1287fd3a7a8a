"""Moving sprites: clips whose actions only time can tell apart, drawn from a seed.

    splits = load()                                     # 4,000 clips to train on, 100 and 200 more
    write(Path("sample.mp4"), seed=0, number=100)       # the first one of the test as a video file

A clip shows one sprite, a disc, square, diamond or ring, that does three things one after another,
each from a place and in a size of its own. Right is left played backwards, shrink is grow and
anticlockwise is clockwise played backwards: so no single frame can tell which of the two it is
from. The other actions pass through the same places and sizes too. From x, y and size of a frame
17 % of the eight actions are guessed right.

A clip of a pair shows a light and a dark sprite, each of which does what a single one would: so two
actions occur at once.
"""

import math
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from core import files
from core.errors import InputError
from core.rng import generator
from datasets.videos.clips import Clip, FrameLabels, VideoSplits

CLASSES = ("still", "left", "right", "grow", "shrink", "clockwise", "anticlockwise", "bounce")
SIZE = 32  # pixels, height and width
RATE = 10.0  # frames a second
VALIDATION, TEST = range(100), range(100, 300)  # clips by number; training has those that follow
_BACKWARDS = {"right": "left", "shrink": "grow", "anticlockwise": "clockwise"}
_ACTIONS = 3  # of a clip, no two the same
_FRAMES = 24, 40  # of an action, at least and at most
_RADII = 2.0, 6.5  # pixels, the smallest and the largest
_PERIODS = 10, 16  # frames of a turn or a hop, at least and at most
_REACH = (0.2, 0.3)  # radius of a turn and half the height of a hop, as shares of the free space
_DARK, _LIGHT = (0, 60), (150, 230)  # grey levels of the ground and of the sprite
_PAIR = ("sprite-pairs/dark", "sprite-pairs/light")  # names of the random streams of a pair
_BLACK, _GROUND, _WHITE = 20.0, 115.0, 215.0  # grey levels of a pair and its ground
_NOISE = 8.0  # grey levels, standard deviation
_SCALE = 10  # pixels of a file for one drawn


def load(seed: int = 0, train: int = 4000) -> VideoSplits:
    """Return clips, drawn when their frames are read: 100 to validate, 200 to test, then `train`.

    A small net learns 1,000 clips by heart; hence so many.
    """
    return _splits(lambda number: clip(seed, number), train)


def load_pairs(seed: int = 0, train: int = 4000) -> VideoSplits:
    """Return clips of two sprites that act at the same time, so that two actions occur at once."""
    return _splits(lambda number: pair(seed, number), train, multi=True)


def clip(seed: int, number: int) -> Clip:
    """Return a clip that is a function of (seed, number)."""
    labels = _labels(_random(seed, number))
    name = f"sprites-{seed}-{number}"
    return Clip(name, partial(draw, seed, number), FrameLabels(labels), name)


def pair(seed: int, number: int) -> Clip:
    """Return a clip of two sprites: what each of them would do alone, as long as both act."""
    single = [_labels(generator("cpu", seed, number, name)) for name in _PAIR]
    frames = min(map(len, single))
    labels = torch.zeros(frames, len(CLASSES), dtype=torch.int64)
    for actions in single:
        labels[torch.arange(frames), actions[:frames]] = 1
    name = f"sprite-pairs-{seed}-{number}"
    return Clip(name, partial(draw_pair, seed, number), FrameLabels(labels), name)


def draw(seed: int, number: int) -> UInt8[Tensor, "frames 1 height width"]:
    """Draw the 72 to 120 grey frames of a clip."""
    random = _random(seed, number)
    path = _paths(random)
    shape = int(torch.randint(len(_SHAPES), (), generator=random))
    u = torch.rand(2, generator=random)
    dark, light = _between(_DARK, u[0]), _between(_LIGHT, u[1])
    pixels = _cover(path, shape).mul_(light - dark).add_(dark)
    return _noisy(pixels, random)


def draw_pair(seed: int, number: int) -> UInt8[Tensor, "frames 1 height width"]:
    """Draw the frames of a light and a dark sprite on grey ground; the light one is in front."""
    randoms = [generator("cpu", seed, number, name) for name in _PAIR]
    paths = [_paths(random) for random in randoms]
    frames = min(map(len, paths))
    pixels = torch.full((frames, SIZE, SIZE), _GROUND)
    for random, path, grey in zip(randoms, paths, (_BLACK, _WHITE), strict=True):
        shape = int(torch.randint(len(_SHAPES), (), generator=random))
        pixels = torch.lerp(pixels, torch.tensor(grey), _cover(path[:frames], shape))
    return _noisy(pixels, randoms[0])


def write(path: Path, seed: int, number: int) -> Clip:
    """Write a clip as a video file, .mp4 with MPEG-4 part 2, ten times as large; return the clip.

    Raises:
        InputError: the file is not called .mp4, or cannot be written; what stood there still does.
    """
    if path.suffix.lower() != ".mp4":
        raise InputError(
            f"{path}: a sample is an MPEG-4 video; call it {path.with_suffix('.mp4').name}"
        )
    frames = draw(seed, number)[:, 0].numpy().repeat(_SCALE, 1).repeat(_SCALE, 2)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "sample.mp4"
        video = cv2.VideoWriter(
            str(file), cv2.VideoWriter.fourcc(*"mp4v"), RATE, (frames.shape[2], frames.shape[1])
        )
        for frame in frames:
            video.write(np.stack([frame] * 3, -1))
        video.release()
        if not file.exists():
            raise InputError(
                f"{path}: this OpenCV cannot write MPEG-4 video; install opencv-python-headless"
            )
        files.replace(path, file.read_bytes())
    return clip(seed, number)


def _splits(make: Callable[[int], Clip], train: int, multi: bool = False) -> VideoSplits:
    numbers = (range(TEST.stop, TEST.stop + train), VALIDATION, TEST)
    parts = (tuple(make(number) for number in part) for part in numbers)
    return VideoSplits(*parts, classes=CLASSES, multi=multi)


def _noisy(
    pixels: Float[Tensor, "frames height width"], random: torch.Generator
) -> UInt8[Tensor, "frames 1 height width"]:
    pixels = pixels + torch.empty_like(pixels).normal_(0, _NOISE, generator=random)
    return pixels.round_().clamp_(0, 255).to(torch.uint8)[:, None]


def _labels(random: torch.Generator) -> Int[Tensor, " frames"]:
    """Draw the action in each frame of a sprite."""
    actions, lengths = _actions(random)
    return torch.tensor(actions).repeat_interleave(torch.tensor(lengths))


def _random(seed: int, number: int) -> torch.Generator:
    return generator("cpu", seed, number, "sprites")


def _between(bounds: tuple[float, float], share: Float[Tensor, ""]) -> Float[Tensor, ""]:
    return bounds[0] + (bounds[1] - bounds[0]) * share


def _actions(random: torch.Generator) -> tuple[list[int], list[int]]:
    """Draw the actions of a clip, and how many frames each takes."""
    lengths = torch.randint(_FRAMES[0], _FRAMES[1] + 1, (_ACTIONS,), generator=random)
    return torch.randperm(len(CLASSES), generator=random)[:_ACTIONS].tolist(), lengths.tolist()


def _paths(random: torch.Generator) -> Float[Tensor, "frames 3"]:
    """Draw x, y and size in each frame of a clip, as shares of their ranges."""
    actions, lengths = _actions(random)
    draws = torch.rand(_ACTIONS, 6, generator=random)
    return torch.cat(
        [_path(CLASSES[a], n, u) for a, n, u in zip(actions, lengths, draws, strict=True)]
    )


def _path(action: str, length: int, u: Float[Tensor, "6"]) -> Float[Tensor, "length 3"]:
    """Return x, y and size during one action, as shares of their ranges; `u` is uniform noise."""
    if action in _BACKWARDS:
        return _path(_BACKWARDS[action], length, u).flip(0)
    path = u[:3].repeat(length, 1)
    sweep = torch.linspace(0, 1, length)
    phase = (torch.arange(length) / _between(_PERIODS, u[3]) + u[4]) % 1
    reach = _between(_REACH, u[5])
    match action:
        case "left":
            path[:, 0] = 1 - sweep
        case "grow":
            path[:, 2] = sweep
        case "clockwise":  # as it is seen: y points down
            angle = 2 * math.pi * phase
            path[:, :2] = (
                reach + (1 - 2 * reach) * u[:2] + reach * torch.stack([angle.cos(), angle.sin()], 1)
            )
        case "bounce":  # parabolas
            path[:, 1] = 2 * reach + (1 - 2 * reach) * u[1] - 2 * reach * 4 * phase * (1 - phase)
    return path


def _cover(path: Float[Tensor, "frames 3"], shape: int) -> Float[Tensor, "frames height width"]:
    """Return how much of each pixel the sprite covers; its edge is soft, one pixel wide."""
    margin = _RADII[1]
    places = _between((margin, SIZE - margin), path[:, :2])
    x, y = (torch.arange(SIZE) + 0.5 - places[:, :, None]).abs().unbind(1)
    beyond = _SHAPES[shape](
        x[:, None, :], y[:, :, None], _between(_RADII, path[:, 2])[:, None, None]
    )
    return (0.5 - beyond).clamp_(0, 1)


def _disc(x: Tensor, y: Tensor, r: Tensor) -> Tensor:
    return (x.square() + y.square()).sqrt_() - r


def _square(x: Tensor, y: Tensor, r: Tensor) -> Tensor:
    return torch.maximum(x, y) - 0.9 * r


def _diamond(x: Tensor, y: Tensor, r: Tensor) -> Tensor:
    return (x + y - 1.25 * r) / math.sqrt(2)


def _ring(x: Tensor, y: Tensor, r: Tensor) -> Tensor:
    return _disc(x, y, 0.75 * r).abs_() - 0.25 * r


# Distance of a point from the edge, outwards; x, y from the centre.
_SHAPES = (
    _disc,
    _square,
    _diamond,
    _ring,
)
