"""Elastic distortion: each number that is drawn does what it is said to do."""

import math
from dataclasses import replace

import pytest
import torch

from core.errors import InputError
from core.training.config import LoopConfig
from datasets.images.splits import Images
from glimpse.augmentation import elastic
from glimpse.config import Config
from glimpse.data import TrainingBatches


def square(height=40, width=40):
    """Return a white square of 12 pixels in the middle of a black image."""
    image = torch.zeros(1, 1, height, width, dtype=torch.uint8)
    top, left = height // 2 - 6, width // 2 - 6
    image[..., top : top + 12, left : left + 12] = 255
    return image


def moments(image):
    """Return the standard deviations of x and y and their correlation, weighted by brightness."""
    weights = image[0, 0].double() / image.sum()
    y, x = (torch.arange(side, dtype=torch.float64) for side in weights.shape)
    y = y[:, None] - (weights.sum(1) * y).sum()
    x = x - (weights.sum(0) * x).sum()
    std_x = (weights * x**2).sum().sqrt()
    std_y = (weights * y**2).sum().sqrt()
    return std_x.item(), std_y.item(), ((weights * x * y).sum() / (std_x * std_y)).item()


def test_nothing_drawn_changes_nothing():
    image = torch.randint(0, 256, (3, 2, 9, 14), dtype=torch.uint8)
    assert torch.equal(elastic.distort(image, torch.zeros(3, elastic.DRAWS)), image)


def test_each_draw_turns_shears_or_stretches():
    flat = moments(square())
    assert flat == pytest.approx((math.sqrt(143 / 12), math.sqrt(143 / 12), 0), abs=1e-6)

    def drawn(**numbers):
        draws = torch.zeros(1, elastic.DRAWS)
        for place, name in enumerate(("angle", "shear", "width", "height")):
            draws[0, place] = numbers.get(name, 0)
        return moments(elastic.distort(square(), draws))

    narrow = drawn(width=2)
    assert narrow[0] / flat[0] == pytest.approx(1 / (1 + 2 * elastic.STRETCH), abs=0.02)
    assert narrow[1] == pytest.approx(flat[1], rel=1e-3)
    low = drawn(height=2)
    assert low[1] / flat[1] == pytest.approx(1 / (1 + 2 * elastic.STRETCH), abs=0.02)
    # A point of the result at (x, y) comes from (x + s y, y): the square leans to the left below.
    slant = 2 * elastic.SHEAR
    assert drawn(shear=2)[2] == pytest.approx(-slant / math.sqrt(1 + slant**2), abs=0.02)
    turned = drawn(angle=2)
    assert turned[0] == pytest.approx(flat[0], rel=0.02)
    assert turned[2] == pytest.approx(0, abs=0.01)
    # A diamond reaches further than a square: into the row above it.
    assert elastic.distort(square(), torch.eye(elastic.DRAWS)[:1] * 2)[0, 0, 13].sum() > 0


def test_a_knot_moves_the_pixels_around_it():
    draws = torch.zeros(1, elastic.DRAWS)
    middle = 4 + elastic.KNOTS**2 // 2  # of the field of x
    draws[0, middle] = 1.0
    moved = elastic.distort(square(), draws)
    change = (moved.int() - square().int()).abs()[0, 0].sum(0)
    assert moved[0, 0, 20, 13] < 255  # its content went to the left
    assert change[10:20].sum() > 0
    assert change[20:30].sum() > 0
    assert change[:8].sum() == 0
    assert change[32:].sum() == 0


def test_draws_are_cut_off_at_two_standard_deviations():
    draws = elastic.draw(4000, torch.Generator().manual_seed(0))
    assert draws.shape == (4000, elastic.DRAWS)
    assert draws.abs().max() == elastic.MOST
    assert draws.std().item() == pytest.approx(0.959, abs=0.005)


def test_images_of_several_sizes_are_distorted_each():
    draws = elastic.draw(2, torch.Generator().manual_seed(1))
    images = [square(20, 30)[0], square(40, 28)[0]]
    changed = elastic.distort_each(images, draws)
    for n, image in enumerate(images):
        assert torch.equal(changed[n], elastic.distort(image[None], draws[n : n + 1])[0])


@pytest.mark.parametrize(("canvas", "sequence"), [((8, 8), None), ((8, 16), (2, 2))])
def test_digits_are_distorted_before_they_are_put_on_a_canvas(canvas, sequence):
    source = Images(
        torch.randint(1, 256, (50, 1, 8, 8), dtype=torch.uint8),
        torch.arange(50) % 10,
        tuple("0123456789"),
    )
    config = Config(canvas=canvas, sequence=sequence, loop=LoopConfig(batch=20))
    images, labels, *_ = TrainingBatches(source, config)(0, slice(0, 20))
    distorting = replace(config, augment=("elastic",))
    distorted, same, *_ = TrainingBatches(source, distorting)(0, slice(0, 20))
    assert torch.equal(labels, same)
    change = (images.float() - distorted.float()).abs().mean((1, 2, 3))
    assert (change > 1).all()


def test_what_cannot_be_distorted_is_refused():
    with pytest.raises(InputError, match="neither --hints nor --augment but elastic"):
        Config(canvas=(8, 40), augment=("elastic", "flips"))
