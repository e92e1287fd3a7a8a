"""A toy model that looks, the run it is kept in, and pictures for it."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from core.training import checkpoint, cli
from core.training.config import to_dict
from glimpse.config import Config
from glimpse.model import RecurrentAttention, greedy

CONFIG = Config(
    patch=4, scales=2, glimpses=3, what_units=8, where_units=8, glimpse_units=16, hidden=16
)
CLASSES = ["nought", "$cross_", "Kringel ○"]
SIDE = 20


def make_model(channels: int = 1) -> RecurrentAttention:
    """A model whose untrained locations lie well apart."""
    torch.manual_seed(2)
    model = RecurrentAttention(CONFIG, channels, len(CLASSES)).eval()
    with torch.no_grad():
        model.location.weight.normal_(std=6)
        model.location.bias.copy_(torch.tensor([-1.5, 1.0]))
        model.action.weight.normal_(std=3)
    return model


def save_run(folder: Path, channels: int = 1) -> Path:
    folder.mkdir()
    extras = {"classes": CLASSES, "image_shape": [channels, SIDE, SIDE]}
    weights = make_model(channels).state_dict()
    payload = {
        "config": to_dict(CONFIG),
        "step": 1,
        "seconds": 1.0,
        "metrics": {},
        "weights": weights,
    }
    checkpoint.save(folder / "best.pt", "glimpse", payload | {"extras": extras})
    return folder


def call(*arguments: object) -> int:
    """The exit code of `glimpse show ARGUMENTS`."""
    try:
        return cli.script("glimpse show", [str(each) for each in arguments])
    except SystemExit as stop:
        return int(stop.code or 0)


def random_picture(height: int = SIDE, width: int = SIDE, mode: str = "L") -> Image.Image:
    shape = (height, width) if mode == "L" else (height, width, 3)
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8))


def episode(picture: Image.Image, glimpses: int = 3):
    with torch.no_grad():
        return make_model().rollout(
            torch.from_numpy(np.array(picture))[None, None], glimpses, greedy
        )
