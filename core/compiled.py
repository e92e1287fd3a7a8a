"""The passes of `core.tape` with the steps of core/kernel.c, and one without a way back."""

import functools
from array import array
from collections.abc import Iterable, Sequence
from typing import Any

import torch
import torch._C._autograd as autograd
from jaxtyping import Float
from torch import Tensor

from core.cells import Cell
from core.kernel import LANES, Layer, codes, openmp
from core.lease import Lease, floats
from core.products import Gradients, Rows, Weights, gradients, input_product, leading
from core.sequence_kernels import GRUKernel, Kernel, LSTMKernel, RNNKernel
from core.tape import Parts, Recorded, Saved, Tape, own_state_gradients

FEW = 64  # rows up to which kernel.c forms the products over all steps too; their bits are not those of torch.mm
WITHIN_REACH = 2**18  # weights up to which a pass without a way back finds U x in each step, where it is used


class CompiledTape(Tape):
    """A tape whose steps are taken by core/kernel.c."""

    def recorded(self) -> Recorded:
        """What the steps have left behind."""
        return super().recorded()._replace(buffers=self._block_and_h, lease=self._lease)

    def _allocate(self, cell: Cell) -> tuple[Tensor, Tensor]:
        weights, start = Weights(*contiguous(self._weights)), contiguous(self._first)
        h, sizes = floats(self.firsts[-1], cell.hidden_size), array("q", self.batch_sizes)
        self._block_and_h, self._lease = _buffers(self.kernel, weights.W, h, cell)
        z, second = _parts(self._block_and_h, weights.W.shape)
        room = _room(weights.W)
        work, places = _work(self.kernel, sizes, cell.hidden_size), _places(weights, room, self._block_and_h)
        self._layer = Layer(**work, **places, **_starts(start))
        self._kept = sizes, weights, start, room  # the layer points at them
        self._buffers = (z,) if second is None else (z, second, h)
        return z, h

    def _advance(self, steps: int) -> None:
        self._layer._replace(begin=self.taken, until=self.taken + steps).run()


def forward(cell: Cell, batch_sizes: Sequence[int], x: Rows, weights: Weights, start: Parts) -> Recorded:
    """All steps over known inputs: as `core.tape.forward`; no `start` stands for zeros."""
    kernel, sizes, x, start = cell.kernel, array("q", batch_sizes), x.contiguous(), contiguous(start)
    weights = Weights(*contiguous(weights))
    h, room = floats(*leading(x), cell.hidden_size), _room(weights.W)
    buffers, lease = _buffers(kernel, weights.W, h, cell)
    given, _held = _inputs(x, weights, buffers)
    final = _ends(kernel, (1, sizes[0], cell.hidden_size), tuple(part[None] for part in start))
    ends = {"h_end": final[0].data_ptr(), "c_end": final[-1].data_ptr()}
    work, places = _work(kernel, sizes, cell.hidden_size), _places(weights, room, buffers)
    Layer(**work, **places, **given, **_starts(start), **ends).run()
    return Recorded(buffers, final, lease)


def infer(
    kernel: Kernel, stack: Sequence[Weights], batch_sizes: Sequence[int], x: Rows, start: Parts, home: Cell
) -> tuple[Float[Tensor, "*rows hidden"], Parts]:
    """Layers one above the other, without a way back: the outputs of the last, and the final state of all.

    Args:
        kernel: the steps of all.
        stack: the weights of each.
        batch_sizes: rows of each step, falling.
        x: the inputs of the lowest.
        start: the first state, parts [layers, batch, hidden]; none for zeros.
        home: where memory is kept.
    """
    sizes, hidden, start = array("q", batch_sizes), stack[0].W.shape[1], contiguous(start)
    final, work = _ends(kernel, (len(stack), sizes[0], hidden), start), _work(kernel, sizes, hidden)
    states = {"h_end": final[0].data_ptr(), "c_end": final[-1].data_ptr(), **_starts(start)}
    for each in stack:
        U, W, b, _ = weights = Weights(*contiguous(each))
        x, h = x.contiguous(), floats(*leading(x), hidden)
        if x.is_floating_point() and sizes[0] > 1 and U.numel() + W.numel() <= WITHIN_REACH:
            room, buffers = _room(W, U), (h,)
            given = {"gates": 0, "c": 0, "x": x.data_ptr(), "U": U.data_ptr(), "b": at(b)}
        else:
            room, (buffers, _lease) = _room(W), _buffers(kernel, W, h, home)
            given, _held = _inputs(x, weights, buffers)
        Layer(**work, **(_places(weights, room, buffers) | given), **states).run()
        x, states = h, {name: place + 4 * final[0][0].numel() for name, place in states.items()}
    return x, final


