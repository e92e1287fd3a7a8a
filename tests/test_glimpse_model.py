"""The rollout and its gradients against a plain loop; the objective against its equations."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from core.cells import RNNCell
from glimpse import objective
from glimpse.config import Config
from glimpse.model import (
    GlimpseNetwork,
    RecurrentAttention,
    center,
    greedy,
    random,
    stochastic,
)

SMALL = Config(
    patch=3,
    scales=2,
    what_units=6,
    where_units=5,
    glimpse_units=7,
    hidden=8,
    glimpses=4,
    input_scale=0.5,
)
CLASSES, BATCH = 3, 5


def make(cell="rnn", **changes):
    torch.manual_seed(0)
    model = RecurrentAttention(replace(SMALL, cell=cell, **changes), 2, CLASSES).double()
    nn.init.normal_(model.location.bias)
    images = torch.rand(BATCH, 2, 9, 13, dtype=torch.float64)
    labels = torch.arange(BATCH) % CLASSES
    noise = torch.randn(SMALL.glimpses, BATCH, 2, dtype=torch.float64)
    return model, images, labels, noise


def plain_rollout(model, images, policy, glimpses):
    """The module docstring's equations, one after another, under autograd."""
    state = model.recurrent.initial_state(len(images))
    h = state[0]
    prepared = model.retina.prepare(images)
    rows = []
    for t in range(glimpses):
        mean = torch.tanh(model.config.location_scale * model.location(h))
        baseline = model.baseline(h.detach())
        chosen = policy(t, mean).detach()
        location = chosen.clamp(-1, 1)
        rho = model.retina(prepared, location).flatten(1) / model.config.input_scale
        what = torch.relu(model.glimpse.what(rho))
        where = torch.relu(model.glimpse.where(location))
        g = torch.relu(model.glimpse.combine(torch.cat((what, where), -1)))
        h, state = model.recurrent(g, state)
        rows.append((location, chosen, mean, baseline, model.action(h)))
    return tuple(torch.stack(each) for each in zip(*rows, strict=True))


def plain_expectations(baselines, p, labels):
    """b_t as its equation has it."""
    before = torch.cat((torch.full_like(p[:1], 1 / CLASSES), p[:-1])).detach()
    return torch.sigmoid(torch.logit(before) + baselines[:, torch.arange(len(labels)), labels])


def plain_loss(means, baselines, logits, chosen, labels, std, weight):
    """The objective's equations under autograd."""
    p = logits.softmax(-1)[:, torch.arange(len(labels)), labels]
    reward = p.detach()
    expected = torch.stack([reward[t:].mean(0) for t in range(len(reward))])
    baselines = plain_expectations(baselines, p, labels)
    advantages = (expected - baselines).detach()
    advantages = advantages / ((advantages**2).mean().sqrt() + 1e-3)
    log_density = torch.distributions.Normal(means, std).log_prob(chosen).sum(-1)
    return (
        -p.log().mean()
        - weight * (advantages * log_density).mean()
        + ((expected - baselines) ** 2).mean()
    )


def gradients(model, loss):
    names, parameters = zip(*model.named_parameters(), strict=True)
    return dict(zip(names, torch.autograd.grad(loss, parameters, allow_unused=True), strict=True))


@pytest.mark.parametrize("cell", ["rnn", "lstm"])
def test_the_plain_rollout_is_the_equations(cell):
    model, images, labels, noise = make(cell)
    policy = stochastic(noise, 0.3)
    episode = model.rollout(images, SMALL.glimpses, policy)
    plain = plain_rollout(model, images, policy, SMALL.glimpses)
    for got, expected in zip(episode, plain, strict=False):
        torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-12)
    got = gradients(model, objective.loss(episode, labels, std=0.3, weight=0.7)[0])
    expected = gradients(
        model, plain_loss(plain[2], plain[3], plain[4], plain[1], labels, 0.3, 0.7)
    )
    for name, gradient in got.items():
        assert gradient is not None, name
        torch.testing.assert_close(gradient, expected[name], rtol=1e-10, atol=1e-12, msg=name)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"cell": "lstm"},
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
            monkeypatch.setattr("glimpse.compiled.library", lambda: None)
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


def test_a_label_that_is_no_class_is_an_error():
    model, images, labels, noise = make()
    episode = model.float().rollout(images.float(), SMALL.glimpses, stochastic(noise.float(), 0.3))
    with pytest.raises(IndexError, match="3 is out of bounds"):
        objective.loss(episode, labels + 1, std=0.3, weight=0.7)


