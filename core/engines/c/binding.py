"""How kernel.c is called: its structure, its library, and which work it can do.

It is compiled at first use (`core.engines.c.build`). Where that fails, `library` returns None and
`core.engines.bptt` runs the steps in torch.
"""

import ctypes
import functools
import struct
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from core.activations import ACTIVATIONS, Activation
from core.base_cell import State
from core.engines.c import build
from core.engines.steps import FastCell, GRUSteps, LSTMSteps, RNNSteps, Steps

SOURCE = Path(__file__).with_name("kernel.c")
LANES = 16  # floats in the widest vector that kernel.c is compiled for
PLAIN = Tensor, nn.Parameter  # types whose memory is where data_ptr() says
CODES: dict[Activation, int] = {
    ACTIVATIONS[name]: i for i, name in enumerate(("tanh", "sigmoid", "relu", "identity"))
}
CELL_CODES: dict[type[Steps], int] = {RNNSteps: 0, LSTMSteps: 1, GRUSteps: 2}
RNN, LSTM, GRU = CELL_CODES.values()
GATES = {RNN: 1, LSTM: 4, GRU: 3}
NO_INPUTS = (0, 0, 0, 0, 0)  # x, U, b, table_rows and table of a layer whose U x + b is on the tape
Code = tuple[int, int, int, int]  # cell; activations of gates, candidate and output


class Layer(NamedTuple):
    """`layer` of layer.h, whose fields all have 8 bytes: numbers, and addresses; 0 is NULL."""

    cell: int
    gate: int
    candidate: int
    output: int
    parallel: int
    team_size: int
    thread_number: int
    hidden: int
    input: int
    threads: int
    stride: int
    begin: int
    end: int
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
    table_rows: int = 0
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
    needs_d_start: int = 0
    zero_d_end: int = 0

    def forward(self) -> None:
        """Take the steps; the caller keeps the tensors alive."""
        library().forward(PACKED.pack(*self))

    def backward(self) -> None:
        """Take the steps backward; the caller keeps the tensors alive."""
        library().backward(PACKED.pack(*self))


PACKED = struct.Struct(f"{len(Layer._fields)}q")


@functools.cache
def library() -> Any:
    """The loaded library, or None where it cannot be had (see `core.engines.c.build`)."""
    loaded = build.load(SOURCE)
    if loaded is not None:
        for function in (loaded.forward, loaded.backward):
            function.argtypes = [ctypes.c_void_p]
            function.restype = None
    return loaded


def is_followed() -> bool:
    """Whether torch traces operations (`torch.jit`) or transforms them (`torch.func`)."""
    traced = torch._C._get_tracing_state() is not None
    return traced or torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0


def kernel_serves(fast: FastCell, x: Tensor, start: State) -> bool:
    """Whether the compiled steps can do the work: float32 weights on a CPU, known activations.

    A subclass of Tensor may stand for memory that lies elsewhere, or nowhere; a dispatch mode (as
    that of `torch.utils.flop_counter`) must see every operation, as must whatever `is_followed`
    finds.
    """
    if torch.compiler.is_compiling() or torch._C._len_torch_dispatch_stack() or is_followed():
        return False
    if not _is_plain(x):
        return False
    for tensor in (*fast.weights, *start):
        if tensor is not None and not (tensor.dtype is torch.float32 and _is_plain(tensor)):
            return False
    return code_of(fast.steps) is not None and library() is not None


def _is_plain(tensor: Tensor) -> bool:
    return (
        type(tensor) in PLAIN
        and tensor.is_cpu
        and tensor.layout is torch.strided
        and not tensor.is_neg()
    )


def code_of(steps: Steps) -> Code | None:
    """kernel.c's numbers of the cell and of its activations, or None where it lacks one."""
    codes = [CODES.get(sigma, -1) for sigma in vars(steps).values()]
    if -1 in codes or type(steps) not in CELL_CODES:
        return None
    gate = codes[0]
    candidate = codes[1] if len(codes) > 1 else gate
    output = codes[2] if len(codes) > 2 else 0
    return CELL_CODES[type(steps)], gate, candidate, output


def address(tensor: Tensor | None) -> int:
    """The address of a contiguous tensor's first number, 0 for None.

    Raises:
        RuntimeError: if its memory was freed or cut short, as by `untyped_storage().resize_(0)`.
    """
    if tensor is None:
        return 0
    end = (tensor.storage_offset() + tensor.numel()) * tensor.itemsize
    held = tensor.untyped_storage().nbytes()
    if held < end:
        raise RuntimeError(
            f"a tensor {list(tensor.shape)} has {held} bytes of memory and needs {end}: "
            "it was freed"
        )
    return tensor.data_ptr()


@functools.cache
def openmp() -> tuple[int, int, int]:
    """GNU OpenMP's `GOMP_parallel`, `omp_get_num_threads` and `omp_get_thread_num`, or zeros.

    They are torch's own where it brings them: a second pool of threads would compete with the
    first.
    """
    process: Any = ctypes.CDLL(None)
    names = "GOMP_parallel", "omp_get_num_threads", "omp_get_thread_num"
    if not all(hasattr(process, name) for name in names):
        return 0, 0, 0
    parallel, team_size, thread_number = (
        ctypes.cast(getattr(process, name), ctypes.c_void_p).value or 0 for name in names
    )
    return parallel, team_size, thread_number
