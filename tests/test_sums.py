"""Sums of metrics: exact in any precision, weighted by the size of the batch."""

from pathlib import Path
from typing import Any

import torch
from line import train
from torch import Tensor, nn

from core.training.loop import evaluate
from core.training.sums import Sums


def test_bf16_keeps_weights_and_sums_in_float32(tmp_path: Path) -> None:
    class Linear(nn.Linear):
        def forward(self, input: Tensor, *_: Tensor) -> Any:
            out = super().forward(input.float()[:, None])
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
