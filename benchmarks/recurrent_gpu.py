"""The engines of recurrent layers on a GPU, beside torch.nn's module, which cuDNN runs there.

    uv run python -m benchmarks.recurrent_gpu
    uv run python -m benchmarks.recurrent_gpu --device cpu --rounds 1 --toy    # at toy size

Forward and backward, with gradients of input and weights, in bf16 (autocast over float32 weights)
and float32, without TF32. `fused` calls torch's function layer by layer, `bptt` takes the steps in
torch; torch.nn has all layers in one call, which cuDNN can overlap. Each is timed as it is and, on
a GPU, captured as a CUDA graph; everything is interleaved, and medians are shown. The share is that
of the rate of a large matrix product in the same run.
"""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass

import torch
from rich.console import Console
from rich.table import Table
from torch import nn

from benchmarks import gpu
from benchmarks.entry import script
from core.recurrent import Recurrent
from core.torch_weights import to_torch
from core.training import devices
from core.training.cuda_graphs import Cuda

GATES = {"rnn": 1, "lstm": 4, "gru": 3}
REFERENCE = "torch.nn"
TORCH = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}


@dataclass(frozen=True)
class Shape:
    """Of a batch of sequences and the net that reads them."""

    time: int
    batch: int
    hidden: int
    layers: int

    def __str__(self) -> str:
        return f"T {self.time}, B {self.batch}, {self.layers} x {self.hidden}"

    def operations(self, cell: str) -> int:
        """Multiplications and additions of all products; backward there are twice as many."""
        steps = self.time * self.batch * self.layers
        weights = 2 * GATES[cell] * self.hidden**2  # of U and W
        return 3 * 2 * steps * weights


SHAPES = [
    Shape(100, 64, 512, 3),
    Shape(100, 64, 128, 1),
    Shape(100, 64, 256, 1),
    Shape(100, 64, 1024, 1),
]
TOY = [Shape(3, 2, 16, 1)]


def passes(
    shape: Shape, cell: str, engine: str, device: torch.device, dtype: torch.dtype
) -> Callable[[], None]:
    """A function that goes forward and back, by an engine or by the module of torch.nn."""
    torch.manual_seed(0)
    x = torch.randn(shape.time, shape.batch, shape.hidden, device=device, requires_grad=True)
    weight = torch.randn(shape.time, shape.batch, shape.hidden, device=device)
    options = {"layers": shape.layers, "bias": True}
    if engine != REFERENCE:
        options["engine"] = engine
    recurrent: nn.Module = Recurrent(cell, shape.hidden, shape.hidden, **options)
    if engine == REFERENCE:
        weights = to_torch(recurrent.state_dict())
        recurrent = TORCH[cell](shape.hidden, shape.hidden, shape.layers)
        recurrent.load_state_dict(weights)
    recurrent.to(device)
    leaves = [x, *recurrent.parameters()]

    def run() -> None:
        with torch.autocast(
            device.type, torch.bfloat16, enabled=dtype == torch.bfloat16, cache_enabled=False
        ):
            outputs, _ = recurrent(x)
        torch.autograd.grad((outputs * weight).sum(), leaves)

    return run


def captured(run: Callable[[], None], device: torch.device) -> Callable[[], None]:
    """The same as one CUDA graph."""
    there = Cuda(device)
    for _ in range(gpu.WARM_UP):
        there.aside(run)
    return there.capture(run)


def rate(device: torch.device, dtype: torch.dtype, rounds: int, side: int) -> float:
    """Operations a second of a large matrix product."""
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    found = gpu.times({"product": lambda: torch.mm(a, b)}, device, rounds)
    return 2 * side**3 / (1e-3 * found["product"])


def jobs(
    shape: Shape, cell: str, device: torch.device, dtype: torch.dtype
) -> dict[str, Callable[[], None]]:
    """What to time: torch.nn, and each engine that can do the work; as it is and captured."""
    runs = {}
    for engine in (REFERENCE, "fused", "bptt"):
        run = passes(shape, cell, engine, device, dtype)
        with contextlib.suppress(ValueError):  # an engine that this machine does not have
            run()
            runs[engine] = run
            if device.type == "cuda":
                runs[f"{engine}, captured"] = captured(run, device)
    return runs


def main(rounds: int = 30, device: str = "auto", toy: bool = False) -> None:
    """Time all shapes, cells and dtypes; print a table each."""
    gpu.require_rounds(rounds)
    where = devices.select(device)
    # cuDNN's recurrent layers take TF32 by default and matrix products do not.
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False
    console = Console()
    largest_product = 8192 if where.type == "cuda" else 1024
    shapes = SHAPES
    if toy:
        shapes = TOY
        largest_product = 64
    for dtype in (torch.bfloat16, torch.float32):
        peak = rate(where, dtype, rounds, largest_product)
        for shape in shapes:
            for cell in GATES:
                times = gpu.times(jobs(shape, cell, where, dtype), where, rounds)
                table = Table(
                    f"{cell}, {shape}",
                    title=f"{gpu.about(where)}, {dtype}, product {peak / 1e12:.2f} TFLOP/s",
                )
                for heading in ("ms", f"times {REFERENCE}", "share"):
                    table.add_column(heading, justify="right")
                for name, milliseconds in times.items():
                    share = shape.operations(cell) / (1e-3 * milliseconds) / peak
                    table.add_row(
                        name,
                        f"{milliseconds:.3f}",
                        f"{times[REFERENCE] / milliseconds:.2f}",
                        f"{share:.1%}",
                    )
                console.print(table)
    if where.type != "cuda":
        print("there is no CUDA here: nothing was captured, and torch.nn's kernels are not cuDNN's")


if __name__ == "__main__":
    script(main)
