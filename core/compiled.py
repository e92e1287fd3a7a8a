"""core/kernel.c, compiled at first use (`core.native`) and called on tensors: the passes of `core.tape`, faster.

Where it cannot be had, `library` gives None and `core.bptt` runs the same steps in torch.
"""

import ctypes
import dataclasses
import functools
from array import array
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple
from weakref import WeakKeyDictionary

import torch
import torch._C._autograd as autograd
from jaxtyping import Float
from torch import Tensor

from core import native
from core.activations import ACTIVATIONS, Activation
from core.cells import Cell
from core.products import Gradients, Rows, Weights, gradients, input_product, leading
from core.sequence_kernels import GRUKernel, Kernel, LSTMKernel, RNNKernel
from core.tape import Parts, Recorded, Saved, Tape, weights_of

SOURCE = Path(__file__).with_name("kernel.c")
MOST_FREE = 2  # blocks kept for the next tapes of a cell
FEW = 64  # rows up to which kernel.c forms the products over all steps too
WITHIN_REACH = 2**18  # weights up to which a pass without a way back finds U x in each step, where it is used
LANES = 16  # of kernel.c's vectors, at most
CODES: dict[Activation, int] = {
    ACTIVATIONS[name]: i for i, name in enumerate(("tanh", "sigmoid", "relu", "identity"))
}


class Layer(NamedTuple):
    """`layer` of kernel.c, all of whose fields have 8 bytes: numbers, and where tensors lie; 0 is NULL."""

    cell: int
    gate: int
    candidate: int
    output: int
    hidden: int
    input: int
    threads: int
    stride: int
    begin: int
    until: int
    asked: int
    sizes: int
    fork: int
    team: int
    W: int
    b_W: int
    packed: int
    gates: int
    c: int
    q: int
    h: int
    numbers: int = 0
    table: int = 0
    x: int = 0
    U: int = 0
    b: int = 0
    h_end: int = 0
    c_end: int = 0
    h_start: int = 0
    c_start: int = 0
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

    def run(self, back: bool = False) -> None:
        """All steps; who calls holds the tensors."""
        fields = array("q", self)
        (library().backward if back else library().forward)(fields.buffer_info()[0])


@functools.cache
def library() -> Any:
    """The loaded library, or None where it cannot be had (see `core.native`)."""
    loaded = native.load(SOURCE)
    if loaded is not None:
        for name in ("forward", "backward"):
            getattr(loaded, name).argtypes, getattr(loaded, name).restype = [ctypes.c_void_p], None
    return loaded


def serves(kernel: Kernel, tensors: Iterable[Tensor | None]) -> bool:
    """Whether the compiled steps can do the work: float32 on a CPU, activations they know."""
    for each in tensors:
        if each is not None and not (each.dtype is torch.float32 and each.is_cpu):
            return False
    return bool(_codes(kernel)) and not torch.compiler.is_compiling() and library() is not None


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


class CompiledTape(Tape):
    """A tape whose steps are taken by core/kernel.c."""

    def recorded(self) -> Recorded:
        """What the steps have left behind."""
        return Recorded(self._block_and_h, self._final(), self._lease)

    def _allocate(self, cell: Cell) -> tuple[Tensor, Tensor]:
        weights, start = Weights(*contiguous(self._weights)), contiguous(self._first)
        h, sizes = torch.empty(self.firsts[-1], cell.hidden_size), array("q", self.batch_sizes)
        self._block_and_h, self._lease = _buffers(self.kernel, weights.W, h, cell)
        z, second = _parts(self._block_and_h, weights.W.shape)
        room = _room(weights.W)
        layer = _layer(self.kernel, sizes, weights, room, self._block_and_h, z.stride(0))
        self._layer = layer._replace(h_start=start[0].data_ptr(), c_start=start[-1].data_ptr())
        self._kept = sizes, weights, start, room  # the layer points at them
        self._buffers = (z,) if second is None else (z, second, h)
        return z, h

    def _advance(self, steps: int) -> None:
        self._layer._replace(begin=self.taken, until=self.taken + steps).run()


def forward(cell: Cell, batch_sizes: Sequence[int], x: Rows, start: Parts) -> Recorded:
    """All steps over known inputs: as `core.tape.forward`; no `start` stands for zeros."""
    kernel, sizes, x, start = cell.kernel, array("q", batch_sizes), x.contiguous(), contiguous(start)
    weights = Weights(*contiguous(weights_of(cell)))
    W, h = weights.W, torch.empty(*leading(x), cell.hidden_size)
    buffers, lease = _buffers(kernel, W, h, cell)
    room, (given, _held) = _room(W), _inputs(x, weights, buffers)
    if start and len(start[0]) > sizes[0]:
        final = tuple(part.clone() for part in start)
    else:
        final = tuple(torch.empty(sizes[0], W.shape[1]) for _ in range(1 + isinstance(kernel, LSTMKernel)))
    ends = {"h_end": final[0].data_ptr(), "c_end": final[-1].data_ptr()}
    _layer(kernel, sizes, weights, room, buffers, _stride_of(buffers, W), **given, **ends, **_starts(start)).run()
    return Recorded(buffers, final, lease)


