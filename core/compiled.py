"""core/kernel.c, compiled at first use (`core.native`) and called on tensors.

Where it cannot be had, `library` gives None and `core.bptt` runs the same steps in torch.
"""

import ctypes
import dataclasses
import functools
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

import torch
import torch._C._autograd as autograd
from torch import Tensor

from core import native
from core.activations import ACTIVATIONS, Activation
from core.cells import Cell
from core.sequence_kernels import GRUKernel, Kernel, LSTMKernel, RNNKernel

SOURCE = Path(__file__).with_name("kernel.c")
MOST_FREE = 2  # blocks kept for the next tapes of a cell
CODES: dict[Activation, int] = {
    ACTIVATIONS[name]: i for i, name in enumerate(("tanh", "sigmoid", "relu", "identity"))
}


class Layer(ctypes.Structure):
    """`layer` of kernel.c: numbers, and where tensors lie."""

    _fields_ = [
        *((name, ctypes.c_int64) for name in ("cell", "gate", "candidate", "output", "hidden", "threads")),
        *((name, ctypes.c_int64) for name in ("stride", "from_", "until", "asked")),
        *((name, ctypes.c_void_p) for name in ("sizes", "numbers", "table", "W", "b_W", "packed")),
        *((name, ctypes.c_void_p) for name in ("gates", "c", "q", "h", "h_start", "c_start")),
        *((name, ctypes.c_void_p) for name in ("dout", "dh", "dc", "dz", "dq", "fork")),
    ]

    def __init__(self, *values: int):
        super().__init__(*values)
        self.kept: list[Any] = []  # what is pointed at must live

    def point(self, **tensors: Tensor) -> None:
        """Set fields to where tensors lie."""
        for name, tensor in tensors.items():
            setattr(self, name, tensor.data_ptr())
        self.kept += tensors.values()


@functools.cache
def library() -> Any:
    """The loaded library, or None where it cannot be had (see `core.native`)."""
    loaded = native.load(SOURCE)
    if loaded is not None:
        for name in ("pack_forward", "forward", "backward"):
            getattr(loaded, name).argtypes, getattr(loaded, name).restype = [ctypes.POINTER(Layer)], None
        loaded.packed_size.argtypes, loaded.packed_size.restype = [ctypes.POINTER(Layer)], ctypes.c_int64
    return loaded


def serves(cell: Cell, state: Any) -> bool:
    """Whether the compiled steps can do the work: float32 on a CPU, activations they know."""
    parts = (cell.U, cell.W, cell.b, cell.b_W, *(state if isinstance(state, tuple) else (state,)))
    return bool(
        all(part is None or (part.dtype == torch.float32 and part.is_cpu) for part in parts)
        and _codes(cell.kernel)
        and not torch.compiler.is_compiling()
        and library() is not None
    )


def padded(rows: int, width: int) -> Tensor:
    """A tensor [rows, width] whose rows do not lie a multiple of 4 KiB apart: those would share cache lines."""
    return torch.empty(rows, _stride(width))[:, :width]


def buffers(cell: Cell, rows: int) -> tuple[tuple[Tensor, ...], "Lease | None"]:
    """The tape: of the RNN h; of the LSTM gates, c, h; of the GRU gates, q, h.

    What only the pass back will see is on lease: memory that was used before is in reach already. Not so where
    hooks on saved tensors may keep them (`torch.autograd.graph.saved_tensors_hooks`, checkpoints).
    """
    h = torch.empty(rows, cell.hidden_size)
    if isinstance(cell.kernel, RNNKernel):
        return (h,), None
    stride, hidden = _stride(len(cell.W)), cell.hidden_size
    hooks = autograd._top_saved_tensors_default_hooks(True) is not None
    size = rows * (stride + hidden)
    lease = None if hooks else Lease(size, cell)
    block = torch.empty(size) if lease is None else lease.block
    gates = block.as_strided((rows, len(cell.W)), (stride, 1))
    return (gates, block.as_strided((rows, hidden), (hidden, 1), rows * stride), h), lease