def backward(
    kernel: Kernel,
    batch_sizes: Sequence[int],
    saved: Saved,
    dh: Float[Tensor, "*rows hidden"],
    d_final: Sequence[Tensor | None],
    in_place: bool,
    needs: Sequence[bool],
) -> tuple[Gradients, Parts]:
    """All steps back: as `core.tape.backward`."""
    x, U, W, start, buffers = saved
    sizes, dh, start = array("q", batch_sizes), dh.contiguous().resolve_neg(), contiguous(start)
    buffers = contiguous(buffers)  # hooks may have given back others
    x, U, W = x.contiguous(), U.contiguous(), W.contiguous()
    (wide, hidden), stride, gru = W.shape, _stride(W.shape[0]), isinstance(kernel, GRUKernel)
    rows, state, h = dh.numel() // hidden, sizes[0] * hidden, buffers[-1]
    block = buffers[0] if in_place and len(buffers) > 1 else floats(rows * (stride + hidden if gru else stride))
    fresh = not needs[-1] and all(each is None for each in d_final)  # then the kernel writes zeros in spare room
    room, d_state = _room(W, extra=2 * state if fresh else 0), ()
    dh_place = dc_place = room.block.data_ptr() + 4 * (room.block.numel() - state)
    if fresh:
        dc_place -= 4 * state
    else:
        d_state = own_state_gradients(d_final, start[0] if start else dh.new_empty(sizes[0], hidden))
        dh_place, dc_place = d_state[0].data_ptr(), d_state[-1].data_ptr()
    work, places = _work(kernel, sizes, hidden), _places(Weights(U, W, None, None), room, buffers)
    places |= {
        "asked": needs[-1],
        "fresh": fresh,
        "stride": stride,
        "dout": dh.data_ptr(),
        "dh": dh_place,
        "dc": dc_place,
        "dz": block.data_ptr(),
        "dq": block.data_ptr() + 4 * rows * stride,
    }
    if rows <= FEW and sizes[0] == sizes[-1] and _whole_vectors(x, U.shape[1], hidden):
        shapes = x.shape, U.shape, W.shape, W.shape[:1], W.shape[1:]
        made = Gradients(*(floats(*shape) if need else None for shape, need in zip(shapes, needs, strict=False)))
        dx, dU, dW, db, db_W = map(at, made)
        places |= {"x": x.data_ptr(), "U": U.data_ptr(), "dx": dx, "dU": dU, "dW": dW, "db": db, "db_W": db_W}
        Layer(**work, **places, **_starts(start)).run(back=True)
        return made, d_state
    Layer(**work, **places, **_starts(start)).run(back=True)
    dz = block.as_strided((rows, wide), (stride, 1))
    dq = block.as_strided((rows, hidden), (hidden, 1), rows * stride) if gru else None
    before = start[0] if start else dh.new_zeros(sizes[0], hidden)
    return gradients(x, U, before, h, dz, dq, batch_sizes, needs), d_state


def at(tensor: Tensor | None) -> int:
    """Where a tensor lies."""
    return 0 if tensor is None else tensor.data_ptr()


def contiguous(tensors: Iterable[Tensor | None]) -> tuple[Any, ...]:
    """Each with its numbers one after another; None stays."""
    return tuple(each if each is None else each.contiguous() for each in tensors)


def _work(kernel: Kernel, sizes: array, hidden: int) -> dict[str, int]:
    """The cell, and the steps to take."""
    threads, (place, steps) = torch.get_num_threads(), sizes.buffer_info()
    return {**_same_for_all(kernel), "hidden": hidden, "threads": threads, "sizes": place, "until": steps}


