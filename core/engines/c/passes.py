"""The passes of `core.engines.tape` with the steps of kernel.c, and a forward pass for inference.

The arithmetic is in kernel.c and its headers; which memory it is given is in `core.engines.c.plan`.
Every tensor whose address goes to C is contiguous and held by a local variable until the call
returns.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from core.base_cell import State
from core.engines.c import plan as plans
from core.engines.c.binding import GRU, NO_INPUTS, Layer, address
from core.engines.c.plan import Plan, contiguous, plan_of
from core.engines.c.scratch import ScratchBuffer, floats, thread_scratch
from core.engines.products import Gradients, Rows, gradients, holds, leading
from core.engines.steps import FastCell, Steps
from core.engines.tape import BatchSizes, Recorded, Saved, Tape, own_state_gradients

NEAR_WEIGHTS = 2**18  # up to which inference finds U x step by step, as U stays in cache


class CompiledTape(Tape):
    """A tape whose steps are taken by kernel.c."""

    def recorded(self) -> Recorded:
        """What the steps have left behind."""
        recorded = super().recorded()
        return recorded._replace(buffers=self._block_and_h, scratch=self._scratch)

    def _allocate(self) -> tuple[Tensor, Tensor]:
        U, W, _, b_W = contiguous(self._weights)
        start = contiguous(self._first)
        plan = plan_of(self.steps, self.firsts[-1], U, W)
        h = floats(plan.rows, plan.hidden)
        packed = ScratchBuffer(plan.W_packed, self.cell)
        self._block_and_h, self._scratch = plans.tape_buffers(plan, h, self.cell)
        common = plans.common_fields(
            plan,
            plan.stride,
            self.batch_sizes,
            (W, b_W, packed.block),
            self._block_and_h,
            plans.state_addresses(start),
        )
        self._layer = Layer(*common)
        self._kept = W, b_W, start, packed  # the layer holds their addresses
        self._buffers = (h,)
        if len(self._block_and_h) > 1:  # gates, and c or q
            block = self._block_and_h[0]
            self._buffers = (plans.gate_rows(plan, block), plans.rows_after_gates(plan, block), h)
        return self._buffers[0], h

    def _advance(self, steps: int) -> None:
        address(self._kept[0])  # W must not have been freed since
        self._layer._replace(begin=self.taken, end=self.taken + steps).forward()


def forward(fast: FastCell, batch_sizes: BatchSizes, x: Rows, start: State) -> Recorded:
    """Take all steps, as `core.engines.tape.forward`; an empty `start` stands for zeros."""
    x = x.contiguous()
    start = contiguous(start)
    U, W, b, b_W = contiguous(fast.weights)
    shape = leading(x)
    plan = plan_of(fast.steps, shape.numel(), U, W)
    h = floats(*shape, plan.hidden)
    packed = thread_scratch(plan.W_packed)
    buffers, scratch = plans.tape_buffers(plan, h, fast.cell)
    inputs, _held = plans.input_fields(plan, x, U, b, buffers)
    final = plans.final_state(
        plan, (1, batch_sizes[0], plan.hidden), tuple([part[None] for part in start])
    )
    common = plans.common_fields(
        plan, plan.stride, batch_sizes, (W, b_W, packed), buffers, plans.state_addresses(start)
    )
    fields: tuple[int, ...] = (*common, *inputs, *plans.state_addresses(final))
    Layer(*fields).forward()
    return Recorded(buffers, final, scratch)


def infer(
    cells: Sequence[FastCell], batch_sizes: BatchSizes, x: Rows, start: State
) -> tuple[Float[Tensor, "*rows hidden"], State]:
    """Run layers of equal sizes and states, one above the other, without a backward pass.

    Args:
        cells: of each layer, the lowest first.
        batch_sizes: rows of each step, falling.
        x: the inputs of the lowest.
        start: the first state, parts [layers, batch, hidden]; empty for zeros.

    Returns:
        The outputs of the last layer, and the final state of all.
    """
    shape = leading(x)
    batch = batch_sizes[0]
    start = contiguous(start)
    final: State = ()
    for i, fast in enumerate(cells):
        x = x.contiguous()
        U, W, b, b_W = contiguous(fast.weights)
        plan = plan_of(fast.steps, shape.numel(), U, W)
        final = final or plans.final_state(plan, (len(cells), batch, plan.hidden), start)
        h = floats(*shape, plan.hidden)
        layer = i * batch * plan.hidden  # where its state begins
        near = U.numel() + W.numel() <= NEAR_WEIGHTS
        without_tape = x.is_floating_point() and batch > 1 and near
        if without_tape:
            packed = thread_scratch(plan.W_packed + plan.U_packed)
            buffers, _scratch = (h,), None
            inputs, _held = plans.given_fields(x, U, b), ()
        else:
            packed = thread_scratch(plan.W_packed)
            buffers, _scratch = plans.tape_buffers(plan, h, fast.cell)
            inputs, _held = plans.input_fields(plan, x, U, b, buffers)
        common = plans.common_fields(
            plan,
            plan.stride,
            batch_sizes,
            (W, b_W, packed),
            buffers,
            plans.state_addresses(start, layer),
        )
        fields: tuple[int, ...] = (*common, *inputs, *plans.state_addresses(final, layer))
        made = Layer(*fields)
        if without_tape:
            made = made._replace(gates=0, c=0)
        made.forward()
        x = h
    return x, final


def backward(
    steps: Steps,
    batch_sizes: BatchSizes,
    saved: Saved,
    dh: Float[Tensor, "*rows hidden"],
    d_final: Sequence[Tensor | None],
    in_place: bool,
    needs: Sequence[bool],
) -> tuple[Gradients, State]:
    """Take all steps backward, as `core.engines.tape.backward`."""
    x, U, W, start, buffers = saved
    x, U, W, *buffers = contiguous((x, U, W, *buffers))  # hooks may have returned others
    dh = dh.contiguous().resolve_neg()
    start = contiguous(start)
    plan = plan_of(steps, leading(dh).numel(), U, W)
    _require_saved(plan, x, batch_sizes[0], start, buffers)
    state_size = batch_sizes[0] * plan.hidden
    zero_d_end = not needs[-1] and all(part is None for part in d_final)
    if zero_d_end:  # the kernel writes the zeros
        packed = thread_scratch(plan.W_packed + 2 * state_size)
        d_state: State = ()
        spare = packed.data_ptr() + 4 * plan.W_packed
        d_places = (spare, spare + 4 * state_size)
    else:
        packed = thread_scratch(plan.W_packed)
        like = start[0] if start else dh.new_empty(batch_sizes[0], plan.hidden)
        d_state = own_state_gradients(d_final, like)
        d_places = plans.state_addresses(d_state)
    stride = plan.backward_stride
    row = stride
    if plan.cell == GRU:
        row += plan.hidden
    if in_place and len(buffers) > 1:
        block = buffers[0]
    else:
        block = floats(plan.rows * row)
    dz = block.data_ptr()
    dq = dz + 4 * plan.rows * stride
    in_kernel = plan.small and x.is_floating_point() and batch_sizes[0] == batch_sizes[-1]
    shapes = (x.shape, U.shape, W.shape, W.shape[:1], W.shape[1:])
    made: list[Tensor | None] = [None] * len(shapes)
    if in_kernel:
        for i, shape in enumerate(shapes):
            if needs[i]:
                made[i] = floats(*shape)
    common = plans.common_fields(
        plan, stride, batch_sizes, (W, None, packed), buffers, plans.state_addresses(start)
    )
    d_weights = [address(gradient) for gradient in made]
    inputs = (address(x), address(U), *NO_INPUTS)
    flags = (needs[-1], zero_d_end)
    fields: tuple[int, ...] = (
        *(*common, *inputs, address(dh), *d_places, dz, dq, *d_weights, *flags),
    )
    Layer(*fields).backward()
    if in_kernel:
        return Gradients(*made), d_state
    before = start[0] if start else None
    dz_rows = plans.gate_rows(plan, block)
    dq_rows = None
    if plan.cell == GRU:
        dq_rows = plans.rows_after_gates(plan, block)
    h = buffers[-1]
    return gradients(x, U, before, h, dz_rows, dq_rows, batch_sizes, needs), d_state


def _require_saved(
    plan: Plan, x: Tensor, batch: int, start: State, buffers: Sequence[Tensor]
) -> None:
    """RuntimeError unless the saved tensors, which hooks may replace, are as they were."""
    sizes = [plan.rows * plan.hidden]
    if len(buffers) > 1:
        sizes.insert(0, plan.rows * (plan.stride + plan.hidden))
    fits = holds(x, plan.rows, plan.input)
    for part in start:
        fits = fits and part.shape[0] >= batch and part.shape[1:] == (plan.hidden,)
    for buffer, size in zip(buffers, sizes, strict=True):
        fits = fits and buffer.numel() >= size
        address(buffer)  # RuntimeError if its memory was freed
    floats_at_hand = all(
        tensor.dtype is torch.float32 and tensor.is_cpu for tensor in (*start, *buffers)
    )
    if not (fits and floats_at_hand):
        raise RuntimeError(
            "hooks on saved tensors have returned other tensors than they were given"
        )
