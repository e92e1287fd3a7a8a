"""How core/engines/c/kernel.c is called: its structure, its library, and whether it can do some work.

It is compiled at first use (`core.engines.c.build`). Where it cannot be had, `library` gives None and `core.engines.bptt` runs its
steps in torch.
"""

import ctypes
import functools
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from core.activations import ACTIVATIONS, Activation
from core.engines.c import build
from core.engines.steps import GRUSteps, LSTMSteps, RNNSteps, Steps

SOURCE = Path(__file__).with_name("kernel.c")
LANES = 16  # of kernel.c's vectors, at most
PLAIN = Tensor, nn.Parameter  # types of tensors that lie in memory of their own
CODES: dict[Activation, int] = {
    ACTIVATIONS[name]: i for i, name in enumerate(("tanh", "sigmoid", "relu", "identity"))
}


class Layer(NamedTuple):
    """`layer` of kernel.c, all of whose fields have 8 bytes: numbers, and where tensors lie; 0 is NULL."""

    cell: int
    gate: int
    candidate: int
    output: int
    fork: int
    team: int
    number: int
    hidden: int
    input: int
    threads: int
    stride: int
    begin: int
    until: int
    sizes: int
    W: int
    b_W: int
    packed: int
    gates: int
    c: int
    q: int
    h: int
    h_start: int
    c_start: int
    x: int = 0
    U: int = 0
    b: int = 0
    numbers: int = 0
    table: int = 0
    h_end: int = 0
    c_end: int = 0
    dout: int = 0
    dh: int = 0
    dc: int = 0
    dz: int = 0
    dq: int = 0
    dx: int = 0
    dU: int = 0
    dW: int = 0
    db: int = 0
    db_W: int = 0
    asked: int = 0
    fresh: int = 0

    def run(self, back: bool = False) -> None:
        """Take the steps; who calls holds the tensors."""
        (library().backward if back else library().forward)(IN_C.pack(*self))


IN_C = struct.Struct(f"{len(Layer._fields)}q")


@functools.cache
def library() -> Any:
    """The loaded library, or None where it cannot be had (see `core.engines.c.build`)."""
    loaded = build.load(SOURCE)
    if loaded is not None:
        for name in ("forward", "backward"):
            getattr(loaded, name).argtypes, getattr(loaded, name).restype = [ctypes.c_void_p], None
    return loaded


def followed() -> bool:
    """Whether operations are traced (`torch.jit`) or transformed (`torch.func`, derivatives in forward mode)."""
    traced = torch._C._get_tracing_state() is not None
    return traced or torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0


def kernel_serves(kernel: Steps, x: Tensor, tensors: Iterable[Tensor | None]) -> bool:
    """Whether the compiled steps can do the work: float32 on a CPU but for the inputs x, activations they know.

    A subclass of Tensor may stand for memory that lies elsewhere, or nowhere; a dispatch mode (as that of
    `torch.utils.flop_counter`) wants to see every operation, as those do that are `followed`: then it cannot.
    """
    if torch.compiler.is_compiling() or type(x) not in PLAIN or not x.is_cpu or x.is_neg():
        return False
    if torch._C._len_torch_dispatch_stack() or followed():
        return False
    for each in tensors:
        if each is None:
            continue
        if (
            each.dtype is not torch.float32
            or type(each) not in PLAIN
            or not each.is_cpu
            or each.is_neg()
        ):
            return False
    return bool(codes(kernel)) and library() is not None


def codes(kernel: Steps) -> tuple[int, ...]:
    """kernel.c's cell and its activations gate, candidate, output; () where it lacks one."""
    sigmas = vars(kernel).values()
    if any(sigma not in CODES for sigma in sigmas):
        return ()
    known = [CODES[sigma] for sigma in sigmas]
    cell = (RNNSteps, LSTMSteps, GRUSteps).index(type(kernel))
    return (cell, *(known if len(known) == 3 else (known[0], known[-1], 0)))


@functools.cache
def openmp() -> tuple[int, int, int]:
    """GNU OpenMP's `GOMP_parallel`, `omp_get_num_threads` and `omp_get_thread_num`, or zeros.

    They are torch's own where it brings them: a second pool of threads would compete with the first.
    """
    here: Any = ctypes.CDLL(None)
    names = "GOMP_parallel", "omp_get_num_threads", "omp_get_thread_num"
    found = [getattr(here, name, None) for name in names]
    fork, team, number = (
        0 if each is None else ctypes.cast(each, ctypes.c_void_p).value or 0 for each in found
    )
    return (fork, team, number) if all(found) else (0, 0, 0)
