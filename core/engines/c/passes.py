"""The passes of `core.engines.tape` with the steps of core/engines/c/kernel.c, and one without a way back."""

import functools
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import torch
import torch._C._autograd as autograd
from jaxtyping import Float
from torch import Tensor

from core.cells import Cell
from core.engines.c.binding import LANES, Layer, codes, openmp
from core.engines.c.scratch import Lease, floats, room
from core.engines.products import Gradients, Rows, Weights, gradients, input_product, leading
from core.engines.steps import GRUSteps, LSTMSteps, RNNSteps, Steps, steps_of
from core.engines.tape import Parts, Recorded, Saved, Sizes, Tape, own_state_gradients

FEW = 64  # rows up to which kernel.c forms the products over all steps too; their bits are not those of torch.mm
WITHIN_REACH = (
    2**18
)  # weights up to which a pass without a way back finds U x in each step, where it is used
NOT_BACK = 0, 0, 0, 0, 0  # what `Layer` has between U and dout


class Plan(NamedTuple):
    """What follows from a layer's sizes alone: found once.

    Attributes:
        first: the first fields of `Layer`, up to `threads`.
        kind: the type of the cell's kernel.
        rows: of all steps.
        hidden: how many units.
        wide: preactivations of a row.
        stride: floats from row to row of the preactivations on a tape; the RNN's are h.
        stride_back: floats from row to row of their gradients.
        W_packed: floats of W laid out anew, and of a bias.
        U_packed: floats of U laid out anew.
        few: whether there are few rows, and whole vectors: then the kernel can form all gradients.
    """

    first: tuple[int, ...]
    kind: type
    rows: int
    hidden: int
    wide: int
    stride: int
    stride_back: int
    W_packed: int
    U_packed: int
    few: bool


class CompiledTape(Tape):
    """A tape whose steps are taken by core/engines/c/kernel.c."""

    def recorded(self) -> Recorded:
        """What the steps have left behind."""
        return super().recorded()._replace(buffers=self._block_and_h, lease=self._lease)

    def _allocate(self, cell: Cell) -> tuple[Tensor, Tensor]:
        (U, W, _, b_W), start = contiguous(self._weights), contiguous(self._first)
        plan = _plan(self.kernel, self.firsts[-1], U.shape, W.shape, torch.get_num_threads())
        h, packed = floats(plan.rows, plan.hidden), Lease(plan.W_packed, cell)
        self._block_and_h, self._lease = _buffers(plan, h, cell)
        common = _common(
            plan,
            plan.stride,
            self.batch_sizes,
            W,
            b_W,
            packed.block,
            self._block_and_h,
            _places(start),
        )
        self._layer = Layer(*common)
        self._kept = W, b_W, start, packed  # the layer points at them
        z, *rest = self._block_and_h
        self._buffers = (_preactivations(plan, z), _second(plan, z), h) if rest else (h,)
        return self._buffers[0], h

    def _advance(self, steps: int) -> None:
        self._layer._replace(begin=self.taken, until=self.taken + steps).run()


def forward(cell: Cell, batch_sizes: Sizes, x: Rows, weights: Weights, start: Parts) -> Recorded:
    """All steps over known inputs: as `core.engines.tape.forward`; no `start` stands for zeros."""
    x, start, (U, W, b, b_W) = x.contiguous(), contiguous(start), contiguous(weights)
    shape = leading(x)
    plan = _plan(steps_of(cell), shape.numel(), U.shape, W.shape, torch.get_num_threads())
    h, packed = floats(*shape, plan.hidden), room(plan.W_packed)
    buffers, lease = _buffers(plan, h, cell)
    inputs, _held = _inputs(plan, x, U, b, buffers)
    final = _ends(
        steps_of(cell), (1, batch_sizes[0], plan.hidden), tuple([part[None] for part in start])
    )
    common = _common(plan, plan.stride, batch_sizes, W, b_W, packed, buffers, _places(start))
    fields = *common, *inputs, *_places(final)
    Layer(*fields).run()
    return Recorded(buffers, final, lease)