def infer(
    kernel: Kernel, stack: Sequence[Weights], batch_sizes: Sequence[int], x: Rows, start: Parts | None, home: Cell
) -> tuple[Float[Tensor, "*rows hidden"], Parts]:
    """Layers one above the other, without a way back: the outputs of the last, and the final state of all.

    Args:
        kernel: the steps of all.
        stack: the weights of each.
        batch_sizes: rows of each step, falling.
        x: the inputs of the lowest.
        start: the first state, parts [layers, batch, hidden]; None for zeros.
        home: where memory is kept.
    """
    sizes, hidden = array("q", batch_sizes), stack[0].W.shape[1]
    shape, start = (len(stack), sizes[0], hidden), contiguous(start or ())
    if start and start[0].shape != shape:
        final = tuple(part.clone() for part in start)
    else:
        final = tuple(torch.empty(shape) for _ in range(1 + isinstance(kernel, LSTMKernel)))
    for number, each in enumerate(stack):
        weights, x, h = Weights(*contiguous(each)), x.contiguous(), torch.empty(*leading(x), hidden)
        U, W, b, _ = weights
        skipped = 4 * number * final[0][0].numel()
        places = {"h_end": final[0].data_ptr() + skipped, "c_end": final[-1].data_ptr() + skipped}
        places |= {name: at + skipped for name, at in _starts(start).items()}
        if x.is_floating_point() and sizes[0] > 1 and U.numel() + W.numel() <= WITHIN_REACH:
            room = _room(W, U)
            places |= {"x": x.data_ptr(), "U": U.data_ptr(), "b": at(b)}
            layer = _layer(kernel, sizes, weights, room, (h,), 0, **places)._replace(gates=0, c=0)
        else:
            room, (buffers, _lease) = _room(W), _buffers(kernel, W, h, home)
            given, _held = _inputs(x, weights, buffers)
            layer = _layer(kernel, sizes, weights, room, buffers, _stride_of(buffers, W), **given, **places)
        layer.run()
        x = h
    return x, final


def _inputs(x: Rows, weights: Weights, buffers: Parts) -> tuple[dict[str, int], Parts]:
    """How the kernel has U x + b: fields of `Layer`, and tensors they point at."""
    (U, W, b, _), rows = weights, leading(x).numel()
    if x.is_floating_point() and rows <= FEW:  # it finds it
        return {"x": x.data_ptr(), "U": U.data_ptr(), "b": at(b)}, ()
    if x.is_floating_point() or rows < U.shape[1]:  # it lies on the tape
        input_product(x, weights, _parts(buffers, W.shape)[0])
        return {}, ()
    numbers, table = x.long(), torch.empty(U.shape[1], _stride_of(buffers, W))  # it gathers columns of U
    table[:, : len(U)] = U.t() if b is None else U.t() + b
    return {"numbers": numbers.data_ptr(), "table": table.data_ptr()}, (numbers, table)


def backward(
    kernel: Kernel,
    batch_sizes: Sequence[int],
    saved: Saved,
    dh: Float[Tensor, "*rows hidden"],
    d_state: Parts,
    in_place: bool,
    needs: Sequence[bool],
) -> Gradients:
    """All steps back: as `core.tape.backward`."""
    x, U, W, start, buffers = saved
    sizes, dh, start = array("q", batch_sizes), dh.contiguous(), contiguous(start)
    x, U, W = x.contiguous(), U.contiguous(), W.contiguous()
    hidden, stride, gru = W.shape[1], _stride(len(W)), isinstance(kernel, GRUKernel)
    rows, room = dh.numel() // hidden, _room(W)
    block = buffers[0] if in_place and len(buffers) > 1 else torch.empty(rows * (stride + hidden if gru else stride))
    layer = _layer(kernel, sizes, Weights(U, W, None, None), room, buffers, stride, **_starts(start))
    layer = layer._replace(
        asked=needs[-1],
        dout=dh.data_ptr(),
        dh=d_state[0].data_ptr(),
        dc=d_state[-1].data_ptr(),
        dz=block.data_ptr(),
        dq=block.data_ptr() + 4 * rows * stride,
    )
    if (
        x.is_floating_point()
        and rows <= FEW
        and sizes[0] == sizes[-1]
        and not U.shape[1] % LANES
        and not hidden % LANES
    ):
        shapes = x.shape, U.shape, W.shape, W.shape[:1], W.shape[1:]
        made = Gradients(*(torch.empty(shape) if need else None for shape, need in zip(shapes, needs, strict=False)))
        places = {f"d{name}": at(each) for name, each in made._asdict().items()}
        layer._replace(x=x.data_ptr(), U=U.data_ptr(), **places).run(back=True)
        return made
    layer.run(back=True)
    dz, dq = _parts((block, dh), W.shape) if gru else (block.as_strided((rows, len(W)), (stride, 1)), None)
    before = start[0] if start else torch.zeros(sizes[0], hidden)
    return gradients(x, U, before, buffers[-1], dz, dq, batch_sizes, needs)