def test_weights_that_diverged_fail_in_the_loss():
    model, _, labels, noise = make()
    model.float()
    nn.init.constant_(model.location.weight, torch.nan)
    images = torch.zeros(BATCH, 2, 9, 13, dtype=torch.uint8)
    for pixels in (images, images.float()):
        episode = model.rollout(pixels, SMALL.glimpses, stochastic(noise.float(), 0.3))
        assert objective.loss(episode, labels, std=0.3, weight=0.7)[0].isnan()


def test_which_term_teaches_which_part():
    model, images, labels, noise = make()
    terms = objective.terms(
        model.rollout(images, SMALL.glimpses, stochastic(noise, 0.3)), labels, std=0.3
    )
    table = {
        "cross_entropy": {"glimpse", "recurrent", "action"},
        "reinforce": {"glimpse", "recurrent", "location"},
        "baseline": {"baseline"},
    }
    assert set(table) == set(terms)
    for term, parts in table.items():
        model.zero_grad()
        terms[term].backward(retain_graph=True)
        reached = {
            n.split(".")[0]
            for n, p in model.named_parameters()
            if p.grad is not None and p.grad.any()
        }
        assert reached == parts, term


def test_reinforce_gradient_is_advantage_times_score():
    model, images, labels, noise = make()
    episode = model.rollout(images, SMALL.glimpses, stochastic(noise, 0.3))
    (got,) = torch.autograd.grad(
        objective.terms(episode, labels, std=0.3)["reinforce"], episode.means, retain_graph=True
    )
    p = episode.logits.softmax(-1)[:, torch.arange(BATCH), labels]
    expected = plain_expectations(episode.baselines, p, labels)
    advantages = torch.stack([p[t:].mean(0) - expected[t] for t in range(SMALL.glimpses)])
    unit = (advantages**2).mean().sqrt() + 1e-3
    for t in range(SMALL.glimpses):
        advantage = advantages[t] / unit
        score = noise[t] / 0.3  # the gradient of log N in its mean
        expected = -(advantage[:, None] * score) / (SMALL.glimpses * BATCH)
        torch.testing.assert_close(got[t], expected.detach())


def test_the_loss_is_the_sum_of_its_terms():
    model, images, labels, noise = make()
    episode = model.rollout(images, SMALL.glimpses, stochastic(noise, 0.3))
    total, watched = objective.loss(episode, labels, std=0.3, weight=0.7)
    term = objective.terms(episode, labels, std=0.3)
    torch.testing.assert_close(
        total, term["cross_entropy"] + 0.7 * term["reinforce"] + term["baseline"]
    )
    assert watched["accuracy"].item() == pytest.approx(
        (episode.logits[-1].argmax(-1) == labels).sum().item() / BATCH
    )
    plain = plain_loss(
        episode.means, episode.baselines, episode.logits, episode.sampled, labels, 0.3, 0.0
    )
    torch.testing.assert_close(term["cross_entropy"] + term["baseline"], plain)


def test_returns_are_means_of_what_follows():
    rewards = torch.tensor([[1.0], [0.0], [0.5]])
    torch.testing.assert_close(objective.returns(rewards), torch.tensor([[0.5], [0.25], [0.5]]))


def test_policies():
    model, images, _, noise = make()
    glimpses = SMALL.glimpses
    once, again = (model.rollout(images, glimpses, greedy) for _ in range(2))
    assert torch.equal(once.logits, again.logits)
    assert torch.equal(once.locations, once.means.detach())
    assert not model.rollout(images, glimpses, center).locations.any()
    far = model.rollout(images, glimpses, stochastic(noise * 100, 1.0))
    assert far.locations.abs().max() <= 1 < far.sampled.abs().max()
    anywhere = model.rollout(images, 40, random(torch.Generator().manual_seed(0))).locations
    assert anywhere.shape == (40, BATCH, 2)
    assert anywhere.std(0).min() > 0.4  # uniform on [-1, 1]: 0.58


def test_any_number_of_glimpses_one_image_and_other_sizes():
    model, images, _, _ = make()
    few, many = model.rollout(images, 2, greedy), model.rollout(images, 9, greedy)
    torch.testing.assert_close(few.logits, many.logits[:2])
    alone = model.rollout(images[:1], 2, greedy)
    torch.testing.assert_close(alone.logits, few.logits[:, :1])
    assert model.rollout(torch.rand(1, 2, 31, 4, dtype=torch.float64), 3, greedy).logits.shape == (
        3,
        1,
        CLASSES,
    )


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
        patched.setattr("glimpse.compiled.library", lambda: None)
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
    def forward(self, patches, locations):
        return 2 * super().forward(patches, locations)


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
