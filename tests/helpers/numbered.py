"""Videos whose frames show their numbers."""

import cv2
import numpy as np

HEIGHT, WIDTH, BITS = 48, 96, 6


def numbered(i):
    """A picture that shows the number i as bright and dark columns."""
    columns = np.array([255 * (i >> bit & 1) for bit in range(BITS)], dtype=np.uint8)
    return np.broadcast_to(columns.repeat(WIDTH // BITS)[None, :, None], (HEIGHT, WIDTH, 3)).copy()


def number(pixels):
    columns = pixels.reshape(pixels.shape[0], BITS, -1, 3).mean((0, 2, 3))
    return sum(int(column > 127) << bit for bit, column in enumerate(columns))


def write(path, frames=40, rate=12.5, code="mp4v"):
    writer = cv2.VideoWriter(
        str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*code), rate, (WIDTH, HEIGHT)
    )
    assert writer.isOpened()
    for i in range(frames):
        writer.write(numbered(i))
    writer.release()
    return path


KINDS = [
    ("a.mp4", "mp4v"),
    ("a.avi", "MJPG"),
    ("a.mkv", "VP80"),
    ("a.webm", "VP80"),
    ("a.mov", "mp4v"),
]
