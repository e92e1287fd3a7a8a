"""Checkpoints of a small network, and how one is opened."""

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from core.errors import InputError
from core.training import checkpoint

PAYLOAD = {
    "config": {"hidden": 3, "sizes": [1, 2]},
    "step": 7,
    "metrics": {"accuracy": 0.5},
    "weights": {"w": torch.arange(5000.0)},
}


WHOLE = {
    "config": {"hidden": 3, "rate": 0.5},
    "weights": {"weight": torch.ones(3, 2), "bias": torch.zeros(3)},
    "extras": {"inputs": 2},
}


@dataclass(frozen=True)
class Config:
    hidden: int = 3
    rate: float = 0.5


def open_linear(path: Path) -> torch.nn.Linear:
    with checkpoint.opened(path, "toy", Config) as (config, saved):
        inputs = saved["extras"]["inputs"]
        return checkpoint.build(
            lambda: torch.nn.Linear(inputs, config.hidden), saved["weights"], path
        )


def one_line(error: pytest.ExceptionInfo[InputError], path: Path) -> str:
    line = str(error.value)
    assert "\n" not in line
    assert str(path) in line
    return line
