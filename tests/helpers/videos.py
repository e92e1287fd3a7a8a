"""Small real videos for tests."""

from fractions import Fraction
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import av
import cv2
import numpy as np

from datasets.videos.labelled import load


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


def load_table(folder, content, clips=3, **options):
    """Load videos clip0, clip1, ... with a table, which labels a little of the last of them."""
    for number in range(clips):
        put(folder / "videos" / f"clip{number}.mp4")
    return load(text(folder / "labels.csv", content).parent, **options)


def write_h264(file, pictures, seconds):
    """Write RGB pictures as H.264 with B frames, each at its own time, in whole milliseconds."""
    with av.open(str(file), "w") as container:
        stream = container.add_stream("libx264", options={"bf": "2", "crf": "15"})
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt, stream.codec_context.time_base = "yuv420p", Fraction(1, 1000)
        for picture, time in zip(pictures, seconds, strict=True):
            frame = av.VideoFrame.from_ndarray(picture, "rgb24")
            frame.time_base, frame.pts = Fraction(1, 1000), round(1000 * time)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return file


def true_seconds(file):
    """The time of each frame since the first, by FFmpeg's own library."""
    with av.open(str(file)) as container:
        times = [frame.time for frame in container.decode(video=0)]
    return [time - times[0] for time in times]
