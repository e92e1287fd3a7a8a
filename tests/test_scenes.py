"""Drawn scenes: what the sentences say is what the pixels show."""

import hashlib
import math
import re

import numpy as np
import pytest

from datasets.captions import scenes
from datasets.captions.scenes import COLOURS, SHAPES, scene

SCENES = [scene(0, number) for number in range(150)]
PHRASE = rf"an? (?:(small|large) )?({'|'.join(COLOURS)}) ({'|'.join(SHAPES)})"
FILLED = {
    "circle": math.pi / 4,
    "square": 1,
    "triangle": 0.5,
    "diamond": 0.5,
    "cross": 1 - 0.64**2,
    "star": 0.38,
}


def pixels(one: scenes.Scene) -> np.ndarray:
    return np.asarray(one.open(), dtype=int)


def mask(picture: np.ndarray, colour: str) -> np.ndarray:
    """Where a picture has a colour, unmixed with others."""
    return np.abs(picture - COLOURS[colour]).sum(-1) < 12


def box(area: np.ndarray) -> tuple[int, int, int, int]:
    """The first and last row and column of an area."""
    rows, columns = np.nonzero(area)
    return rows.min(), rows.max(), columns.min(), columns.max()


def read(sentence: str) -> tuple[str, list[tuple[str, str, str]]]:
    """What a sentence says: its words without the shapes, and the shapes by size, colour, kind."""
    said = [found.groups(default="") for found in re.finditer(PHRASE, sentence)]
    return re.sub(PHRASE, "_", sentence), [(size, colour, kind) for size, colour, kind in said]


def relation(pattern: str) -> str:
    """Of the first shape named to the second, by keywords."""
    for words, what in (
        (r"_ with _ below", "above"),
        (r"right of|_ beside", "right"),
        (r"left of|_ with _ on its right|_ next to", "left"),
        (r"above|over", "above"),
        (r"below|under", "below"),
        (r"_ with _ in|around|contains", "around"),
        (r"_ inside|_ is in|_ in ", "inside"),
    ):
        if re.search(words, pattern):
            return what
    raise AssertionError(pattern)


def shows(picture: np.ndarray, first: str, second: str) -> str:
    """The relation of two colours in a picture."""
    a, b = mask(picture, first), mask(picture, second)
    (top, bottom, left, right), (top2, bottom2, left2, right2) = box(a), box(b)
    if top > top2 and bottom < bottom2 and left > left2 and right < right2:
        return "inside"
    if top < top2 and bottom > bottom2 and left < left2 and right > right2:
        return "around"
    if right < left2 or right2 < left:
        assert max(top, top2) <= min(bottom, bottom2), "side by side"
        return "left" if right < left2 else "right"
    assert max(left, left2) <= min(right, right2), "one above the other"
    return "above" if bottom < top2 else "below"


def test_every_sentence_is_true():
    patterns = set()
    for one in SCENES:
        picture = pixels(one)
        for sentence in one.captions:
            pattern, ((size, colour, _), (size2, colour2, _)) = read(sentence)
            patterns.add(pattern)
            real, said = shows(picture, colour, colour2), relation(pattern)
            if re.search("beside|next to", pattern):
                assert real in ("left", "right"), sentence
            else:
                assert real == said, sentence
            for told, name in ((size, colour), (size2, colour2)):
                top, bottom, _, _ = box(mask(picture, name))
                if told:
                    assert told == ("small" if bottom - top < 15 else "large"), (one.name, sentence)
            if found := re.search("(dark|light) background", pattern):
                assert found[1] == ("dark" if picture[0, 0, 0] < 128 else "light")
    assert len(patterns) > 24, "the sentences vary"


def test_the_shapes_are_those_named():
    for one in SCENES:
        first, _ = one.shapes
        assert all(first.kind in sentence for sentence in one.captions)
        if first.size == "small":  # too few pixels to tell
            continue
        area = mask(pixels(one), first.colour)
        top, bottom, left, right = box(area)
        inside = area[top : bottom + 1, left : right + 1]
        assert inside.mean() == pytest.approx(FILLED[first.kind], abs=0.08), (one.name, first)
        widest = inside.sum(1).argmax() / len(inside)
        assert first.kind not in ("triangle", "diamond") or (widest > 0.7) == (
            first.kind == "triangle"
        )


def test_five_different_sentences_of_moderate_length():
    for one in SCENES:
        assert len(set(one.captions)) == 5
        assert max(len(sentence.split()) for sentence in one.captions) <= 16
        assert not any(
            re.search(r"\ba orange|\ban (?!orange)|[{}]", sentence) for sentence in one.captions
        )


def test_shapes_stay_off_the_border():
    for one in SCENES:
        picture = pixels(one)
        assert picture.shape == (64, 64, 3)
        border = np.concatenate([picture[0], picture[-1], picture[:, 0], picture[:, -1]])
        assert (border == one.grey).all()


def test_edges_are_smooth():
    one = next(one for one in SCENES if one.shapes[0].kind == "circle")
    assert 20 < len(np.unique(pixels(one).reshape(-1, 3), axis=0)) < 300


def test_a_scene_is_a_function_of_seed_and_number():
    assert scene(0, 17) == scene(0, 17)
    assert scene(0, 17).digest() == hashlib.sha256(scene(0, 17).open().tobytes()).hexdigest()
    assert len({scene(seed, number).digest() for seed in (0, 1) for number in range(40)}) == 80


def test_a_scene_stays_what_it_is():
    assert scene(0, 0).captions == (
        "a yellow star around a white circle on a dark background",
        "a yellow star with a small white circle inside",
        "there is a yellow star with a small white circle in it",
        "a yellow star contains a small white circle",
        "there is a white circle in a yellow star",
    )


def test_splits_share_no_scene():
    splits = scenes.splits()
    assert {name: len(part) for name, part in splits.items()} == {
        "train": 2000,
        "validation": 200,
        "test": 200,
    }
    everything = [one for part in splits.values() for one in part]
    assert len({one.name for one in everything}) == len({one.shapes for one in everything}) == 2400
    assert splits["validation"][0] == scene(0, 2000)
    assert scenes.splits(1)["train"][0] == scene(1, 0)
