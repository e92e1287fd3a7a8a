"""Seconds of training until a test error on MNIST 28x28, with 6 glimpses, greedy, one look at each image.

    uv run python -m benchmarks.mnist_seconds --root MNIST            # to 1.29 %, on a GPU if there is one
    uv run python -m benchmarks.mnist_seconds --root MNIST --check    # exit code 1 if it is never reached
    uv run python -m benchmarks.mnist_seconds --device cpu --data digits --steps 4 --every 2    # to try it out

MNIST is a folder in which torchvision finds the data set. The preset mnist28 is trained through the loop that all
use; steps are captured on a GPU. Seconds are those of the training, checkpoints included, and not of loading data and
measuring errors. The test error is looked at along the way, so where it first falls under the bar says how fast a
machine is, not how good the model.
"""

import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch
import tyro
from rich.console import Console
from rich.table import Table

from benchmarks import gpu
from core import cli
from core.log import Run
from core.loop import fit
from glimpse.config import MNIST28
from glimpse.data import TrainingBatches, load
from glimpse.evaluate import accuracy, probabilities
from glimpse.model import greedy
from glimpse.train import Learner


def main(
    bar: float = 1.29,
    steps: int = 45_000,
    every: int = 1500,
    root: str = "data",
    data: str = "mnist",
    device: str = "auto",
    precision: str = "float32",
    graph: bool = True,
    check: bool = False,
) -> int:
    """Train, and print the curve."""
    where = cli.device(device)
    loop = replace(MNIST28.loop, steps=steps, validate_every=every, log_every=every, precision=precision)
    config = replace(MNIST28, data=data, root=root, loop=loop)
    splits = load(config, where)
    torch.manual_seed(loop.seed)
    model = Learner(config, splits.train.images.shape[1], len(splits.train.classes)).to(where)
    curve: list[tuple[int, float, float]] = []  # steps, seconds, test error in percent
    began, measuring = time.perf_counter(), 0.0

    def validate() -> dict[str, float]:
        nonlocal measuring
        gpu.wait(where)
        now = time.perf_counter()
        right = accuracy(probabilities(model, splits.test.images, config.glimpses, greedy), splits.test.labels)[-1]
        curve.append((every * (len(curve) + 1), now - began - measuring, 100 * (1 - right)))
        measuring += time.perf_counter() - now
        return {"accuracy": right}

    with tempfile.TemporaryDirectory() as folder:
        fit(
            model,
            TrainingBatches(splits.train, config),
            validate,
            Run(Path(folder), "glimpse", config),
            loop,
            graph=graph,
        )
    how = "captured" if graph and where.type == "cuda" else "eager"
    table = Table(
        "steps", title=f"{gpu.about(where)}, {precision}, {how} steps; {data}, {len(splits.test)} test images"
    )
    for heading in ("seconds", "test error, %"):
        table.add_column(heading, justify="right")
    for done, seconds, error in curve:
        table.add_row(str(min(done, steps)), f"{seconds:.1f}", f"{error:.2f}")
    Console().print(table)
    reached = next((seconds for _, seconds, error in curve if error <= bar), None)
    print(f"{bar} % was not reached" if reached is None else f"{bar} % after {reached:.1f} seconds")
    return int(check and reached is None)


if __name__ == "__main__":
    raise SystemExit(tyro.cli(main))
