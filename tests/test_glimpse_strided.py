"""The small convolutional net for patches."""

from dataclasses import replace

import pytest
import torch
from small_glimpse import SMALL, make

from core.errors import InputError
from glimpse import objective
from glimpse.model import RecurrentAttention, greedy, stochastic
from glimpse.networks.strided import StridedGlimpseNetwork

STRIDED = {"what": "strided", "filters": 4, "patch": 6}


@pytest.mark.parametrize("patch", [1, 4, 5, 8, 12])
def test_any_size_of_patch_is_read(patch):
    config = replace(SMALL, what="strided", filters=4, patch=patch, scales=3)
    model = RecurrentAttention(config, channels=2, classes=3).eval()
    images = torch.randint(0, 256, (5, 2, 20, 30), dtype=torch.uint8)
    episode = model.rollout(images, 2, greedy)
    assert episode.logits.shape == (2, 5, 3)


def test_one_net_reads_all_scales():
    """Patches that show the same have the same features, whatever their scale."""
    model, *_ = make(**STRIDED)
    network = model.glimpse.eval()
    assert isinstance(network, StridedGlimpseNetwork)
    patch = torch.rand(3, 2, 1, 6, 6, dtype=torch.float64)
    features = network.features(torch.cat((patch, 1 - patch), 2))
    swapped = network.features(torch.cat((1 - patch, patch), 2))
    torch.testing.assert_close(features, swapped.flip(1))
    assert features.shape == (3, 2, 4, 2, 2)


def test_every_part_of_it_learns():
    model, images, labels, noise = make(**STRIDED)
    episode = model.rollout(images, SMALL.glimpses, stochastic(noise, 0.3))
    loss, _ = objective.loss(episode, labels, std=0.3, weight=0.7)
    loss.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


def test_it_needs_filters_for_both_layers():
    with pytest.raises(InputError, match="filters must be at least 4"):
        replace(SMALL, filters=1)
