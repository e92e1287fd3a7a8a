"""Greedy decoding, and samples against their distribution."""

from collections import Counter

import pytest
import torch
import torch.nn.functional as F
from random_decoder import END, START, Model

from core.beam import beam_search
from core.decoding import greedy, sample, truncated


@pytest.mark.parametrize(
    ("options", "allowed"),
    [
        ({}, (0, 1, 2, 3, 4, 5)),
        ({"temperature": 0.5}, (0, 1, 2, 3, 4, 5)),
        ({"top_k": 3}, (2, 3, 5)),
        ({"top_k": 1}, (3,)),
        ({"top_k": 99}, (0, 1, 2, 3, 4, 5)),
        ({"top_p": 0.6}, (3, 5)),  # 0.4 is not enough, 0.4 + 0.25 is
        ({"top_p": 0.39, "temperature": 1.0}, (3,)),
        ({"top_p": 0.7, "top_k": 3}, (3, 5)),  # of 0.8: (0.4 + 0.25) / 0.8 = 0.81 is enough
        ({"top_p": 1.0}, (0, 1, 2, 3, 4, 5)),
        ({"top_p": 1e-9}, (3,)),
        ({"forbidden": (3, 0)}, (1, 2, 4, 5)),
    ],
)
def test_samples_have_the_requested_distribution(options, allowed):
    p = torch.tensor([0.05, 0.1, 0.15, 0.4, 0.05, 0.25], dtype=torch.float64)
    expected = torch.zeros_like(p)
    expected[list(allowed)] = p[list(allowed)] ** (1 / options.get("temperature", 1.0))
    expected /= expected.sum()

    def step(tokens, state):
        return p.log().expand(len(tokens), -1), state

    rows = 20_000
    random = torch.Generator().manual_seed(5)
    tokens, log_p = sample(
        step, (torch.zeros(rows, 1),), start=0, end=5, length=1, generator=random, **options
    )
    counts = torch.bincount(tokens.flatten(), minlength=6).double()
    assert counts[expected == 0].sum() == 0
    torch.testing.assert_close(log_p.exp(), expected[tokens])
    deviation = (counts - rows * expected).pow(2)[expected > 0] / (rows * expected[expected > 0])
    assert deviation.sum() < 25  # chi-square of at most 5 degrees of freedom: 1 in 7000


def test_samples_depend_only_on_the_generator_and_each_token_on_those_before():
    model = Model(4, "lstm", batch=1, seed=1)
    state = tuple(part.expand(5000, -1) for part in model.state)
    first, again, other = (
        sample(
            model,
            state,
            start=START,
            end=END,
            length=3,
            generator=torch.Generator().manual_seed(seed),
        )
        for seed in (1, 1, 2)
    )
    assert torch.equal(first.tokens, again.tokens)
    assert not torch.equal(first.tokens, other.tokens)
    for tokens, count in Counter(map(tuple, first.tokens.tolist())).items():
        written = tokens[: tokens.index(END) + 1] if END in tokens else tokens
        p = torch.tensor(model.log_p(written, model.state)).exp().item()
        assert abs(count / 5000 - p) < 5 * (p * (1 - p) / 5000) ** 0.5 + 1e-3
        row = first.tokens.tolist().index(list(tokens))
        assert first.log_probabilities[row].sum().exp().item() == pytest.approx(p, rel=1e-5)
        assert first.log_probabilities[row, len(written) :].eq(0).all()


def test_the_nucleus_is_the_smallest_set_that_has_the_probability():
    torch.manual_seed(0)
    log_p = F.log_softmax(torch.randn(50, 30, dtype=torch.float64) * 2, -1)
    p, kept = log_p.exp(), truncated(log_p, None, 0.8).exp()
    for row, short in zip(p, kept, strict=True):
        mass = row[short > 0].sum()
        assert mass >= 0.8
        assert mass - row[short > 0].min() < 0.8
        assert row[short > 0].min() >= row[short == 0].max()
        torch.testing.assert_close(short, torch.where(short > 0, row / mass, 0))


def test_nan_is_passed_on_and_tokens_stay_tokens():
    model = Model(5, batch=2)
    model.bias[:] = torch.nan
    for written in (
        greedy(model, model.state, start=START, end=END, length=3),
        sample(model, model.state, start=START, end=END, length=3, top_p=0.9),
    ):
        assert written.log_probabilities.isnan().any()
        assert written.tokens.max() < 5
    assert all(beam_search(model, model.state, start=START, end=END, length=3, width=3))


def test_nothing_has_gradients():
    weight = torch.ones(3, 4, requires_grad=True)

    def step(tokens, state):
        return state[0] @ weight, state

    written = sample(step, (torch.ones(2, 3),), start=0, end=1, length=3, top_k=2)
    assert not written.log_probabilities.requires_grad
    beam_search(step, (torch.ones(2, 3),), start=0, end=1, length=3, width=2)


@pytest.mark.parametrize(
    "options",
    [
        {"temperature": 0},
        {"temperature": 1e-40},
        {"temperature": float("nan")},
        {"top_k": 0},
        {"top_p": 0.0},
        {"length": 0},
    ],
)
def test_options_that_make_no_sense_are_errors(options):
    with pytest.raises(ValueError, match="at least 1"):
        sample(
            Model(), (torch.zeros(1, 6),), **{"start": START, "end": END, "length": 3, **options}
        )
