"""The rollout in C is the plain one, and changed parts of a model are run as they were changed."""

from dataclasses import replace

import pytest
import torch
from small_glimpse import BATCH, CLASSES, SMALL, gradients, make
from torch import nn

from core.cells import RNNCell
from glimpse import objective
from glimpse.model import RecurrentAttention, center, greedy, stochastic
from glimpse.networks.glimpse_network import GlimpseNetwork


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"cell": "lstm"},
        {"locator": "scan", "glimpses": 3},
        {"patch": 5, "scales": 3, "factor": 1.7},
        {"what_units": 70, "where_units": 33, "glimpse_units": 65, "hidden": 18},
    ],
)
@pytest.mark.parametrize("threads", [1, 2])
def test_steps_in_c_are_those_in_torch(changes, threads, monkeypatch):
    torch.manual_seed(0)
    model = RecurrentAttention(replace(SMALL, location_scale=0.7, **changes), 2, CLASSES)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    images = torch.randint(0, 256, (BATCH, 2, 9, 13), dtype=torch.uint8)
    policy, labels = (
        stochastic(torch.randn(SMALL.glimpses, BATCH, 2), 0.3),
        torch.arange(BATCH) % CLASSES,
    )
    found = []
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    for served in (True, False):
        if not served:
            monkeypatch.setattr("glimpse.fast.compiled.library", lambda: None)
        episode = model.rollout(images, SMALL.glimpses, policy)
        found.append(
            (*episode, gradients(model, objective.loss(episode, labels, std=0.3, weight=0.7)[0]))
        )
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-5)


def test_rows_are_the_same_bits_in_any_batch_and_by_any_number_of_threads(monkeypatch):
    torch.manual_seed(0)
    model, images = (
        RecurrentAttention(SMALL, 1, CLASSES),
        torch.randint(0, 256, (23, 1, 9, 13), dtype=torch.uint8),
    )
    seen = model.rollout(images, SMALL.glimpses, greedy).locations
    assert torch.equal(model.rollout(images[5:9], SMALL.glimpses, greedy).locations, seen[:, 5:9])
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    assert torch.equal(model.rollout(images, SMALL.glimpses, greedy).locations, seen)


def test_every_part_learns_under_bf16_autocast():
    model, images, labels, noise = make()
    model.float()
    with torch.autocast("cpu", torch.bfloat16, cache_enabled=False):
        episode = model.rollout(images.float(), SMALL.glimpses, stochastic(noise.float(), 0.3))
        loss, _ = objective.loss(episode, labels, std=0.3, weight=0.7)
    for name, gradient in gradients(model, loss).items():
        assert gradient is not None, name
        assert gradient.dtype == torch.float32
        assert gradient.isfinite().all(), name
        assert gradient.any(), name


def fast_and_plain(model, images, glimpses, policy, monkeypatch):
    """The rollout in C and the plain one."""
    fast = model.rollout(images, glimpses, policy)
    assert "GlimpseNetwork" in graph_names(fast.logits)
    with monkeypatch.context() as patched:
        patched.setattr("glimpse.fast.compiled.library", lambda: None)
        plain = model.rollout(images, glimpses, policy)
    assert "GlimpseNetwork" not in graph_names(plain.logits)
    return fast, plain


def graph_names(tensor):
    """The names of all nodes behind a tensor."""
    nodes, names = [tensor.grad_fn], ""
    while nodes:
        node = nodes.pop()
        if node is not None:
            names += node.name()
            nodes += [before for before, _ in node.next_functions]
    return names


def test_images_of_several_sizes_are_what_each_is_alone(monkeypatch):
    torch.manual_seed(0)
    model = RecurrentAttention(SMALL, 2, CLASSES)
    nn.init.normal_(model.location.weight)
    sizes = [(9, 13), (30, 4), (1, 1), (17, 64)]
    images = [torch.randint(0, 256, (2, *size), dtype=torch.uint8) for size in sizes]
    fast, plain = fast_and_plain(model, images, 3, greedy, monkeypatch)
    torch.testing.assert_close(fast, plain, rtol=1e-5, atol=1e-6)
    for n, image in enumerate(images):
        alone = model.rollout(image[None], 3, greedy)
        torch.testing.assert_close(alone.logits[:, 0], fast.logits[:, n])
        torch.testing.assert_close(alone.patches[:, 0], fast.patches[:, n])


def test_other_channels_and_locations_are_refused():
    model, images, _, _ = make()
    for wrong in (images[:, :1], images[:, :0], [images[0], images[1, :1]]):
        with pytest.raises(ValueError, match="channels for a model of 2"):
            model.rollout(wrong, 2, greedy)
    pixels = torch.zeros(BATCH, 2, 9, 13, dtype=torch.uint8)
    for rows in (1, BATCH + 1):
        with pytest.raises(ValueError, match="locations"):
            model.float().rollout(pixels, 2, lambda t, mean, rows=rows: torch.zeros(rows, 2))
        with pytest.raises(ValueError, match="locations"):
            model.retina(model.retina.prepare(pixels), torch.zeros(rows, 2))


class Doubled(GlimpseNetwork):
    def forward(self, features, locations):
        return 2 * super().forward(features, locations)


def hooked(model):
    model.action.register_forward_hook(lambda module, inputs, output: output + 1)


def replaced(model):
    model.glimpse.__class__ = Doubled


def scaled(model):
    model.recurrent.forward = lambda x, state: RNNCell.forward(model.recurrent, 3 * x, state)


@pytest.mark.parametrize("change", [hooked, replaced, scaled])
def test_changed_parts_are_run_as_they_were_changed(change):
    torch.manual_seed(0)
    model = RecurrentAttention(SMALL, 2, CLASSES)
    images = torch.randint(0, 256, (BATCH, 2, 9, 13), dtype=torch.uint8)
    before = model.rollout(images, 3, center).logits
    change(model)
    after = model.rollout(images, 3, center).logits
    assert (after - before).abs().min() > 1e-4
    doubled = model.double().rollout(images, 3, center).logits  # never by C
    torch.testing.assert_close(after.double(), doubled, rtol=1e-4, atol=1e-5)