class Lease:
    """A block of floats from those kept at home; it goes back there when no one holds the lease any more."""

    _homes: ClassVar[WeakKeyDictionary[Cell, list[Tensor]]] = WeakKeyDictionary()
    _common: ClassVar[list[Tensor]] = []

    def __init__(self, size: int, cell: Cell | None = None):
        self._home = self._common if cell is None else self._homes.setdefault(cell, [])
        try:
            self.block = self._home.pop()
        except IndexError:  # another thread may have been faster
            self.block = torch.empty(0)
        if len(self.block) < size:
            self.block = torch.empty(size + size // 8)

    def __del__(self):
        self._home.append(self.block)
        del self._home[:-MOST_FREE]


class Forward:
    """The pass forward over a tape, or a part of it; the weights are laid out here, once."""

    def __init__(self, kernel: Kernel, tape: tuple[Tensor, ...], sizes: Sequence[int], W: Tensor, b_W: Tensor | None):
        self._layer = _layer(kernel, tape, sizes, W)
        if b_W is not None:
            self._layer.point(b_W=b_W.detach().contiguous())
        library().pack_forward(self._layer)

    def gather(self, numbers: Tensor, table: Tensor) -> None:
        """Take row numbers[i] of the table for row i's U x + b, instead of what lies on the tape."""
        rows = torch.empty(len(table), self._layer.stride)
        rows[:, : table.shape[1]] = table
        self._layer.point(numbers=numbers.long().contiguous(), table=rows)

    def run(self, start: tuple[Tensor, ...], step: int, steps: int) -> None:
        """Take `steps` steps from step `step` on; `start` is the state before step 0."""
        for name, part in zip(("h_start", "c_start"), start, strict=False):
            setattr(self._layer, name, part.data_ptr())
        self._layer.from_, self._layer.until = step, step + steps
        library().forward(self._layer)


def backward(
    kernel: Kernel,
    sizes: Sequence[int],
    start: tuple[Tensor, ...],
    tape: tuple[Tensor, ...],
    W: Tensor,
    dh: Tensor,
    d_state: tuple[Tensor, ...],
    in_place: bool,
    asked: bool,
) -> tuple[Tensor, Tensor | None]:
    """The pass back: see `core.tape.WayBack`."""
    own = in_place and not isinstance(kernel, RNNKernel)
    dz, dq = tape[0] if own else padded(*tape[0].shape), None
    layer = _layer(kernel, tape, sizes, W)
    if isinstance(kernel, GRUKernel):
        dq = tape[1] if own else torch.empty_like(tape[1])
        layer.point(dq=dq)
    if isinstance(kernel, LSTMKernel):
        layer.point(dc=d_state[1], c_start=start[1].contiguous())
    layer.point(dout=dh.contiguous(), dh=d_state[0], h_start=start[0].contiguous(), dz=dz)
    layer.stride, layer.asked = dz.stride(0), asked
    library().backward(layer)
    return dz, dq


def _layer(kernel: Kernel, tape: tuple[Tensor, ...], sizes: Sequence[int], W: Tensor) -> Layer:
    """The part both passes share."""
    layer = Layer(*_codes(kernel), W.shape[1], torch.get_num_threads(), tape[0].stride(0), 0, len(sizes))
    layer.fork = fork()
    rows = array("q", sizes)
    layer.sizes = rows.buffer_info()[0]
    room = Lease(library().packed_size(layer))
    layer.kept += (rows, room)
    layer.point(W=W.contiguous(), packed=room.block, gates=tape[0], h=tape[-1])
    if len(tape) > 1:
        layer.point(**{"c" if isinstance(kernel, LSTMKernel) else "q": tape[1]})
    return layer


@functools.cache
def _codes(kernel: Kernel) -> tuple[int, ...]:
    """kernel.c's cell and its activations gate, candidate, output; () where it lacks one."""
    sigmas = [getattr(kernel, field.name) for field in dataclasses.fields(kernel)]
    if any(sigma not in CODES for sigma in sigmas):
        return ()
    codes = [CODES[sigma] for sigma in sigmas]
    cell = (RNNKernel, LSTMKernel, GRUKernel).index(type(kernel))
    return (cell, *(codes if len(codes) == 3 else (codes[0], codes[-1], 0)))


def _stride(width: int) -> int:
    return (width + 15) // 16 * 16 + 16


@functools.cache
def fork() -> int | None:
    """The address of GNU OpenMP's fork, torch's own where it brings one: a second pool of threads would compete."""
    fork: Any = getattr(ctypes.CDLL(None), "GOMP_parallel", None)
    return None if fork is None else ctypes.cast(fork, ctypes.c_void_p).value
