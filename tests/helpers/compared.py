"""The C engine beside the reference in double precision."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

from core.cells import CELLS
from core.engines import bptt
from core.engines.c import build
from core.engines.c.binding import CELL_CODES
from core.engines.c.passes import CompiledTape
from core.engines.steps import STEPS
from core.recurrent import Recurrent

FAST_CELLS = [name for name, cell in CELLS.items() if cell in STEPS]
"""The cells that have fast steps: the others run only on the reference."""

C_CELLS = [name for name in FAST_CELLS if STEPS[CELLS[name]] in CELL_CODES]
"""Those that have steps in C too."""

FUSED_CELLS = [name for name in FAST_CELLS if CELLS[name](1, 1).torch_function()]
"""Those that torch.nn has, too."""

needs_compiler = pytest.mark.skipif(build.compiler() is None, reason="there is no C compiler here")


def everything(net: Recurrent, x: Tensor, state: Any, lengths: Tensor | None) -> list[Tensor]:
    """Outputs, final state, and the gradients of a random weighting of both."""
    x = x.clone().requires_grad_() if x.is_floating_point() else x
    start = [part.clone().requires_grad_() for part in state]
    outputs, final = net(x, tuple(start), lengths)
    values = [outputs, *final]
    random = torch.Generator().manual_seed(1)
    error = torch.stack(
        [
            (v * torch.randn(v.shape, generator=random, dtype=torch.float64).to(v.dtype)).sum()
            for v in values
        ]
    )
    leaves = [*([x] if x.is_floating_point() else []), *start, *net.parameters()]
    return [*values, *torch.autograd.grad(error.sum(), leaves)]


def pair(cell: str, size: int, hidden: int, **options: Any) -> tuple[Recurrent, Recurrent]:
    """The same network twice: by hand in single precision, by the reference in double."""
    ours = Recurrent(cell, size, hidden, engine="bptt", **options)
    assert isinstance(bptt.record(ours.layers[0][0], 1, 1), CompiledTape)
    reference = copy.deepcopy(ours).double()
    reference.engine = "reference"
    return ours, reference


def random_state(net: Recurrent, batch: int) -> Any:
    return tuple(map(torch.randn_like, net.initial_state(batch)))


def double(state: Any) -> Any:
    return tuple(part.double() for part in state)


def assert_close(ours: list[Tensor], reference: list[Tensor], tolerance: float) -> None:
    for one, other in zip(ours, reference, strict=True):
        assert (one - other).norm() <= tolerance * other.norm()
