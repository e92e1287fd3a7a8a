"""The rollout and its gradients against a plain loop; the objective against its equations."""

from dataclasses import replace

import pytest
import torch
from small_glimpse import BATCH, CLASSES, SMALL, gradients, make
from torch import nn

from glimpse import objective
from glimpse.model import (
    center,
    greedy,
    random,
    sampling,
    stochastic,
)
from glimpse.train import Learner


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


def test_the_density_is_that_of_the_sample_before_clamping():
    model, images, labels, noise = make()
    episode = model.rollout(images, SMALL.glimpses, stochastic(5 * noise, 0.3))
    assert (episode.sampled != episode.locations).any()
    reinforce = objective.terms(episode, labels, std=0.3)["reinforce"]
    (got,) = torch.autograd.grad(reinforce, episode.means)
    p = episode.logits.softmax(-1)[:, torch.arange(BATCH), labels]
    expected = plain_expectations(episode.baselines, p, labels)
    advantages = (objective.returns(p, "every") - expected).detach()
    advantages = advantages / ((advantages**2).mean().sqrt() + 1e-3)
    score = (episode.sampled - episode.means.detach()) / 0.3**2
    torch.testing.assert_close(got, -advantages[..., None] * score / advantages.numel())


def test_std_and_weight_are_annealed_together():
    torch.manual_seed(0)
    _, images, labels, noise = make()
    learner = Learner(replace(SMALL, std=0.4, reinforce=0.5), 2, CLASSES).double()
    for left in (1.0, 0.25):
        std_left = torch.tensor(left, dtype=torch.float64)
        loss, _ = learner(images, labels, noise, std_left)
        episode = learner.rollout(images, SMALL.glimpses, stochastic(noise, 0.4 * left))
        expected, _ = objective.loss(episode, labels, std=0.4 * left, weight=0.5 * left**2)
        torch.testing.assert_close(loss, expected)


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
    means = objective.returns(rewards, "every")
    torch.testing.assert_close(means, torch.tensor([[0.5], [0.25], [0.5]]))


def test_glimpses_are_rewarded_for_the_last_alone():
    model, images, labels, noise = make()
    episode = model.rollout(images, SMALL.glimpses, stochastic(noise, 0.3))
    p = episode.logits.softmax(-1)[:, torch.arange(BATCH), labels]
    advantages = (p[-1] - plain_expectations(episode.baselines, p, labels)).detach()
    unit = (advantages**2).mean().sqrt() + 1e-3
    squares = (episode.sampled - episode.means).square().sum(-1)
    terms = objective.terms(episode, labels, std=0.3, rewarded="last")
    expected = (advantages / unit * squares / (2 * 0.3**2)).mean()
    torch.testing.assert_close(terms["reinforce"], expected)
    torch.testing.assert_close(terms["baseline"], (advantages**2).mean())


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


def test_samples_have_the_std_of_the_end_of_training():
    model, images, _, _ = make()
    config = replace(SMALL, std=0.4, std_decay=0.5)
    policy = sampling(config, torch.Generator().manual_seed(0))
    first, second = (model.rollout(images, 1000, policy) for _ in range(2))
    assert not torch.equal(first.sampled, second.sampled)
    offsets = first.sampled - first.means.detach()  # 1000 x 5 x 2
    assert offsets.std().item() == pytest.approx(0.2, rel=0.05)
    assert offsets.mean().abs() < 0.01


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
