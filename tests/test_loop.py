import itertools
import json
import math
import signal
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from core.errors import InputError
from core.training import checkpoint
from core.training.config import LoopConfig
from core.training.loop import evaluate, fit
from core.training.optim import learning_rate, optimiser
from core.training.run import Run
from core.training.sums import Sums


@dataclass(frozen=True)
class Config:
    loop: LoopConfig = field(default_factory=LoopConfig)


class Line(nn.Module):
    """y = a x + b, in float64 and by mean squared error."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.zeros(1, dtype=torch.float64))
        self.b = nn.Parameter(torch.zeros(1, dtype=torch.float64))

    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        error = self.a * x + self.b - y
        return error.square().mean(), {"largest": error.detach().abs().max()}


def batch(step: int, rows: slice) -> tuple[Tensor, Tensor]:
    x = torch.linspace(-1, 1, 8, dtype=torch.float64) + 0.1 * step
    return x[rows], (3 * x - 1)[rows]


def train(
    folder: Path, model: nn.Module | None = None, validate: Any = None, **changes: Any
) -> tuple[nn.Module, Run]:
    """Fit a line and give it back with its run."""
    config = Config(
        LoopConfig(**{"steps": 6, "batch": 8, "log_every": 2, "schedule": "constant", **changes})
    )
    run = Run(folder, "line", config, resume="again --resume", quiet=True)
    model = model or Line()
    fit(
        model,
        batch,
        validate or (lambda: {"accuracy": 0.0}),
        run,
        config.loop,
        extras={"unit": "m"},
    )
    return model, run


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


def test_rows_of_the_log_are_means_since_the_last(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scores = iter([0.25, 0.75, 0.5])
    train(
        tmp_path,
        validate=lambda: {"accuracy": next(scores)},
        steps=5,
        validate_every=2,
        learning_rate=0.0,
    )
    x = [batch(t, slice(0, 8)) for t in range(5)]
    losses = [y.square().mean().item() for _, y in x]
    largest = [y.abs().max().item() for _, y in x]
    expected = [
        {
            "step": 2,
            "train/loss": sum(losses[:2]) / 2,
            "train/largest": sum(largest[:2]) / 2,
            "learning_rate": 0,
        },
        {"step": 2, "validation/accuracy": 0.25},
        {
            "step": 4,
            "train/loss": sum(losses[2:4]) / 2,
            "train/largest": sum(largest[2:4]) / 2,
            "learning_rate": 0,
        },
        {"step": 4, "validation/accuracy": 0.75},
        {"step": 5, "train/loss": losses[4], "train/largest": largest[4], "learning_rate": 0},
        {"step": 5, "validation/accuracy": 0.5},
    ]
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert rows == [pytest.approx(row, rel=1e-12) for row in expected]
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 6
    assert lines[3].startswith("step 4/5  validation/accuracy 0.75")


@pytest.mark.parametrize(("mode", "best"), [("max", 4), ("min", 2)])
def test_the_monitor_decides_what_is_best(tmp_path: Path, mode: Any, best: int) -> None:
    config = Config(LoopConfig(steps=6, batch=8, validate_every=2))
    scores = iter([0.25, 0.75, math.nan])
    run = Run(tmp_path, "line", config)
    fit(
        Line(), batch, lambda: {"score": next(scores)}, run, config.loop, monitor="score", mode=mode
    )
    assert checkpoint.load(tmp_path / "best.pt", "line")["step"] == best
    assert checkpoint.load(tmp_path / "last.pt", "line")["step"] == 6


def test_a_checkpoint_holds_what_its_user_needs(tmp_path: Path) -> None:
    model, _ = train(tmp_path)
    payload = checkpoint.open_run(tmp_path, "line")
    assert payload["config"]["loop"]["steps"] == 6
    assert payload["extras"] == {"unit": "m"}
    assert payload["metrics"] == {"accuracy": 0.0}
    twin = Line()
    twin.load_state_dict(payload["weights"])
    assert torch.equal(twin.a, model.get_parameter("a"))
    assert "training" not in payload


def test_other_data_are_named_in_short_when_a_run_goes_on(tmp_path: Path) -> None:
    train(tmp_path)
    config = Config(LoopConfig(steps=6, batch=8, log_every=2, schedule="constant"))
    run = Run(tmp_path, "line", config)
    with pytest.raises(
        InputError, match=r"\(unit: saved 'm', now 'km'; words: saved None, now .{,80}\): begin"
    ):
        fit(
            Line(),
            batch,
            lambda: {"accuracy": 0.0},
            run,
            config.loop,
            extras={"unit": "km", "words": "w" * 9999},
        )


def test_a_finished_run_is_left_as_it_is(tmp_path: Path) -> None:
    train(tmp_path)
    before = [(tmp_path / name).read_bytes() for name in ("metrics.jsonl", "last.pt", "best.pt")]
    model, _ = train(tmp_path)
    assert [
        (tmp_path / name).read_bytes() for name in ("metrics.jsonl", "last.pt", "best.pt")
    ] == before
    assert torch.equal(
        model.get_parameter("a"), checkpoint.load(tmp_path / "last.pt", "line")["weights"]["a"]
    )


class Bad(Line):
    """Its loss is not finite at one step only, or its gradient is infinite at that step."""

    def __init__(self, at: int, what: str) -> None:
        super().__init__()
        self.calls, self.at, self.what = 0, at, what

    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        loss, metrics = super().forward(x, y)
        self.calls += 1
        if self.calls == self.at:
            loss = (
                loss.detach() + self.a.sum() * 0 + math.inf
                if self.what == "loss"
                else loss + _Steep.apply(self.a)
            )
        return loss, metrics


class _Steep(torch.autograd.Function):
    """Zero, with an infinite slope."""

    @staticmethod
    def forward(ctx: Any, a: Tensor) -> Tensor:
        return a.sum() * 0

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return torch.full((1,), math.inf, dtype=torch.float64)


@pytest.mark.parametrize("at", range(1, 13))
def test_the_first_loss_that_is_not_finite_is_named(tmp_path: Path, at: int) -> None:
    with pytest.raises(InputError, match=rf"the loss is not finite at step {at}:"):
        train(tmp_path, Bad(at, "loss"), steps=12, log_every=5, save_every=3)
    kept = tmp_path / "last.pt"
    assert (
        checkpoint.load(kept, "line")["step"] == (at - 1) // 3 * 3 if at > 3 else not kept.exists()
    )


def test_weights_that_are_not_finite_are_never_saved(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the weights are not finite after step 6:"):
        train(tmp_path, Bad(6, "gradient"), steps=12, log_every=12, save_every=3)
    assert checkpoint.load(tmp_path / "last.pt", "line")["step"] == 3


def test_signals_are_handled_in_training_only(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)

    def stop() -> dict[str, float]:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        return {"accuracy": 1.0}

    with pytest.raises(SystemExit) as exit:
        train(tmp_path, validate=stop, validate_every=2)
    assert exit.value.code == 130
    assert checkpoint.load(tmp_path / "last.pt", "line")["step"] == 2
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_nothing_is_written_where_only_rank_0_writes(tmp_path: Path) -> None:
    config = Config(LoopConfig(steps=3, batch=8))
    fit(
        Line(),
        batch,
        lambda: {"accuracy": 0.0},
        Run(tmp_path / "x", "line", config, writes=False),
        config.loop,
    )
    assert not (tmp_path / "x").exists()


def test_bf16_keeps_weights_and_sums_in_float32(tmp_path: Path) -> None:
    class Linear(nn.Linear):
        def forward(self, x: Tensor, y: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
            out = super().forward(x.float()[:, None])
            seen.append(out.dtype)
            return out.square().mean(), {"mean": out.detach().mean()}

    seen: list[torch.dtype] = []
    model, _ = train(tmp_path, Linear(1, 1), precision="bf16")
    assert set(seen) == {torch.bfloat16}
    assert {p.dtype for p in model.parameters()} == {torch.float32}


def test_sums_are_exact_where_bf16_or_int32_would_not_be() -> None:
    sums = Sums()
    for _ in range(1000):
        sums.add(
            {
                "x": torch.tensor(1.0, dtype=torch.bfloat16),
                "n": torch.tensor(2**30, dtype=torch.int32),
            }
        )
    assert sums.divided(1000) == {"x": 1.0, "n": 2.0**30}


def test_sums_do_not_follow_what_the_caller_reuses() -> None:
    sums, reused = Sums(), torch.tensor(1.0)
    sums.add({"x": reused})
    reused.fill_(5.0)
    sums.add({"x": reused})
    assert sums.divided(2) == {"x": 3.0}


def test_evaluate_weighs_batches_by_their_count_and_restores_the_mode() -> None:
    model, modes = nn.Dropout(), []

    def sums(x: Tensor) -> dict[str, Tensor]:
        modes.append((model.training, torch.is_grad_enabled()))
        return {"count": torch.tensor(len(x)), "mean": x.sum()}

    model.train()
    x = torch.arange(10.0)
    assert evaluate(model, sums, [(x[:7],), (x[7:],)]) == {"mean": 4.5}
    assert model.training
    assert modes == [(False, False)] * 2


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
        rates={"slow": 0.1},
    )
    moved = {name: before[name] - weight.detach() for name, weight in model.named_parameters()}
    torch.testing.assert_close(moved["slow.weight"], torch.full((2, 2), 0.05))
    torch.testing.assert_close(moved["fast.weight"], torch.full((2, 2), 0.5))