def at(tensor: Tensor | None) -> int:
    """Where a tensor lies."""
    return 0 if tensor is None else tensor.data_ptr()


def _starts(start: Parts) -> dict[str, int]:
    return {"h_start": start[0].data_ptr(), "c_start": start[-1].data_ptr()} if start else {}


def contiguous(tensors: Iterable[Tensor | None]) -> tuple[Any, ...]:
    """Each with its numbers one after another; None stays."""
    return tuple(each if each is None else each.contiguous() for each in tensors)


def _layer(
    kernel: Kernel, sizes: array, weights: Weights, room: Lease, buffers: Parts, stride: int, **others: int
) -> Layer:
    """What all passes say; who calls holds the tensors."""
    U, W, _, b_W = weights
    hidden, h, gates = W.shape[1], buffers[-1], buffers[0].data_ptr()
    second = gates + 4 * stride * (h.numel() // hidden)
    return Layer(
        *_codes(kernel),
        hidden,
        U.shape[1],
        torch.get_num_threads(),
        stride,
        0,
        len(sizes),
        0,
        sizes.buffer_info()[0],
        *openmp(),
        W.data_ptr(),
        at(b_W),
        room.block.data_ptr(),
        gates,
        second if isinstance(kernel, LSTMKernel) else 0,
        second,
        h.data_ptr(),
        **others,
    )


def _room(*matrices: Tensor) -> Lease:
    """Room for [gates * hidden, depth] laid out anew, and a bias."""
    wide, hidden = matrices[0].shape
    units = (hidden + LANES - 1) // LANES * LANES
    return Lease(wide // hidden * units * (1 + sum(each.shape[1] for each in matrices)))


def _buffers(kernel: Kernel, W: Tensor, h: Tensor, home: Cell) -> tuple[Parts, Lease | None]:
    """What the pass back will read: of the RNN h, of the others a block with gates and c or q, and h.

    The block is on lease: memory that was used before is in reach already. Not so where hooks on saved tensors may
    keep it (`torch.autograd.graph.saved_tensors_hooks`, checkpoints).
    """
    if isinstance(kernel, RNNKernel):
        return (h,), None
    wide, hidden = W.shape
    size = h.numel() // hidden * (_stride(wide) + hidden)
    if autograd._top_saved_tensors_default_hooks(True) is not None:
        return (torch.empty(size), h), None
    lease = Lease(size, home)
    return (lease.block, h), lease


def _parts(buffers: Parts, shape: Sequence[int]) -> tuple[Tensor, Tensor | None]:
    """Preactivations (gates) and c or q, given the shape of W; of a sole h, itself and None."""
    *block, h = buffers
    (wide, hidden), rows = shape, h.numel() // shape[1]
    if not block:
        return h.view(rows, hidden), None
    gates = block[0].as_strided((rows, wide), (_stride(wide), 1))
    return gates, block[0].as_strided((rows, hidden), (hidden, 1), rows * _stride(wide))


@functools.cache
def _codes(kernel: Kernel) -> tuple[int, ...]:
    """kernel.c's cell and its activations gate, candidate, output; () where it lacks one."""
    sigmas = [getattr(kernel, field.name) for field in dataclasses.fields(kernel)]
    if any(sigma not in CODES for sigma in sigmas):
        return ()
    codes = [CODES[sigma] for sigma in sigmas]
    cell = (RNNKernel, LSTMKernel, GRUKernel).index(type(kernel))
    return (cell, *(codes if len(codes) == 3 else (codes[0], codes[-1], 0)))


def _stride_of(buffers: Parts, W: Tensor) -> int:
    return len(W) if len(buffers) == 1 else _stride(len(W))


def _stride(width: int) -> int:
    """From row to row: not a multiple of 4 KiB, as such rows would share cache lines."""
    return (width + 15) // 16 * 16 + 16


@functools.cache
def openmp() -> tuple[int, int]:
    """GNU OpenMP's `GOMP_parallel` and `omp_get_num_threads`: torch's own if any, as two pools would compete."""
    here: Any = ctypes.CDLL(None)
    functions = (getattr(here, name, None) for name in ("GOMP_parallel", "omp_get_num_threads"))
    fork, team = (0 if each is None else ctypes.cast(each, ctypes.c_void_p).value or 0 for each in functions)
    return fork, team
