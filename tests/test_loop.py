"""The training loop: its log, its checkpoints, and what stops it."""

import json
import math
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from line import Config, Line, batch, train
from torch import Tensor

from core.errors import InputError
from core.training import checkpoint
from core.training.config import LoopConfig
from core.training.loop import fit
from core.training.run import Run


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
        InputError,
        match=r"\(unit: saved 'm', now 'km'; words: saved None, now 'w{12}\.\.\.w{13}'\): put",
    ):
        fit(
            Line(),
            batch,
            lambda: {"accuracy": 0.0},
            run,
            config.loop,
            extras={"unit": "km", "words": "w" * 9999},
        )


def test_long_values_that_look_alike_in_short_are_named_alone() -> None:
    saved = {"words": "a" * 99 + "b" + "a" * 99}
    assert checkpoint.changes(saved, {"words": "a" * 199}) == "words"


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
    """Zero, with an infinite derivative."""

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
