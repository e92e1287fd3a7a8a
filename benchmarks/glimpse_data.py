"""What large images cost the recurrent attention model: memory, reading from the cache, size.

    uv run python -m benchmarks.glimpse_data            # table; 6 GB of the temporary folder
    uv run python -m benchmarks.glimpse_data --check    # exit code 1 if a limit is passed

- memory: the most that `glimpse train` holds for 2,000 pictures of 1024x1024, 6.3 GB decoded, the
  first time (when it writes its cache) and again.
- mapped: a training step with 400 of them mapped from that cache, against one with all in memory.
  The cache was just written and lies in the page cache: this is the cost of the mapping, not of a
  disk.
- size: a glimpse at images of 2048x2048 pixels against one at 256x256.

The last two are CPU time on one thread, both kinds in turn; a ratio is the median of the ratios
within a round.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import torch
from PIL import Image
from rich.console import Console
from rich.table import Table

from benchmarks.entry import script
from benchmarks.timing import interleaved, ratio
from core.errors import InputError
from core.training.optim import optimiser
from datasets.images import folders
from datasets.images.labelled_files import ImageFiles
from datasets.images.splits import Labelled
from datasets.images.store import Mapped
from glimpse.data import TrainingBatches
from glimpse.model import RecurrentAttention, random
from glimpse.presets import IMAGES
from glimpse.train import Learner

LIMITS = {"memory, first": 2.0, "memory, again": 2.0, "mapped": 1.3, "size": 1.2}
SIDE, CLASSES = 1024, 2
STEPS = 20  # of the training whose memory is measured
HELD = 400  # pictures whose steps are timed


def draw_pictures(folder: Path, count: int) -> None:
    """Write `count` coloured pictures of SIDE x SIDE pixels in class folders."""
    random_numbers = np.random.default_rng(0)
    for number in range(count):
        label = number % CLASSES
        cells = random_numbers.integers(0, 256, (32, 32, 3), dtype=np.uint8)
        cells[..., label] //= 3
        path = folder / f"c{label}" / f"{number:05d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(cells).resize((SIDE, SIDE)).save(path, quality=80)


def training_memory(folder: Path, name: str) -> float:
    """Return the most gigabytes that a short training on the pictures holds."""
    flags = ["--preset", "images", "--data", str(folder), "--steps", str(STEPS), "--quiet"]
    place = ["--runs", str(folder.parent / "runs"), "--name", name]
    command = [sys.executable, "-m", "glimpse.train", *flags, *place]
    # The peak of the child is that of the largest child so far: measured in a process of its own.
    code = (
        "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True, "
        "stdout=subprocess.DEVNULL); "
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    words = [sys.executable, "-c", code, *command]
    result = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True)
    unit = 1 if sys.platform == "darwin" else 1024
    return int(result.stdout.split()[-1]) * unit / 1e9


def training_step(images: Labelled) -> Callable[[], None]:
    """Return a training step on the next batch of these images."""
    torch.manual_seed(0)
    batches = TrainingBatches(images, IMAGES)
    learner = Learner(IMAGES, images.channels, CLASSES)
    update = optimiser(learner, IMAGES.loop)
    rows = slice(0, IMAGES.loop.batch)
    step = 0

    def run() -> None:
        nonlocal step
        update.zero_grad()
        loss, _ = learner(*batches(step, rows))
        loss.backward()
        update.step()
        step += 1

    return run


def glimpses(side: int, batch: int = 32) -> Callable[[], None]:
    """Return a rollout at random places of images of side x side pixels."""
    torch.manual_seed(0)
    model = RecurrentAttention(IMAGES, 3, CLASSES).eval()
    images = torch.randint(0, 256, (batch, 3, side, side), dtype=torch.uint8)
    policy = random(torch.Generator().manual_seed(0))

    def run() -> None:
        with torch.no_grad():
            model.rollout(images, IMAGES.glimpses, policy)

    return run


def main(pictures: int = 2000, rounds: int = 20, check: bool = False) -> int:
    """Measure all and print a table."""
    torch.set_num_threads(1)
    table = Table("", "first", "second", "ratio", "at most", title="large images")
    with tempfile.TemporaryDirectory() as temporary:
        os.environ["XDG_CACHE_HOME"] = str(Path(temporary) / "cache")
        folder = Path(temporary) / "pictures"
        draw_pictures(folder, pictures)
        peaks = [training_memory(folder, name) for name in ("first", "again")]
        few = Path(temporary) / "few"
        draw_pictures(few, min(HELD, pictures))
        size = 3e-9 * SIDE**2 * min(HELD, pictures)  # gigabytes of all of them, decoded
        held = folders.load(few, memory=3 * size).train
        mapped = folders.load(few, memory=1.5 * size).train
        if not (isinstance(mapped, ImageFiles) and isinstance(mapped.store, Mapped)):
            raise InputError(f"{temporary}: too little room for a cache of {size:.1f} GB")
        steps = {"mapped": training_step(mapped), "memory": training_step(held)}
        times = interleaved(steps, rounds)
        times |= interleaved({"2048": glimpses(2048), "256": glimpses(256)}, rounds)
    results = {
        "memory, first": peaks[0],
        "memory, again": peaks[1],
        "mapped": ratio(times["mapped"], times["memory"]),
        "size": ratio(times["2048"], times["256"]),
    }
    for name, peak in zip(LIMITS, peaks, strict=False):
        table.add_row(f"{name}: GB", f"{peak:.2f}", "", "", f"{LIMITS[name]} GB")
    for name, one, other in (("mapped", "mapped", "memory"), ("size", "2048", "256")):
        title = f"{name}: ms, {one} and {other}"
        milliseconds = [f"{median(times[column]):.1f}" for column in (one, other)]
        table.add_row(title, *milliseconds, f"{results[name]:.2f}", str(LIMITS[name]))
    Console().print(table)
    missed = [name for name, value in results.items() if value > LIMITS[name]]
    print(f"MISSED: {', '.join(missed)}" if missed else "all within their limits")
    return int(check and bool(missed))


if __name__ == "__main__":
    script(main)
