"""core/kernel.c, compiled at first use (`core.native`) and called on tensors.

Where it cannot be had, `library` gives None and `core.bptt` runs the same steps in torch.
"""

import ctypes
import dataclasses
import functools
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
        *((name, ctypes.c_int64) for name in ("stride", "from_", "until")),
        *((name, ctypes.c_void_p) for name in ("sizes", "numbers", "table", "W", "b_W", "packed")),
        *((name, ctypes.c_void_p) for name in ("gates", "c", "q", "h", "h_start", "c_start")),
        *((name, ctypes.c_void_p) for name in ("dout", "dh", "dc", "dz", "dq", "fork")),
    ]


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
    parts = (*cell.parameters(), *(state if isinstance(state, tuple) else (state,)))
    return (
        all(part.dtype == torch.float32 and part.device.type == "cpu" for part in parts)
        and all(sigma in CODES for sigma in _activations(cell.kernel))
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
    lease = None if hooks else Lease(cell, size)
    block = torch.empty(size) if lease is None else lease.block
    gates = block[: rows * stride].view(rows, stride)[:, : len(cell.W)]
    return (gates, block[rows * stride : size].view(rows, hidden), h), lease


class Lease:
    """A block of floats from those a cell has for its tapes; it goes back when no one holds the lease any more."""

    _free: ClassVar[WeakKeyDictionary[Cell, list[Tensor]]] = WeakKeyDictionary()

    def __init__(self, cell: Cell, size: int):
        self._home = self._free.setdefault(cell, [])
        fitting = [block for block in self._home if len(block) >= size]
        found = min(fitting or self._home, key=len, default=None)
        if found is not None:
            self._home[:] = [block for block in self._home if block is not found]
        self.block = found if fitting and found is not None else torch.empty(size + size // 8)

    def __del__(self):
        self._home.append(self.block)
        del self._home[:-MOST_FREE]


class Forward:
    """The pass forward over a tape, or a part of it; the weights are laid out here, once."""

    def __init__(self, kernel: Kernel, tape: tuple[Tensor, ...], sizes: Sequence[int], W: Tensor, b_W: Tensor | None):
        self._layer, self._kept = _layer(kernel, tape, sizes, W)
        if b_W is not None:
            self._keep("b_W", b_W.detach())
        library().pack_forward(self._layer)

    def gather(self, numbers: Tensor, table: Tensor) -> None:
        """Take row numbers[i] of the table for row i's U x + b, instead of what lies on the tape."""
        rows = torch.empty(len(table), self._layer.stride)
        rows[:, : table.shape[1]] = table
        self._keep("numbers", numbers.long())
        self._keep("table", rows)

    def run(self, start: tuple[Tensor, ...], step: int, steps: int) -> None:
        """Take `steps` steps from step `step` on; `start` is the state before step 0."""
        for name, part in zip(("h_start", "c_start"), start, strict=False):
            setattr(self._layer, name, part.data_ptr())
        self._layer.from_, self._layer.until = step, step + steps
        library().forward(self._layer)

    def _keep(self, name: str, tensor: Tensor) -> None:
        tensor = tensor.contiguous()
        self._kept.append(tensor)
        setattr(self._layer, name, tensor.data_ptr())


def backward(
    kernel: Kernel,
    sizes: Sequence[int],
    start: tuple[Tensor, ...],
    tape: tuple[Tensor, ...],
    W: Tensor,
    dh: Tensor,
    d_state: tuple[Tensor, ...],
    in_place: bool,
) -> tuple[Tensor, Tensor | None]:
    """The pass back: see `core.tape.WayBack`."""
    gates, memory = tape[0], tape[1] if len(tape) > 1 else None
    dh, start = dh.contiguous(), tuple(part.contiguous() for part in start)
    own = in_place and not isinstance(kernel, RNNKernel)
    dz = gates if own else padded(*gates.shape)
    dq = (memory if own else torch.empty_like(dh)) if isinstance(kernel, GRUKernel) else None
    layer, _kept = _layer(kernel, tape, sizes, W)
    layer.stride = dz.stride(0)
    pointers = {"dout": dh, "dh": d_state[0], "dz": dz, "dq": dq, "h_start": start[0]}
    if isinstance(kernel, LSTMKernel):
        pointers |= {"dc": d_state[1], "c_start": start[1]}
    for name, tensor in pointers.items():
        setattr(layer, name, None if tensor is None else tensor.data_ptr())
    library().backward(layer)
    return dz, dq


def _layer(kernel: Kernel, tape: tuple[Tensor, ...], sizes: Sequence[int], W: Tensor) -> tuple[Layer, list[Tensor]]:
    """The part both passes share, and the tensors it points into."""
    layer, W = Layer(), W.detach().contiguous()
    layer.cell = (RNNKernel, LSTMKernel, GRUKernel).index(type(kernel))
    codes = [CODES[sigma] for sigma in _activations(kernel)]
    layer.gate, layer.candidate, layer.output = (codes[0], codes[-1], 0) if len(codes) < 3 else codes
    layer.hidden, layer.stride, layer.until = W.shape[1], tape[0].stride(0), len(sizes)
    layer.threads = torch.get_num_threads()
    layer.fork = _fork()
    packed = torch.empty(library().packed_size(layer))
    kept = [torch.tensor(sizes), W, packed, *tape]
    layer.sizes, layer.W, layer.packed, layer.gates = (tensor.data_ptr() for tensor in kept[:4])
    layer.h = tape[-1].data_ptr()
    if len(tape) > 1:
        setattr(layer, "c" if isinstance(kernel, LSTMKernel) else "q", tape[1].data_ptr())
    return layer, kept


def _activations(kernel: Kernel) -> list[Activation]:
    return [getattr(kernel, field.name) for field in dataclasses.fields(kernel)]


def _stride(width: int) -> int:
    return (width + 15) // 16 * 16 + 16


@functools.cache
def _fork() -> int | None:
    """The address of GNU OpenMP's fork, torch's own where it brings one: a second pool of threads would compete."""
    fork: Any = getattr(ctypes.CDLL(None), "GOMP_parallel", None)
    return None if fork is None else ctypes.cast(fork, ctypes.c_void_p).value