@functools.cache
def _same_for_all(kernel: Kernel) -> dict[str, int]:
    names = "cell", "gate", "candidate", "output", "fork", "team", "number"
    return dict(zip(names, (*codes(kernel), *openmp()), strict=True))


def _places(weights: Weights, room: Lease, buffers: Parts) -> dict[str, int]:
    """Where weights and tape lie; who calls holds them."""
    (wide, hidden), h, gates = weights.W.shape, buffers[-1], buffers[0].data_ptr()
    stride = _stride_on(buffers, wide)
    second = gates + 4 * stride * (h.numel() // hidden)
    return {
        "input": weights.U.shape[1],
        "stride": stride,
        "W": weights.W.data_ptr(),
        "b_W": at(weights.b_W),
        "packed": room.block.data_ptr(),
        "gates": gates,
        "c": second if wide == 4 * hidden else 0,
        "q": second,
        "h": h.data_ptr(),
    }


def _starts(start: Parts) -> dict[str, int]:
    return {"h_start": start[0].data_ptr(), "c_start": start[-1].data_ptr()} if start else {}


def _ends(kernel: Kernel, shape: tuple[int, int, int], start: Parts) -> Parts:
    """Where the final state [layers, batch, hidden] goes; of sequences without a step it is the first."""
    if start and start[0].shape != shape:
        return tuple(part.clone() for part in start)
    return tuple(floats(*shape) for _ in range(1 + isinstance(kernel, LSTMKernel)))


def _inputs(x: Rows, weights: Weights, buffers: Parts) -> tuple[dict[str, int], Parts]:
    """How the kernel has U x + b of a pass that is recorded: fields of `Layer`, and tensors they point at."""
    (U, W, b, _), rows = weights, leading(x).numel()
    if x.is_floating_point() and rows <= FEW:  # it finds it
        return {"x": x.data_ptr(), "U": U.data_ptr(), "b": at(b)}, ()
    if x.is_floating_point() or rows < U.shape[1]:  # it lies on the tape
        input_product(x, weights, _parts(buffers, W.shape)[0])
        return {}, ()
    numbers, table = (
        x.long(),
        floats(U.shape[1], _stride_on(buffers, W.shape[0])),
    )  # it gathers columns of U where it needs them
    table[:, : len(U)] = U.t() if b is None else U.t() + b
    return {"numbers": numbers.data_ptr(), "table": table.data_ptr()}, (numbers, table)


def _whole_vectors(x: Rows, *sizes: int) -> bool:
    return x.is_floating_point() and not any(size % LANES for size in sizes)


def _room(*matrices: Tensor, extra: int = 0) -> Lease:
    """Room for [gates * hidden, depth] laid out anew, a bias, and more."""
    wide, hidden = matrices[0].shape
    units = (hidden + LANES - 1) // LANES * LANES
    return Lease(wide // hidden * units * (1 + sum(each.shape[1] for each in matrices)) + extra)


def _buffers(kernel: Kernel, W: Tensor, h: Tensor, home: Cell) -> tuple[Parts, Lease | None]:
    """What the pass back will read: of the RNN h, of the others a block with gates and c or q, and h.

    The block is on lease, but where hooks on saved tensors may keep it (`torch.autograd.graph.saved_tensors_hooks`,
    checkpoints).
    """
    if isinstance(kernel, RNNKernel):
        return (h,), None
    wide, hidden = W.shape
    size = h.numel() // hidden * (_stride(wide) + hidden)
    if autograd._top_saved_tensors_default_hooks(True) is not None:
        return (floats(size), h), None
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


def _stride_on(buffers: Parts, wide: int) -> int:
    """From row to row of the preactivations on a tape; of a sole h, that of h."""
    return buffers[0].shape[-1] if len(buffers) == 1 else _stride(wide)


def _stride(width: int) -> int:
    """From row to row: not a multiple of 4 KiB, as such rows would share cache lines."""
    return (width + 15) // 16 * 16 + 16
