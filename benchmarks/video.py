"""How fast frames are labelled on one core, where time goes, and that memory does not grow.

    uv run python -m benchmarks.video            # tables, about four minutes
    uv run python -m benchmarks.video --check    # exit code 1 if memory grows with the length

Videos of 360 x 240, 10 frames a second, are drawn for it. Times are CPU time in one process with
one thread, all jobs in turn: medians over rounds, shares paired within a round. Memory is the peak
of `video label` in processes of their own, which write everything that can be written; ten minutes
may take 1.1 times the memory of one.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median, quantiles

import cv2
import numpy as np
import torch
from PIL import Image
from rich.console import Console
from rich.table import Table

from benchmarks.entry import script
from benchmarks.glimpse_step import measure
from video.config import VIDEOS
from video.labels.probabilities import features_of, follow, label_recording
from video.pictures.overlay import Overlay
from video.streams.frames import Frame
from video.streams.reader import open_source
from video.trained import DEFAULT, Trained, build, encoder_of, open_model

SIZE, RATE = (240, 360), 10.0
FRAMES = 60  # of the video that is timed
WHOLE, BOTH = "end to end, labels alone", "end to end, with overlay .mp4"
BAR = 1.1
TABLES = ("csv", "segments", "onehot", "probabilities", "boris", "eaf", "srt", "vtt", "json")
PEAK = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def draw(path: Path, frames: int) -> Path:
    """Write a video of three discs that wander over noise, as .mp4 with MPEG-4 part 2."""
    random = np.random.default_rng(0)
    ground = random.integers(60, 140, (*SIZE, 3), dtype=np.uint8)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), RATE, SIZE[::-1])
    for n in range(frames):
        picture = np.roll(ground, n % 7, axis=1)
        for k, colour in enumerate(((230, 80, 60), (70, 200, 90), (240, 240, 240))):
            centre = (
                int(180 + 150 * np.sin(n / (20 + 7 * k))),
                int(120 + 90 * np.cos(n / (30 - 5 * k))),
            )
            cv2.circle(picture, centre, 12 + 6 * k, colour, -1)
        writer.write(picture)
    writer.release()
    return path


def nets() -> dict[str, Trained]:
    """The default model, and an untrained one of the size of the preset `videos`."""
    torch.manual_seed(0)
    large = build(VIDEOS, encoder_of(VIDEOS), tuple("abcdefgh"))
    large.labeller.eval()
    return {
        "micro (the default model)": open_model(DEFAULT, "cpu")[0],
        "lite0 (the preset videos)": large,
    }


def jobs(made: Trained, film: Path) -> dict[str, Callable[[], object]]:
    """What to time on all frames of a film, by name."""
    frames = list(open_source(film))
    prepare = made.preparation()
    features = [features_of(made, frame, prepare) for frame in frames]
    pictures = [Image.fromarray(frame.pixels) for frame in frames]
    pixels = [made.encoder.preprocessing(picture)[None] for picture in pictures]

    def overlay(suffix: str, source: Callable[[], Iterator[Frame]] = lambda: iter(frames)) -> None:
        with Overlay(film.with_name(f"overlay{suffix}"), RATE, made.classes) as written:
            for frame in source():
                written.write(frame, frame.index // 9 % len(made.classes))

    def recurrence() -> None:
        state = None
        for each in features:
            _, state = made.label(each, state)

    def both() -> None:
        label_recording(made, open_source(film))
        overlay(".mp4", lambda: open_source(film))

    return {
        WHOLE: lambda: label_recording(made, open_source(film)),
        BOTH: both,
        "decode": lambda: [frame.pixels for frame in open_source(film)],
        "resize for the encoder": lambda: [
            made.encoder.preprocessing(picture) for picture in pictures
        ],
        "encoder": lambda: [made.features(each) for each in pixels],
        "recurrence": recurrence,
        "overlay, .mp4": lambda: overlay(".mp4"),
        "overlay, .webm": lambda: overlay(".webm"),
    }


def latency(made: Trained, film: Path, rounds: int) -> tuple[float, float]:
    """Return the median and 95th percentile of the CPU ms from a decoded frame to its label."""
    frames = list(open_source(film))
    times = []

    def stream() -> Iterator[Frame]:
        for frame in frames:
            times.append(-time.process_time())
            yield frame

    for _ in range(rounds):
        for _ in follow(made, stream()):
            times[-1] += time.process_time()
    times = times[len(frames) :] or times  # the first round warms up
    return 1e3 * median(times), 1e3 * quantiles(times, n=20)[-1]


def peak(film: Path) -> float:
    """The peak memory of `video label`, in MB."""
    to = film.with_suffix("")
    tables = [f"--{kind}" for kind in TABLES]
    command = [
        "-m",
        "video",
        "label",
        str(film),
        *tables,
        "--out",
        f"{to}-labels",
        "--overlay",
        f"{to}-drawn.mp4",
        "--timeline",
        f"{to}.png",
        "--review",
        f"{to}.html",
    ]
    launch = [sys.executable, "-c", PEAK, sys.executable, *command]
    done = subprocess.run(launch, check=True, capture_output=True, text=True)
    return int(done.stdout) / (1e6 if sys.platform == "darwin" else 1e3)


def speed_table(name: str, times: dict[str, list[float]]) -> Table:
    """What each job costs a frame."""
    table = Table("", title=f"{name}: {SIZE[1]} x {SIZE[0]}, one thread, torch {torch.__version__}")
    for heading in ("CPU ms a frame", "frames/s", "share of all with overlay"):
        table.add_column(heading, justify="right")
    for job, each in times.items():
        cost = median(each) / FRAMES
        share = median(t / w for t, w in zip(each, times[BOTH], strict=True))
        table.add_row(job, f"{cost:.2f}", f"{1e3 / cost:.0f}", f"{share:.0%}")
    return table


def main(rounds: int = 15, minutes: float = 10.0, check: bool = False) -> int:
    """Time both nets, measure the memory, print tables.

    Args:
        rounds: how often each job is timed.
        minutes: length of the long video; the short one has a tenth of it.
        check: exit with code 1 if memory grows by more than a tenth.
    """
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    console = Console()
    late = Table("", title="latency of a streamed frame, CPU ms from its pixels to its label")
    for heading in ("median", "95 % stay below"):
        late.add_column(heading, justify="right")
    with tempfile.TemporaryDirectory() as folder:
        film = draw(Path(folder) / "film.mp4", FRAMES)
        for name, made in nets().items():
            console.print(speed_table(name, measure(jobs(made, film), rounds)))
            late.add_row(name, *(f"{each:.2f}" for each in latency(made, film, 1 + rounds // 3)))
        lengths = minutes / 10, minutes
        peaks = [
            peak(draw(Path(folder) / f"{length}.mp4", round(60 * RATE * length)))
            for length in lengths
        ]
    growth = peaks[1] / peaks[0]
    memory = Table("", title=f"peak memory of `video label`, all outputs (bar: {BAR} times)")
    for length in lengths:
        memory.add_column(f"{length:g} min", justify="right")
    memory.add_column("times", justify="right")
    memory.add_row("MB", *(f"{each:.0f}" for each in peaks), f"{growth:.3f}")
    console.print(late, memory)
    return int(check and growth > BAR)


if __name__ == "__main__":
    script(main)
