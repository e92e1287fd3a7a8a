"""A location policy that begins as a scan of the image's middle."""

from dataclasses import replace

import pytest
import small_glimpse
import torch

from core.errors import InputError
from glimpse import objective
from glimpse.config import Config
from glimpse.model import RecurrentAttention, greedy, stochastic
from glimpse.networks.locators import tile_grid, tiles


def test_tiles_lie_side_by_side_nearest_first_then_the_opposite_one():
    in_pixels = tiles(tile_grid(6), 8, torch.tensor([[28.0, 28.0]]))[0] * 14
    expected = [[4, 0], [-4, 0], [4, -8], [-4, 8], [-4, -8], [4, 8]]
    torch.testing.assert_close(in_pixels, torch.tensor(expected, dtype=torch.float32))


def test_tiles_stay_within_a_small_image():
    in_pixels = tiles(tile_grid(6), 8, torch.tensor([[12.0, 18.0]]))[0] * torch.tensor([6, 9])
    assert in_pixels[:, 0].abs().tolist() == pytest.approx([3] * 6)
    assert in_pixels[:, 1].tolist() == pytest.approx([0, 0, -6, 6, -6, 6], abs=1e-5)


def test_an_untrained_scan_looks_at_the_tiles_and_begins_again():
    model = RecurrentAttention(replace(small_glimpse.SMALL, locator="scan", glimpses=3), 2, 4)
    images = torch.rand(5, 2, 20, 30)
    locations = model.rollout(images, 5, greedy).locations
    scan = tiles(tile_grid(3), 3, torch.tensor([[30.0, 20.0]]))[0]
    expected = scan[torch.tensor([0, 1, 2, 0, 1])][:, None].expand(5, 5, 2)
    torch.testing.assert_close(locations, expected)


def test_rewards_move_the_scan_and_what_departs_from_it():
    model, images, labels, noise = small_glimpse.make(locator="scan", hidden=9)
    episode = model.rollout(images, len(noise), stochastic(noise, 0.2))
    loss, _ = objective.loss(episode, labels, std=0.2, weight=1.0)
    gradients = small_glimpse.gradients(model, loss)
    for name in ("location.offsets", "location.weight", "location.bias"):
        assert gradients[name].abs().sum() > 0, name


def test_a_scan_does_not_begin_with_a_look_at_the_whole():
    with pytest.raises(InputError, match="--context 0"):
        Config(locator="scan", context=8)
