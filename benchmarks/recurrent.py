"""Recurrent layers against torch.nn on a CPU, float32, no bias.

    uv run python -m benchmarks.recurrent --threads 1            # tables; some four minutes
    uv run python -m benchmarks.recurrent --threads 2 --check    # exit code 1 if a target is missed
    uv run python -m benchmarks.recurrent --sweep                # auto, 105 shapes; two minutes

--check needs a quiet machine. One process, everything interleaved; times are medians over rounds
(CPU time on one thread, wall-clock time on several), ratios medians of the ratios within a round.
The share is that of the rate of a large matrix product, measured in the same run. Peak memory is
that of a process of its own, above what it has before the first step.
"""

import subprocess
import sys
from itertools import product
from pathlib import Path
from statistics import median
from typing import NamedTuple

import torch
from rich.console import Console
from rich.table import Table
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence

from benchmarks.entry import script
from benchmarks.timing import Job, interleaved, product_rate, ratio
from core.recurrent import Recurrent
from core.torch_weights import to_torch

TORCH = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}
GATES = {"lstm": 4, "gru": 3, "rnn": 1}


class Shape(NamedTuple):
    """A network and its input, as wide as its layers."""

    time: int
    batch: int
    hidden: int
    layers: int = 1

    def operations(self, cell: str) -> float:
        """Floating-point operations of the forward products; backward there are twice as many."""
        return 4 * self.time * self.batch * GATES[cell] * self.hidden**2 * self.layers


SHAPES = {
    "A": Shape(100, 50, 512, 3),
    "B": Shape(50, 128, 256),
    "C": Shape(20, 1, 256),
    "D": Shape(1000, 16, 128),
}
HALF = Shape(100, 50, 512)
# at least so many times as fast as torch.nn, forward and back, by number of threads
LSTM_BARS = {
    1: {"A": 1.15, "B": 1.2, "C": 2.0, "D": 1.4},
    2: {"A": 1.25, "B": 1.3, "C": 2.5, "D": 1.9},
}
OTHER_BARS, PACKED_BAR, SWEEP_BAR = {"gru": 1.4, "rnn": 1.15}, 2.5, 0.95
SWEEP = (5, 50, 1000), (1, 16, 256), (32, 256, 1024), (1, 3)  # time, batch, hidden, layers
MOST_OPERATIONS = 4e9  # of a shape of the sweep, forward


def pair(cell: str, shape: Shape, engine: str) -> tuple[Recurrent, nn.Module]:
    """The same network, ours and torch's."""
    ours = Recurrent(cell, shape.hidden, shape.hidden, layers=shape.layers, engine=engine)
    theirs = TORCH[cell](shape.hidden, shape.hidden, shape.layers, bias=False)
    theirs.load_state_dict(to_torch(ours.state_dict()))
    return ours, theirs


def train(net: nn.Module, x: torch.Tensor, *options: object) -> Job:
    """A pass forward and back, gradients to weights and input."""
    weighting = torch.randn(*x.shape[:2], x.shape[2])
    leaves = [x.requires_grad_(), *net.parameters()]

    def job() -> None:
        torch.autograd.grad(net(x, *options)[0], leaves, weighting)

    return job


def infer(net: nn.Module, x: torch.Tensor) -> Job:
    """A pass forward without gradient."""

    def job() -> None:
        with torch.no_grad():
            net(x)

    return job


def jobs(cell: str, shape: Shape, engine: str = "auto") -> dict[str, Job]:
    """Training and inference, ours and torch's."""
    ours, theirs = pair(cell, shape, engine)
    x = torch.randn(shape.time, shape.batch, shape.hidden)
    return {
        "train": train(ours, x),
        "torch train": train(theirs, x),
        "infer": infer(ours, x),
        "torch infer": infer(theirs, x),
    }


def packed_jobs() -> dict[str, Job]:
    """Sequences of all lengths, half padding: ours, torch.nn packed, torch.nn padded."""
    ours, theirs = pair("lstm", HALF, "auto")
    lengths = torch.linspace(1, HALF.time, HALF.batch).round().long()
    x = torch.randn(HALF.time, HALF.batch, HALF.hidden)

    def packed() -> None:
        rows = pack_padded_sequence(x, lengths, enforce_sorted=False)
        outputs = theirs(rows)[0].data
        torch.autograd.grad(outputs, [x, *theirs.parameters()], torch.ones_like(outputs))

    return {"ours": train(ours, x, None, lengths), "packed": packed, "padded": train(theirs, x)}


def peak(cell: str, shape: Shape, ours: bool) -> float:
    """MiB that three training steps need at most, above what the process had before (on Linux)."""
    x = torch.randn(shape.time, shape.batch, shape.hidden)
    job = train(pair(cell, shape, "auto")[0 if ours else 1], x)
    # Forget the peak so far: importing torch took more.
    Path("/proc/self/clear_refs").write_text("5")
    before = high_water()
    for _ in range(3):
        job()
    return (high_water() - before) / 1024


def high_water() -> int:
    """The most resident memory since the peak was forgotten, in KiB."""
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])


