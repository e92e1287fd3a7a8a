"""Clips that grow light and dark again, and batches of clips that are known by their numbers."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch

from core.training.config import LoopConfig
from video.config import Config
from video.data import TrainingBatches
from video.reading import LoadedClip

LENGTHS = {"train": (23, 9, 16, 12, 8), "val": (9,), "test": (10, 7)}


def write(path: Path, levels: Sequence[int]) -> Path:
    """A video of so many frames, each as light as its level says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10.0, (32, 24))
    for level in levels:
        writer.write(np.full((24, 32, 3), level, dtype=np.uint8))
    writer.release()
    return path


def write_clips(folder: Path) -> Path:
    """A folder of clips that grow light and dark again, with a label for each frame in a table."""
    rows = ["clip,frame,label,official_part,suggested_split"]
    for part, lengths in LENGTHS.items():
        for number, length in enumerate(lengths):
            levels = [abs(40 * n % 400 - 200) + 10 * number for n in range(length)]
            write(folder / "clips" / f"{part}_{number}.avi", levels)
            rows += [
                f"{part}_{number},{n},{int(level > 120)},-,{part}" for n, level in enumerate(levels)
            ]
    (folder / "labels.csv").write_text("\n".join(rows) + "\n")
    return folder


def batches_of(
    lengths: Sequence[int], batch: int, window: int = 4, seed: int = 0
) -> TrainingBatches:
    """Batches of clips whose frames say which frame of which clip they are, from 1."""
    made = [
        LoadedClip(
            str(clip),
            torch.stack([torch.full((length,), clip + 1), torch.arange(length) + 1], 1),
            [0.0] * length,
            100 * (clip + 1) + torch.arange(length),
        )
        for clip, length in enumerate(lengths)
    ]
    return TrainingBatches(
        made, Config(window=window, loop=LoopConfig(batch=batch, seed=seed)), torch.device("cpu")
    )
