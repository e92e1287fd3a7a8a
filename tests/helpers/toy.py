"""A small but real application for tests of the loop: an MLP with dropout on digits.

PYTHONPATH=. python tests/helpers/toy.py    # 0.59 validation accuracy after 90 steps, in a second
"""

import gzip
import importlib.util
import os
import resource
import sys
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from core import rng
from core.training import batches, cli, devices
from core.training.arguments import Training
from core.training.config import LoopConfig
from core.training.loop import evaluate, fit

TRAIN = 1500  # of the 1,797 digits


@dataclass(frozen=True)
class Config:
    """The toy."""

    hidden: int = 32
    """Hidden units."""
    dropout: float = 0.2
    """Share of the hidden units that is dropped."""
    noise: float = 0.1
    """Standard deviation of the noise on the pixels."""
    infinite_at: int | None = None
    """The step whose pixels are infinite."""
    loop: LoopConfig = field(
        default_factory=lambda: LoopConfig(
            steps=90, batch=100, log_every=7, validate_every=20, save_every=5
        )
    )


PRESETS = {"small": Config(), "large": Config(hidden=64)}


class Model(nn.Module):
    """Pixels to classes."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(64, config.hidden),
            nn.ReLU(),
            nn.Dropout(config.dropout),
            nn.Linear(config.hidden, 10),
        )

    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        logits = self.layers(x)
        return F.cross_entropy(logits, y), {"accuracy": (logits.argmax(1) == y).float().mean()}

    def sums(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        logits = self.layers(x)
        return {
            "count": torch.tensor(len(y)),
            "accuracy": (logits.argmax(1) == y).sum(),
            "loss": F.cross_entropy(logits, y, reduction="sum"),
        }


def digits() -> tuple[Tensor, Tensor]:
    """The digits of scikit-learn, read without the seconds that its import takes."""
    spec = importlib.util.find_spec("sklearn")
    assert spec is not None
    assert spec.origin is not None
    with gzip.open(Path(spec.origin).parent / "datasets/data/digits.csv.gz") as file:
        table = np.loadtxt(file, delimiter=",", dtype=np.float32)
    return torch.from_numpy(table[:, :64] / 16), torch.from_numpy(table[:, 64]).long()


def main(argv: list[str], pause: float = 0.0) -> None:
    """Train, with a pause of so many seconds in every step."""
    training = Training(Config, PRESETS, {"small": "0.59 accuracy in a second"})
    config, session, run = training.parse("toy train", argv).start()
    device, loop = devices.select(session.device, session.threads), config.loop
    x, y = (each.to(device) for each in digits())

    def batch(step: int, rows: slice) -> tuple[Tensor, Tensor]:
        time.sleep(pause)
        chosen = batches.indices(loop.seed, step, TRAIN, loop.batch, device)
        noise = torch.randn(
            loop.batch, 64, generator=rng.generator(device, loop.seed, step, "noise")
        )
        pixels = x[chosen] + config.noise * noise
        if step == config.infinite_at:
            pixels = pixels * torch.inf
        return pixels[rows], y[chosen][rows]

    model = Model(config).to(device)
    held_out = [
        (x[TRAIN:][part], y[TRAIN:][part]) for part in batches.in_order(len(x) - TRAIN, 100)
    ]
    extras = {"classes": list("0123456789")}
    fit(model, batch, lambda: evaluate(model, model.sums, held_out), run, loop, extras=extras)


def child(argv: list[str], log: Path, pause: float, file_limit: int | None = None) -> None:
    """Train in a process of its own: output goes to `log`, no file exceeds `file_limit` bytes."""
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    torch.set_num_threads(1)
    if file_limit is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_limit, file_limit))
    sys.exit(cli.guard("toy train", partial(main, pause=pause), argv))


if __name__ == "__main__":
    sys.exit(cli.guard("toy train", main))
