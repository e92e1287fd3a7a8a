"""A line fitted by mean squared error: the smallest model that can be trained."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from core.training.config import LoopConfig
from core.training.loop import fit
from core.training.run import Run


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
