"""Canvases against a painter that copies pixel by pixel, and what the draws promise."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import InputError
from datasets.images.canvases import Canvas, shift


def some_images(count, channels, height, width, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(
        0, 256, (count, channels, height, width), dtype=torch.uint8, generator=generator
    )


def paint_slowly(canvas, images, indices, layout):
    """The same canvases, one pixel at a time."""
    count, channels, height, width = images.shape
    painted = torch.zeros(len(indices), channels, *canvas.size, dtype=torch.uint8)
    for row, index in enumerate(indices.tolist()):
        top, left = layout.spots[row].tolist()
        painted[row, :, top : top + height, left : left + width] = images[index]
        for piece in range(canvas.clutter):
            source = images[(index + int(layout.steps[row, piece])) % count]
            (cut_y, cut_x), (paste_y, paste_x) = layout.cuts[row, piece], layout.pastes[row, piece]
            for y in range(canvas.clutter_size):
                for x in range(canvas.clutter_size):
                    for channel in range(channels):
                        value = source[channel, cut_y + y, cut_x + x]
                        old = painted[row, channel, paste_y + y, paste_x + x]
                        painted[row, channel, paste_y + y, paste_x + x] = max(old, value)
    return painted


@given(
    channels=st.sampled_from([1, 3]),
    digit=st.tuples(st.integers(3, 7), st.integers(3, 7)),
    margin=st.tuples(st.integers(0, 6), st.integers(0, 6)),
    clutter=st.integers(0, 4),
    side=st.integers(1, 3),
    batch=st.integers(1, 4),
    translate=st.booleans(),
    seed=st.integers(0, 2**32),
)
@settings(deadline=None, max_examples=40)
def test_paint_agrees_with_the_slow_painter(
    channels, digit, margin, clutter, side, batch, translate, seed
):
    images = some_images(5, channels, *digit)
    size = (digit[0] + margin[0], digit[1] + margin[1])
    canvas = Canvas(size, translate, clutter, side)
    generator = torch.Generator().manual_seed(seed)
    layout = canvas.draw(images, batch, generator)
    indices = torch.randint(0, 5, (batch,), generator=generator)
    painted = canvas.paint(images, indices, layout)
    assert painted.dtype == torch.uint8
    assert torch.equal(painted, paint_slowly(canvas, images, indices, layout))


def test_every_place_is_drawn_and_no_other():
    canvas = Canvas((5, 4), clutter=2, clutter_size=2)
    layout = canvas.draw(some_images(4, 1, 3, 3), 4000, torch.Generator().manual_seed(0))
    assert {tuple(spot) for spot in layout.spots.tolist()} == {
        (y, x) for y in range(3) for x in range(2)
    }
    assert {tuple(cut) for cut in layout.cuts.flatten(0, 1).tolist()} == {
        (y, x) for y in range(2) for x in range(2)
    }
    assert {tuple(paste) for paste in layout.pastes.flatten(0, 1).tolist()} == {
        (y, x) for y in range(4) for x in range(3)
    }
    assert set(layout.steps.flatten().tolist()) == {
        1,
        2,
        3,
    }  # every other image, never the digit's own


def test_clutter_never_comes_from_the_digit_itself():
    images = torch.zeros(6, 1, 4, 4, dtype=torch.uint8)
    images[2] = 255  # the only image with anything in it
    canvas = Canvas((12, 12), clutter=3, clutter_size=4)
    layout = canvas.draw(images, 50, torch.Generator().manual_seed(0))
    single = canvas.paint(images, torch.full((50,), 2), layout)
    assert torch.equal(single.count_nonzero((1, 2, 3)), torch.full((50,), 16))
    others = canvas.paint(images, torch.full((50,), 1), layout)
    assert others.any()


def test_a_rank_paints_its_rows_of_the_global_batch():
    images, canvas = some_images(20, 1, 8, 8), Canvas((20, 24), clutter=4, clutter_size=3)
    layout = canvas.draw(images, 12, torch.Generator().manual_seed(1))
    indices = torch.arange(3, 15)
    whole = canvas.paint(images, indices, layout)
    halves = [
        canvas.paint(images, indices[rows], layout[rows]) for rows in (slice(0, 6), slice(6, 12))
    ]
    assert torch.equal(whole, torch.cat(halves))


def test_without_translation_the_digit_is_centered_and_single():
    images = some_images(3, 3, 4, 6)
    painted = Canvas((10, 9), translate=False).fixed(images, seed=0)
    assert torch.equal(painted[:, :, 3:7, 1:7], images)
    assert painted.sum() == images.sum()


def test_fixed_canvases_follow_their_seed():
    images, canvas = some_images(1500, 1, 6, 6), Canvas((16, 16), clutter=2, clutter_size=3)
    first = canvas.fixed(images, seed=3)
    assert first.shape == (1500, 1, 16, 16)
    assert torch.equal(first, canvas.fixed(images, seed=3))
    assert not torch.equal(first, canvas.fixed(images, seed=4))
    layout = canvas.draw(images, 1500, torch.Generator().manual_seed(3))
    assert torch.equal(first, canvas.paint(images, torch.arange(1500), layout))


@pytest.mark.parametrize(
    ("canvas", "message"),
    [
        (Canvas((27, 60)), r"images of 28x20 pixels do not fit a canvas of 27x60"),
        (Canvas((60, 19)), r"images of 28x20 pixels do not fit a canvas of 60x19"),
        (
            Canvas((60, 60), clutter=4, clutter_size=21),
            r"clutter pieces of 21x21 pixels do not fit images of 28x20",
        ),
    ],
)
def test_what_does_not_fit_is_one_line(canvas, message):
    with pytest.raises(InputError, match=message):
        canvas.draw(some_images(3, 1, 28, 20), 2, torch.Generator())


def test_clutter_needs_other_images():
    with pytest.raises(InputError, match="at least two images"):
        Canvas((30, 30), clutter=1).draw(some_images(1, 1, 28, 28), 2, torch.Generator())


@pytest.mark.parametrize("wrong", [{"size": (0, 4)}, {"clutter": -1}, {"clutter_size": 0}])
def test_impossible_canvases_are_refused(wrong):
    with pytest.raises(InputError, match="at least"):
        Canvas(**{"size": (60, 60)} | wrong)


@given(
    channels=st.sampled_from([1, 3]),
    size=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    offset=st.tuples(st.integers(-8, 8), st.integers(-8, 8)),
)
@settings(deadline=None, max_examples=40)
def test_shift_moves_each_image_by_its_own_offset(channels, size, offset):
    images = some_images(2, channels, *size)
    moved = shift(images, torch.tensor([offset, (0, 0)]), max(map(abs, offset)))
    assert torch.equal(moved[1], images[1])
    for y in range(size[0]):
        for x in range(size[1]):
            old_y, old_x = y - offset[0], x - offset[1]
            inside = 0 <= old_y < size[0] and 0 <= old_x < size[1]
            expected = (
                images[0, :, old_y, old_x] if inside else torch.zeros(channels, dtype=torch.uint8)
            )
            assert torch.equal(moved[0, :, y, x], expected)
