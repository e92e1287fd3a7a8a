"""Optimisers, schedules and learning rates, against torch and by hand."""

import itertools
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from line import Config, Line, batch, train
from torch import Tensor, nn

from core.errors import InputError
from core.training.config import LoopConfig
from core.training.loop import fit
from core.training.optim import learning_rate, optimiser
from core.training.run import Run


def test_sgd_is_gradient_descent_by_hand(tmp_path: Path) -> None:
    model, _ = train(
        tmp_path, optimiser="sgd", learning_rate=0.1, schedule="step", drop=0.5, drop_every=2
    )
    a = b = 0.0
    for t in range(6):
        x, y = (each.tolist() for each in batch(t, slice(0, 8)))
        rate = 0.1 * 0.5 ** (t // 2)
        da = sum(2 * (a * u + b - v) * u for u, v in zip(x, y, strict=True)) / 8
        db = sum(2 * (a * u + b - v) for u, v in zip(x, y, strict=True)) / 8
        a, b = a - rate * da, b - rate * db
    assert [p.item() for p in model.parameters()] == pytest.approx([a, b], rel=1e-12)


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_optimisers_are_those_of_torch(tmp_path: Path, name: str) -> None:
    model, _ = train(
        tmp_path,
        optimiser=name,
        learning_rate=0.1,
        momentum=0.9,
        weight_decay=0.01,
        clip=0.5,
        steps=5,
    )
    twin = Line()
    plain = {
        "adam": lambda p: torch.optim.Adam(p, 0.1, weight_decay=0.01),
        "adamw": lambda p: torch.optim.AdamW(p, 0.1, weight_decay=0.01),
        "sgd": lambda p: torch.optim.SGD(p, 0.1, 0.9, weight_decay=0.01),
    }[name](twin.parameters())
    for step in range(5):
        plain.zero_grad()
        twin(*batch(step, slice(0, 8)))[0].backward()
        norm = math.hypot(*(p.grad.item() for p in twin.parameters() if p.grad is not None))
        for p in twin.parameters():
            p.grad = p.grad * min(1, 0.5 / norm) if p.grad is not None else None
        plain.step()
    for p, q in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-5, atol=0)


@pytest.mark.parametrize("schedule", ["cosine", "constant", "step"])
def test_warm_up_grows_to_the_learning_rate(schedule: Any) -> None:
    config = LoopConfig(
        steps=100, warm_up=9, learning_rate=2.0, schedule=schedule, drop_every=50, drop=0.1
    )
    rates = [learning_rate(config, step) for step in range(100)]
    assert rates[:9] == pytest.approx([0.2 * (step + 1) for step in range(9)])
    assert rates[9] == pytest.approx(2.0)
    last = {"cosine": 2 * math.sin(math.pi / 2 / 91) ** 2, "constant": 2.0, "step": 0.2}[schedule]
    assert rates[-1] == pytest.approx(last)
    assert all(a >= b for a, b in itertools.pairwise(rates[9:]))


@pytest.mark.parametrize(
    ("name", "value"), [("steps", 0), ("batch", -1), ("log_every", 0), ("clip", math.nan)]
)
def test_numbers_out_of_range_are_named(name: str, value: float) -> None:
    with pytest.raises(InputError, match=f"{name} must"):
        replace(LoopConfig(), **{name: value})


def test_weights_that_are_frozen_are_not_touched() -> None:
    model = Line()
    model.b.requires_grad_(False)
    assert [p for g in optimiser(model, LoopConfig()).param_groups for p in g["params"]] == [
        model.a
    ]


class Twice(nn.Module):
    """Two weights with the same gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.slow, self.fast = nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False)

    def forward(self, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        return (self.slow(x) + self.fast(x)).sum(), {}


def test_parts_of_a_model_have_learning_rates_of_their_own(tmp_path: Path) -> None:
    model = Twice()
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    config = LoopConfig(steps=1, optimiser="sgd", learning_rate=0.5, schedule="constant")
    run = Run(tmp_path / "run", "toy", Config(), quiet=True)
    fit(
        model,
        lambda step, rows: (torch.ones(1, 2),),
        lambda: {"accuracy": 0.0},
        run,
        config,
        rate_factors={"slow": 0.1},
    )
    moved = {name: before[name] - weight.detach() for name, weight in model.named_parameters()}
    torch.testing.assert_close(moved["slow.weight"], torch.full((2, 2), 0.05))
    torch.testing.assert_close(moved["fast.weight"], torch.full((2, 2), 0.5))
