"""A small, real application for the tests of the loop: an MLP with dropout on the scikit-learn digits.

    python tests/toy.py --name first  # about 0.9 validation accuracy in a second
"""

import sys
from dataclasses import dataclass

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F

from core import batches, cli
from core.loop import LoopConfig, evaluate, fit


@dataclass(frozen=True)
class Config:
    """The toy."""

    hidden: int = 32
    """Hidden units."""
    dropout: float = 0.2
    """Share of hidden units that is dropped."""
    noise: float = 0.1
    """Standard deviation of the noise on the pixels."""
    explode_at: int = -1
    """The step whose pixels are infinite."""
    loop: LoopConfig = LoopConfig(steps=90, batch=100, log_every=7, validate_every=20, save_every=5)


PRESETS = {"small": Config(), "large": Config(hidden=64)}


class Model(nn.Module):
    """Digits 8x8 to classes."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(64, config.hidden), nn.ReLU(), nn.Dropout(config.dropout), nn.Linear(config.hidden, 10)
        )

    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        logits = self.layers(x)
        return F.cross_entropy(logits, y), {"accuracy": (logits.argmax(1) == y).float().mean()}

    def score(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        logits = self.layers(x)
        return {
            "count": torch.tensor(len(y)),
            "accuracy": (logits.argmax(1) == y).sum(),
            "loss": F.cross_entropy(logits, y, reduction="sum"),
        }


def main(argv: list[str]) -> None:
    """Train."""
    config, session, run = cli.parse_train("toy", Config, PRESETS, argv, {"small": "0.9 accuracy in a second"})
    device = cli.device(session.device, session.threads)
    digits, loop = load_digits(), config.loop
    x = torch.tensor(digits.data / 16, dtype=torch.float32, device=device)
    y = torch.tensor(digits.target, device=device)
    train = 1500

    def batch(step: int, rows: slice) -> tuple[Tensor, Tensor]:
        chosen = batches.indices(loop.seed, step, train, loop.batch, device)
        noise = torch.randn(loop.batch, 64, generator=batches.generator(device, loop.seed, step, "noise"))
        pixels = x[chosen] + config.noise * noise
        if step == config.explode_at:
            pixels = pixels * torch.inf
        return pixels[rows], y[chosen][rows]

    model = Model(config).to(device)
    held_out = [(x[train:][s], y[train:][s]) for s in batches.in_order(len(x) - train, 100)]
    fit(model, batch, lambda: evaluate(model, model.score, held_out), run, loop, extras={"classes": list(range(10))})


if __name__ == "__main__":
    sys.exit(cli.guard("toy train", main))
