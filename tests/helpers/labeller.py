"""A toy labeller, the run it is kept in, and videos for it."""

import csv
from itertools import cycle, islice
from pathlib import Path

import cv2
import torch

from core.training import checkpoint, cli
from core.training.config import to_dict
from datasets.videos import sprites
from video.config import Config
from video.labels.probabilities import features_of
from video.streams.frames import Frame
from video.trained import Trained, build, encoder_of

CONFIG = Config(frame_size=32, frame=16, hidden=16)
CLASSES = ("klid", "běh & <skok>", "pád")


def make_trained(config: Config = CONFIG) -> Trained:
    """An untrained net that changes its mind often: large weights, centered features."""
    torch.manual_seed(3)
    made = build(config, encoder_of(config), CLASSES)
    made.labeller.eval()
    with torch.no_grad():
        for name, weight in made.labeller.named_parameters():
            if weight.ndim > 1:
                weight.normal_(std=1.5 * weight.shape[1] ** -0.5)
            elif name.startswith("V"):
                weight.zero_()
        prepare = made.preparation()
        seen = torch.cat([features_of(made, frame, prepare) for frame in drawn()])
        made.labeller.frame.weight /= seen.std(0) + 0.1
        made.labeller.frame.bias.copy_(-made.labeller.frame.weight @ seen.mean(0))
    return made


def save_run(folder: Path, config: Config = CONFIG, rate: float | None = None) -> Path:
    folder.mkdir()
    made = make_trained(config)
    parts = (("labeller", made.labeller), ("encoder", made.encoder))
    weights = {
        f"{name}.{key}": value for name, part in parts for key, value in part.state_dict().items()
    }
    extras = {
        "classes": list(CLASSES),
        "preprocessing": to_dict(made.encoder.preprocessing),
        "fingerprint": "",
        "rate": rate,
        "multi": False,
    }
    payload = {
        "config": to_dict(config),
        "step": 1,
        "seconds": 1.0,
        "metrics": {},
        "weights": weights,
    }
    checkpoint.save(folder / "best.pt", "video", payload | {"extras": extras})
    return folder


def drawn(number: int = 0) -> list[Frame]:
    """The frames of a sprite."""
    pixels = sprites.draw(0, number)[:, 0].numpy()[..., None].repeat(3, -1)
    return [Frame(n, n / sprites.RATE, each) for n, each in enumerate(pixels)]


def write(
    path: Path | str, frames: int | None = None, code: str = "mp4v", rate: float = sprites.RATE
) -> Path:
    """A video of a sprite, all of it by default."""
    writer = cv2.VideoWriter(
        str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*code), rate, (64, 64)
    )
    for frame in islice(cycle(drawn()), len(drawn()) if frames is None else frames):
        writer.write(frame.pixels.repeat(2, 0).repeat(2, 1))
    writer.release()
    return Path(path)


def call(*arguments: object, command: str = "video label") -> int:
    """The exit code of a command."""
    try:
        return cli.script(command, [str(each) for each in arguments])
    except SystemExit as stop:
        return int(stop.code or 0)


def rows(path: Path | str) -> list[dict[str, str]]:
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def labels_of(path: Path | str) -> list[str]:
    return [row["label"] for row in rows(path)]
