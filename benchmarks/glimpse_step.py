"""A training step of the recurrent attention model against the matrix products it cannot avoid.

    uv run python -m benchmarks.glimpse_step            # table, about two minutes
    uv run python -m benchmarks.glimpse_step --check    # exit code 1 if a step costs too much

One process, one thread, everything interleaved; every row is the median over rounds, every ratio
the median of the ratios within a round. The floor is all matrix products of the step, forward and
backward, into buffers that exist already. Those with the first state are not among them: it is
zero, and no gradient goes into it.
"""

import time
from collections.abc import Callable
from statistics import median
from unittest.mock import patch

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from benchmarks.entry import script
from core.training.config import LoopConfig
from core.training.optim import optimiser
from datasets.images.canvases import Canvas
from glimpse.config import Config
from glimpse.fast import rollout
from glimpse.model import greedy
from glimpse.sensor import Retina
from glimpse.train import Learner

BATCH, CLASSES = 128, 10
# name, canvas side, model, most floors a step may cost
SHAPES = [
    ("28x28, 8x8, 1 scale", 28, Config(glimpses=6, patch=8, scales=1), 1.45),
    ("60x60, 12x12, 3 scales", 60, Config(glimpses=6, patch=12, scales=3), 1.8),
    ("100x100, 12x12, 4 scales", 100, Config(glimpses=6, patch=12, scales=4), 2.2),
]


def floor(config: Config) -> Callable[[], None]:
    """Return a function that does the step's matrix products and nothing else."""
    steps = config.glimpses
    rows = steps * BATCH
    # Rows of h_{t-1} in the products with W: the first state is zero, and they are left out.
    rows_of_states = (steps - 1) * BATCH
    pixels = config.scales * config.patch**2
    # (rows, inner, columns) of each product of one glimpse, forward
    once = [
        (BATCH, pixels, config.what_units),
        (BATCH, 2, config.where_units),
        (BATCH, config.what_units + config.where_units, config.glimpse_units),
        (BATCH, config.glimpse_units, config.hidden),  # U x_t
        (BATCH, config.hidden, 2),
    ]
    # those of one step from a state to the next
    between = [
        (BATCH, config.hidden, config.hidden),  # W h_{t-1}
        (BATCH, config.hidden, config.hidden),  # dz_t W, backward
    ]
    # (in, out, whether the input needs a gradient) of each layer, over all glimpses at once
    layers = [
        (config.hidden, CLASSES, True),
        (config.hidden, 2, True),
        (config.hidden, CLASSES, False),
        (config.glimpse_units, config.hidden, True),
        (config.what_units + config.where_units, config.glimpse_units, True),
        (pixels, config.what_units, False),
        (2, config.where_units, False),
    ]
    heads = [(rows, inside, outside) for inside, outside, _ in layers[:3]]
    input_gradients = [(rows, outside, inside) for inside, outside, needed in layers if needed]
    weight_gradients = [(outside, rows, inside) for inside, outside, _ in layers]
    weight_gradients.append((config.hidden, rows_of_states, config.hidden))  # dW

    def operands(shapes: list[tuple[int, int, int]]) -> list[tuple[Tensor, Tensor, Tensor]]:
        return [(torch.randn(m, k), torch.randn(k, n), torch.empty(m, n)) for m, k, n in shapes]

    per_glimpse = operands(once)
    per_transition = operands(between)
    at_once = operands(heads + input_gradients + weight_gradients)

    def run() -> None:
        for _ in range(steps):
            for a, b, out in per_glimpse:
                torch.mm(a, b, out=out)
        for _ in range(steps - 1):
            for a, b, out in per_transition:
                torch.mm(a, b, out=out)
        for a, b, out in at_once:
            torch.mm(a, b, out=out)

    return run


def parts(config: Config, side: int) -> dict[str, Callable[[], object]]:
    """Return what to time: the floor, the whole step, and pieces of it, by name."""
    torch.manual_seed(0)
    digits = torch.randint(0, 256, (1000, 1, 28, 28), dtype=torch.uint8)
    canvas, indices = Canvas((side, side), clutter=4 if side > 28 else 0), torch.arange(BATCH)
    random = torch.Generator().manual_seed(0)
    images = canvas.paint(digits, indices, canvas.draw(digits, BATCH, random))
    labels = torch.randint(0, CLASSES, (BATCH,))
    noise = torch.randn(config.glimpses, BATCH, 2)
    learner = Learner(config, 1, CLASSES)
    update = optimiser(learner, LoopConfig())

    def step() -> None:
        update.zero_grad()
        loss, _ = learner(images, labels, noise, torch.ones(()))
        loss.backward()
        update.step()

    def plain_step() -> None:
        with patch.object(rollout, "serves", lambda *parts: False):
            step()

    def forward() -> None:
        with torch.no_grad():
            learner.rollout(images, config.glimpses, greedy)

    def extract() -> None:
        retina = Retina(config.patch, config.scales, config.factor)
        prepared = retina.prepare(images)
        for location in (noise / 4).clamp(-1, 1):
            retina(prepared, location)

    def paint() -> None:
        canvas.paint(digits, indices, canvas.draw(digits, BATCH, random))

    return {
        "matrix products (floor)": floor(config),
        "training step": step,
        "the same, plain (autograd)": plain_step,
        "forward alone": forward,
        "optimizer alone": update.step,
        "painting the batch": paint,
        "retina alone": extract,
    }


def measure(jobs: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Return CPU milliseconds of each job in each round; a round runs every job once, in turn.

    CPU time: what other programs do on the machine meanwhile is left out, as far as can be.
    """
    times: dict[str, list[float]] = {name: [] for name in jobs}
    for number in range(rounds + 3):
        for name, job in jobs.items():
            start = time.process_time()
            job()
            if number >= 3:  # the first rounds warm up
                times[name].append(1e3 * (time.process_time() - start))
    return times


def main(rounds: int = 60, check: bool = False) -> int:
    """Time all shapes and print a table each."""
    torch.set_num_threads(1)
    console, failed = Console(), False
    for name, side, config, most in SHAPES:
        times = measure(parts(config, side), rounds)
        base = times["matrix products (floor)"]
        table = Table(
            title=f"{name}, {config.glimpses} glimpses, batch {BATCH}, one thread, "
            f"torch {torch.__version__}"
        )
        for heading in ("", "CPU ms", "floors"):
            table.add_column(heading, justify="right" if heading else "left")
        ratios = {
            job: median(t / f for t, f in zip(milliseconds, base, strict=True))
            for job, milliseconds in times.items()
        }
        for job, milliseconds in times.items():
            table.add_row(job, f"{median(milliseconds):.2f}", f"{ratios[job]:.2f}")
        console.print(table)
        good = ratios["training step"] <= most
        console.print(
            f"step: {ratios['training step']:.2f} floors, at most {most}: "
            f"{'good' if good else 'MISSED'}\n"
        )
        failed |= not good
    return int(check and failed)


if __name__ == "__main__":
    script(main)