def peak_elsewhere(name: str, ours: bool, threads: int) -> float:
    """`peak` of the LSTM of a shape in a new process, which computes with as many threads."""
    code = (
        f"import torch; torch.set_num_threads({threads}); from benchmarks.recurrent import *; "
        f"print(peak('lstm', SHAPES['{name}'], {ours}))"
    )
    return float(
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, check=True, text=True
        ).stdout
    )


class Report:
    """Prints tables, and remembers which bars were missed."""

    def __init__(self, threads: int):
        self.console, self.missed = Console(width=118), []
        self.title = f"{threads} thread{'s'[: threads - 1]}, torch {torch.__version__}"

    def table(self, title: str, *headings: str) -> Table:
        """An empty table."""
        table = Table(title=f"{title}; {self.title}")
        for number, heading in enumerate(headings):
            table.add_column(heading, justify="right" if number else "left")
        return table

    def judged(self, what: str, value: float, bar: float) -> str:
        """The value beside its bar."""
        if value < bar:
            self.missed.append(f"{what}: {value:.2f}, at least {bar}")
        return f"{value:.2f} ({bar})"


def compare(report: Report, threads: int, rounds: int) -> None:
    """The four shapes, three cells; packed sequences; memory."""
    rate = product_rate()
    report.console.print(f"a matrix product: {rate / 1e6:.0f} GFLOP/s")
    for cell in TORCH:
        headings = (
            "shape",
            "train ms",
            "torch ms",
            "times as fast (bar)",
            "share",
            "infer ms",
            "torch ms",
            "times",
        )
        table = report.table(f"{cell}, forward and back, and inference", *headings)
        for name, shape in SHAPES.items():
            small = shape.operations(cell) < 1e9
            times = interleaved(jobs(cell, shape), 20 * rounds if small else rounds)
            if cell == "lstm":
                bar = LSTM_BARS.get(threads, LSTM_BARS[2])[name]
            else:
                bar = OTHER_BARS[cell]
            gain = report.judged(f"{cell} {name}", ratio(times["torch train"], times["train"]), bar)
            ms = {job: median(milliseconds) for job, milliseconds in times.items()}
            share = 3 * shape.operations(cell) / ms["train"] / rate
            infer = ratio(times["torch infer"], times["infer"])
            row = (f"{ms['train']:.2f}", f"{ms['torch train']:.2f}", gain, f"{share:.0%}")
            table.add_row(
                name, *row, f"{ms['infer']:.2f}", f"{ms['torch infer']:.2f}", f"{infer:.2f}"
            )
        report.console.print(table)

    # More rounds, as torch.nn's packed times vary by a factor of two.
    times = interleaved(packed_jobs(), 3 * rounds)
    gain = report.judged("packed", ratio(times["packed"], times["ours"]), PACKED_BAR)
    padded = ratio(times["padded"], times["ours"])
    report.console.print(
        f"LSTM {HALF} half full: {gain} times torch.nn packed, {padded:.2f} times padded"
    )
    for name in ("A", "D"):
        ours, theirs = (peak_elsewhere(name, ours, threads) for ours in (True, False))
        report.console.print(f"LSTM {name}, peak memory: {ours:.0f} MiB, torch.nn {theirs:.0f} MiB")


def over_shapes(report: Report, rounds: int) -> None:
    """engine="auto" against torch.nn over all but the largest shapes, and "bptt" inference."""
    for cell in TORCH:
        headings = (
            "time batch hidden layers",
            "train ms",
            "torch ms",
            "times",
            "infer ms",
            "torch ms",
            "times",
            "bptt",
        )
        table = report.table(f"{cell}, forward and back, and inference, bar {SWEEP_BAR}", *headings)
        for shape in (Shape(*sizes) for sizes in product(*SWEEP)):
            if (operations := shape.operations(cell)) > MOST_OPERATIONS:
                continue
            work = {**jobs(cell, shape), "bptt": jobs(cell, shape, "bptt")["infer"]}
            times_each = max(rounds // 2, 3)
            if operations < 1e8:
                times_each = 2 * rounds
            times = interleaved(work, times_each)
            row, name = [], " ".join(map(str, shape))
            for what in ("train", "infer"):
                gain = ratio(times[f"torch {what}"], times[what])
                if gain < SWEEP_BAR:
                    report.missed.append(f"{cell} {name} {what}: {gain:.2f}, at least {SWEEP_BAR}")
                row += (
                    f"{median(times[what]):.2f}",
                    f"{median(times[f'torch {what}']):.2f}",
                    f"{gain:.2f}",
                )
            table.add_row(name, *row, f"{ratio(times['torch infer'], times['bptt']):.2f}")
        report.console.print(table)


def main(threads: int = 1, rounds: int = 7, sweep: bool = False, check: bool = False) -> int:
    """Time everything and print tables.

    Args:
        threads: of torch, and of the kernel.
        rounds: how often everything is timed.
        sweep: many shapes instead of the four.
        check: exit code 1 if a bar is missed.
    """
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    report = Report(threads)
    if sweep:
        over_shapes(report, rounds)
    else:
        compare(report, threads, rounds)
    for line in report.missed:
        report.console.print(f"MISSED {line}")
    return int(check and bool(report.missed))


if __name__ == "__main__":
    script(main)
