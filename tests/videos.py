"""Small real videos for tests."""

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np


@cache
def mp4(frames=12, rate=10.0):
    """The bytes of a video of so many grey frames of 32x16."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / "video.mp4"
        writer = cv2.VideoWriter(str(file), cv2.VideoWriter.fourcc(*"mp4v"), rate, (32, 16))
        for i in range(frames):
            writer.write(np.full((16, 32, 3), 10 * i % 256, dtype=np.uint8))
        writer.release()
        return file.read_bytes()


def put(file, frames=12, rate=10.0):
    """Write such a video, and the folders it is in."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(mp4(frames, rate))
    return file


def text(file, content):
    """Write a text file as it is, and the folders it is in."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content.encode())
    return file