def infer(
    kernel: Any, stack: Sequence[Weights], batch_sizes: Sizes, x: Rows, start: Parts, home: Cell
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
    shape, batch, hidden, start = leading(x), batch_sizes[0], stack[0].W.shape[1], contiguous(start)
    final = _ends(kernel, (len(stack), batch, hidden), start)
    for i, weights in enumerate(stack):
        x, (U, W, b, b_W) = x.contiguous(), contiguous(weights)
        plan = _plan(kernel, shape.numel(), U.shape, W.shape, torch.get_num_threads())
        h, before = floats(*shape, hidden), i * batch * hidden
        bare = x.is_floating_point() and batch > 1 and U.numel() + W.numel() <= WITHIN_REACH
        packed = room(plan.W_packed + plan.U_packed if bare else plan.W_packed)
        buffers, _lease = ((h,), None) if bare else _buffers(plan, h, home)
        inputs, _held = (_given(x, U, b), ()) if bare else _inputs(plan, x, U, b, buffers)
        common = _common(
            plan, plan.stride, batch_sizes, W, b_W, packed, buffers, _places(start, before)
        )
        fields = *common, *inputs, *_places(final, before)
        (Layer(*fields)._replace(gates=0, c=0) if bare else Layer(*fields)).run()
        x = h
    return x, final


def backward(
    kernel: Steps,
    batch_sizes: Sizes,
    saved: Saved,
    dh: Float[Tensor, "*rows hidden"],
    d_final: Sequence[Tensor | None],
    in_place: bool,
    needs: Sequence[bool],
) -> tuple[Gradients, Parts]:
    """All steps back: as `core.engines.tape.backward`."""
    x, U, W, start, buffers = saved
    x, U, W, *buffers = contiguous((x, U, W, *buffers))  # hooks may have given back others
    dh, start = dh.contiguous().resolve_neg(), contiguous(start)
    plan = _plan(kernel, leading(dh).numel(), U.shape, W.shape, torch.get_num_threads())
    state, stride = batch_sizes[0] * plan.hidden, plan.stride_back
    fresh = not needs[-1] and all(each is None for each in d_final)
    packed = room(plan.W_packed + (2 * state if fresh else 0))
    if fresh:  # the kernel writes zeros
        d_state, spare = (), packed.data_ptr() + 4 * plan.W_packed
        d_places = spare, spare + 4 * state
    else:
        d_state = own_state_gradients(
            d_final, start[0] if start else dh.new_empty(batch_sizes[0], plan.hidden)
        )
        d_places = _places(d_state)
    gru = plan.kind is GRUSteps
    size = plan.rows * (stride + plan.hidden if gru else stride)
    block = buffers[0] if in_place and len(buffers) > 1 else floats(size)
    few = plan.few and x.is_floating_point() and batch_sizes[0] == batch_sizes[-1]
    shapes = x.shape, U.shape, W.shape, W.shape[:1], W.shape[1:]
    made = [
        floats(*shape) if few and need else None for shape, need in zip(shapes, needs, strict=False)
    ]
    common, dz_at = (
        _common(plan, stride, batch_sizes, W, None, packed, buffers, _places(start)),
        block.data_ptr(),
    )
    back = (
        dh.data_ptr(),
        *d_places,
        dz_at,
        dz_at + 4 * plan.rows * stride,
        *map(at, made),
        needs[-1],
        fresh,
    )
    fields = *common, x.data_ptr(), U.data_ptr(), *NOT_BACK, *back
    Layer(*fields).run(back=True)
    if few:
        return Gradients(*made), d_state
    dz, dq = _preactivations(plan, block), _second(plan, block) if gru else None
    before = start[0] if start else dh.new_zeros(batch_sizes[0], plan.hidden)
    return gradients(x, U, before, buffers[-1], dz, dq, batch_sizes, needs), d_state


def at(tensor: Tensor | None) -> int:
    """Where a tensor lies."""
    return 0 if tensor is None else tensor.data_ptr()


def contiguous(tensors: Iterable[Tensor | None]) -> tuple[Any, ...]:
    """Each with its numbers one after another; None stays."""
    return tuple([each if each is None else each.contiguous() for each in tensors])


@functools.lru_cache(maxsize=4096)
def _plan_of(
    coded: tuple[int, ...], kind: type, rows: int, U: torch.Size, W: torch.Size, threads: int
) -> Plan:
    """The plan of so many rows with weights of these shapes."""
    (wide, hidden), width, rnn = W, U[1], kind is RNNSteps
    units = wide // hidden * ((hidden + LANES - 1) // LANES * LANES)
    stride = (
        wide + 15
    ) // 16 * 16 + 16  # seldom a multiple of 4 KiB: such rows would share cache sets
    few = rows <= FEW and hidden % LANES == 0 and width % LANES == 0
    first = *coded, *openmp(), hidden, width, threads
    sizes = (
        rows,
        hidden,
        wide,
        hidden if rnn else stride,
        stride,
        units * (hidden + 1),
        units * width,
    )
    return Plan(first, kind, *sizes, few)


def _plan(kernel: Any, *work: Any) -> Plan:
    return _plan_of(codes(kernel), type(kernel), *work)


def _common(
    plan: Plan,
    stride: int,
    batch_sizes: Sizes,
    W: Tensor,
    b_W: Tensor | None,
    packed: Tensor,
    buffers: Sequence[Tensor],
    start: tuple[int, int],
) -> tuple[int, ...]:
    """The fields of `Layer` up to the first state. Who calls holds the tensors."""
    (place, steps), gates = batch_sizes.buffer_info(), buffers[0].data_ptr()
    second = gates + 4 * plan.rows * stride
    return (
        *plan.first,
        *(stride, 0, steps, place),
        *(W.data_ptr(), at(b_W), packed.data_ptr()),
        *(gates, second if plan.kind is LSTMSteps else 0, second, buffers[-1].data_ptr()),
        *start,
    )


def _places(state: Sequence[Tensor], skipped: int = 0) -> tuple[int, int]:
    """Where h and c of a state lie, so many floats further on; of others than the LSTM h, twice."""
    return (
        (state[0].data_ptr() + 4 * skipped, state[-1].data_ptr() + 4 * skipped) if state else (0, 0)
    )


def _ends(kernel: Any, shape: tuple[int, int, int], start: Sequence[Tensor]) -> Parts:
    """Where the final state [layers, batch, hidden] goes; of sequences without a step it is the first."""
    if start and start[0].shape != shape:
        return tuple(part.clone() for part in start)
    return (floats(*shape), floats(*shape)) if isinstance(kernel, LSTMSteps) else (floats(*shape),)


def _inputs(
    plan: Plan, x: Rows, U: Tensor, b: Tensor | None, buffers: Sequence[Tensor]
) -> tuple[tuple[int, ...], Sequence[Tensor]]:
    """How the kernel has U x + b of a pass that is recorded: fields of `Layer`, and tensors they point at."""
    if x.is_floating_point() and plan.rows <= FEW:
        return _given(x, U, b), ()
    if x.is_floating_point() or plan.rows < U.shape[1]:  # it lies on the tape
        z = (
            buffers[0].view(plan.rows, -1)
            if plan.kind is RNNSteps
            else _preactivations(plan, buffers[0])
        )
        input_product(x, U, b, z)
        return (0, 0, 0, 0, 0), ()
    numbers, table = (
        x.long(),
        floats(U.shape[1], plan.stride),
    )  # it gathers columns of U where it needs them
    table[:, : U.shape[0]] = U.t() if b is None else U.t() + b
    return (0, 0, 0, numbers.data_ptr(), table.data_ptr()), (numbers, table)


def _given(x: Rows, U: Tensor, b: Tensor | None) -> tuple[int, ...]:
    """These fields where the kernel is to find U x + b itself."""
    return x.data_ptr(), U.data_ptr(), at(b), 0, 0


def _buffers(plan: Plan, h: Tensor, home: Cell) -> tuple[Parts, Lease | None]:
    """What the pass back will read: of the RNN h, of the others a block with gates and c or q, and h.

    The block is on lease, but where hooks on saved tensors may keep it (`torch.autograd.graph.saved_tensors_hooks`,
    checkpoints).
    """
    if plan.kind is RNNSteps:
        return (h,), None
    size = plan.rows * (plan.stride + plan.hidden)
    if autograd._top_saved_tensors_default_hooks(True) is not None:
        return (floats(size), h), None
    lease = Lease(size, home)
    return (lease.block, h), lease


def _preactivations(plan: Plan, block: Tensor) -> Float[Tensor, "rows gates_hidden"]:
    """Of a block with the stride of the way back: the preactivations, or their gradients."""
    return block.as_strided((plan.rows, plan.wide), (plan.stride_back, 1))


def _second(plan: Plan, block: Tensor) -> Float[Tensor, "rows hidden"]:
    """What comes after them: c, q or dq."""
    return block.as_strided(
        (plan.rows, plan.hidden), (plan.hidden, 1), plan.rows * plan.stride_back
    )
