"""The retina against a plain-Python reading of its contract."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import InputError
from glimpse.sensor import Retina

METHODS = ["in C", "integral images"]


def patches_by(method, retina, images, locations):
    """What the retina sees, by one of the `METHODS`."""
    with pytest.MonkeyPatch.context() as patched:
        if method != "in C":
            patched.setattr("glimpse.fast.compiled.library", lambda: None)
        prepared = retina.prepare(images)
        assert (prepared.sums is None) == (method == "in C" and images.dtype == torch.uint8)
        return retina(prepared, locations)


def reference(image, location, size, scales, factor):
    """[channels, scales, size, size], cell by cell, pixel by pixel."""
    channels, height, width = image.shape
    seen = torch.zeros(channels, scales, size, size, dtype=torch.float64)
    for k in range(scales):
        side = round(size * factor**k)
        left = math.floor((location[0] + 1) / 2 * width - side / 2 + 0.5)
        top = math.floor((location[1] + 1) / 2 * height - side / 2 + 0.5)
        edges = [round(j * side / size) for j in range(size + 1)]
        for c in range(channels):
            for i in range(size):
                for j in range(size):
                    pixels = [
                        float(image[c, y, x]) if 0 <= y < height and 0 <= x < width else 0.0
                        for y in range(top + edges[i], top + edges[i + 1])
                        for x in range(left + edges[j], left + edges[j + 1])
                    ]
                    seen[c, k, i, j] = sum(pixels) / len(pixels)
    return seen


@pytest.mark.parametrize("method", METHODS)
@settings(deadline=None, max_examples=25)
@given(
    batch=st.integers(1, 3),
    channels=st.sampled_from([1, 3]),
    height=st.integers(1, 17),
    width=st.integers(1, 17),
    size=st.integers(1, 5),
    scales=st.integers(1, 3),
    factor=st.sampled_from([2.0, 3.0, 1.7]),
    floats=st.booleans(),
    seed=st.integers(0, 10**6),
)
def test_exact_methods_are_cell_means(
    method, batch, channels, height, width, size, scales, factor, floats, seed
):
    random = torch.Generator().manual_seed(seed)
    images = torch.randint(
        0, 256, (batch, channels, height, width), dtype=torch.uint8, generator=random
    )
    values = images / 255
    locations = torch.rand(batch, 2, generator=random) * 2 - 1
    locations[0] = torch.tensor([1.0, -1.0])  # a corner: three quarters of the patch are outside
    retina = Retina(size, scales, factor)
    seen = patches_by(method, retina, values if floats else images, locations)
    assert seen.shape == (batch, channels, scales, size, size)
    assert seen.dtype == torch.float32
    for image, location, got in zip(values, locations.tolist(), seen, strict=True):
        torch.testing.assert_close(
            got.double(), reference(image, location, size, scales, factor), atol=1e-6, rtol=0
        )


def test_location_convention_is_x_then_y_from_the_top_left():
    images = torch.zeros(1, 1, 6, 10)
    images[0, 0, 1, 8] = 1.0
    for method in METHODS:
        for pixels in (images, (255 * images).byte()):
            at_pixel = torch.tensor([[(8.5 / 10) * 2 - 1, (1.5 / 6) * 2 - 1]])
            bright = patches_by(method, Retina(1), pixels, at_pixel)
            assert bright.item() == pytest.approx(1.0, abs=1e-5)
            assert patches_by(method, Retina(1), pixels, at_pixel.flip(1)).item() == 0.0


def test_integral_survives_a_sum_that_wraps_around(monkeypatch):
    image = torch.full((1, 1, 4096, 4096), 255, dtype=torch.uint8)  # sums to 4.3e9, beyond int32
    image[..., 4090:, 4090:] = 0
    monkeypatch.setattr("glimpse.fast.compiled.library", lambda: None)
    sensor = Retina(8, 3, 2.0)
    prepared = sensor.prepare(image)
    assert prepared.sums is not None
    assert prepared.sums.min() < 0  # it did wrap
    inside = torch.tensor([[0.9, 0.9]])
    assert (sensor(prepared, inside) == 1).all()
    corner = sensor(prepared, torch.tensor([[1.0, 1.0]]))
    # The black square fills the patch's inner quarter, the rest is outside.
    assert corner[0, 0, 0].sum() == 0


def test_large_non_square_image_by_every_method():
    image = torch.zeros(1, 3, 4096, 1024, dtype=torch.uint8)
    image[..., 2048:, 512:] = 200
    for method in METHODS:
        seen = patches_by(method, Retina(12, 4, 2.0), image, torch.zeros(1, 2))
        assert seen[..., :6, :].amax() < 0.01 * 200 / 255
        torch.testing.assert_close(
            seen[..., 7:, 7:], torch.full((1, 3, 4, 5, 5), 200 / 255), atol=1e-5, rtol=0
        )


@pytest.mark.parametrize("factor", [2.0, 3.0, 1.9])
@pytest.mark.parametrize("size", [1, 3, 8])
def test_direct_sees_what_integral_sees_to_the_bit(size, factor):
    random = torch.Generator().manual_seed(size)
    images = torch.randint(0, 256, (40, 2, 700, 33), dtype=torch.uint8, generator=random)
    images[:, :, 300:] = 255  # the widest cells have more rows of white than 16 bits can hold
    locations = torch.rand(40, 2, generator=random) * 2.2 - 1.1  # a little outside, too
    locations[:9] = torch.cartesian_prod(torch.arange(-1.0, 2), torch.arange(-1.0, 2))
    retina = Retina(size, 6, factor)
    seen = [patches_by(method, retina, images, locations) for method in METHODS]
    assert torch.equal(*seen)


def test_images_need_not_be_contiguous():
    images = torch.randint(0, 256, (2, 3, 9, 7), dtype=torch.uint8).transpose(2, 3)
    locations = torch.zeros(2, 2)
    for scales in (1, 2):
        seen = [patches_by(method, Retina(3, scales), images, locations) for method in METHODS]
        assert torch.equal(*seen)


@pytest.mark.parametrize("method", METHODS)
def test_a_place_that_is_no_number_is_no_crash(method):
    images = torch.zeros(2, 1, 9, 7, dtype=torch.uint8)
    seen = patches_by(method, Retina(3, 2, 2.0), images, torch.full((2, 2), torch.nan))
    assert not seen.any()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((8, 2, 1.0), "wider"),
        ((1, 3, 1.2), "wider"),
        ((0, 1, 2.0), "at least"),
    ],
)
def test_impossible_retinas_are_refused(arguments, words):
    with pytest.raises(InputError, match=words):
        Retina(*arguments)
