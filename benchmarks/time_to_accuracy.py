"""Time until the recurrent attention model reads MNIST: 28x28, 6 glimpses, greedy, one sample.

    uv run python -m benchmarks.time_to_accuracy --root FOLDER --check    # three minutes
    uv run python -m benchmarks.time_to_accuracy --root FOLDER --check --device cuda --graph
    uv run python -m benchmarks.time_to_accuracy --data digits --steps 4 --every 2   # to try it out

FOLDER holds MNIST.

The preset mnist28, its locations begun as a scan, its schedule brought to its end in so many steps;
`--locator state` is the preset as it stands. The curve is the error on the
validation images; the test images are looked at once, at the end. `--check`: exit code 1 unless the
test error is at most 1.6 % after at most 200 CPU seconds on one core, or on a GPU at most 1.29 %.
`--graph` captures the steps there as CUDA graphs. Seconds are those of all of the training,
checkpoints included, without what only measures it and without reading the files: CPU time of this
process on a CPU, the clock's on a GPU.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from math import inf
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import torch
from rich.console import Console
from rich.table import Table

from benchmarks import gpu
from benchmarks.entry import script
from core.training import devices
from core.training.loop import fit
from core.training.run import Run
from datasets.images.splits import Labelled
from glimpse.config import Config
from glimpse.data import TrainingBatches, load
from glimpse.evaluate import accuracy, probabilities
from glimpse.model import greedy
from glimpse.presets import MNIST28
from glimpse.train import Learner


@dataclass(frozen=True)
class Bar:
    """What is asked of a machine."""

    steps: int
    error: float  # percent of the test images, at most
    seconds: float


ONE_CORE, GPU = Bar(4_500, 1.6, 200), Bar(55_000, 1.29, inf)


@dataclass
class Stopwatch:
    """Seconds of the training, and what is measured while they stand still."""

    device: torch.device
    seconds: float = 0.0
    # Seconds, and validation error in percent.
    curve: list[tuple[float, float]] = field(default_factory=list)

    def __post_init__(self):
        self.clock: Callable[[], float] = time.perf_counter
        if self.device.type == "cpu":
            self.clock = time.process_time
        self.start()

    def start(self) -> None:
        """Go on."""
        self.since = self.clock()

    def stop(self) -> None:
        """Stand still, once the device has done its work."""
        gpu.wait(self.device)
        self.seconds += self.clock() - self.since


def error(model: Learner, images: Labelled, glimpses: int) -> float:
    """Return the error in percent after the last glimpse."""
    p = probabilities(model, images, glimpses, greedy)
    return 100 * (1 - accuracy(p, images.labels)[-1])


def learn(config: Config, device: torch.device, *, graph: bool) -> tuple[Stopwatch, float]:
    """Train; return what the watch shows, and the test error in percent."""
    splits = load(config, device)
    watch = Stopwatch(device)
    torch.manual_seed(config.loop.seed)
    model = Learner(config, splits.train.channels, len(splits.train.classes)).to(device)

    def validate() -> dict[str, float]:
        watch.stop()
        wrong = error(model, splits.validation, config.glimpses)
        watch.curve.append((watch.seconds, wrong))
        print(f"{watch.seconds:6.1f} s: validation error {wrong:.2f} %", flush=True)
        watch.start()
        return {"accuracy": 1 - wrong / 100}

    with TemporaryDirectory() as folder:
        run = Run(Path(folder), "glimpse", config, quiet=True)
        fit(model, TrainingBatches(splits.train, config), validate, run, config.loop, graph=graph)
    watch.stop()
    return watch, error(model, splits.test, config.glimpses)


def main(
    root: str = "data",
    data: str = "mnist",
    steps: int | None = None,
    every: int = 1000,
    seed: int = 0,
    device: str = "cpu",
    precision: Literal["float32", "bf16"] = "float32",
    locator: Literal["scan", "state"] = "scan",
    graph: bool = False,
    check: bool = False,
) -> None:
    """Train, print the curve and the test error; validate every so many steps."""
    where = devices.select(device)
    bar = GPU
    unit = "s"
    if where.type == "cpu":
        bar = ONE_CORE
        unit = "CPU s"
    if steps is None:
        steps = bar.steps
    loop = replace(
        MNIST28.loop,
        steps=steps,
        seed=seed,
        precision=precision,
        validate_every=every,
        log_every=every,
    )
    config = replace(MNIST28, data=data, root=root, loop=loop, locator=locator)
    if locator == "scan":
        config = replace(config, location_scale=0.1)  # it departs from the scan slowly
    watch, wrong = learn(config, where, graph=graph)

    how = "captured" if graph and where.type == "cuda" else "eager"
    task = f"{data}, mnist28 in {steps} {how} steps, --locator {locator}, seed {seed}"
    print(f"{task}; {config.glimpses} glimpses; {gpu.about(where)}, {precision}")
    table = Table()
    for heading in (unit, "validation error, %"):
        table.add_column(heading, justify="right")
    for seconds, error in watch.curve:
        table.add_row(f"{seconds:.1f}", f"{error:.2f}")
    Console().print(table)
    good = wrong <= bar.error and watch.seconds <= bar.seconds
    asked = f"at most {bar.error} %"
    if bar.seconds < inf:
        asked += f" in {bar.seconds:.0f} {unit}"
    verdict = "good" if good else "MISSED"
    print(f"test error {wrong:.2f} % after {watch.seconds:.1f} {unit}; {asked}: {verdict}")
    if check and not good:
        raise SystemExit(1)


if __name__ == "__main__":
    script(main)
