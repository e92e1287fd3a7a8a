"""The sizes and addresses that a layer in C is given (`core.engines.c.binding.Layer`).

Functions that return addresses leave it to the caller to hold the tensors.
"""

import functools
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import torch
import torch._C._autograd as autograd
from jaxtyping import Float
from torch import Tensor

from core.base_cell import Cell, State
from core.engines.c.binding import (
    GATES,
    LANES,
    LSTM,
    RNN,
    Code,
    address,
    code_of,
    openmp,
)
from core.engines.c.scratch import ScratchBuffer, floats
from core.engines.products import Rows, input_product
from core.engines.steps import Buffers, Steps

FEW_ROWS = (
    64  # up to which kernel.c forms the products over all steps; their bits differ from torch.mm's
)


class Plan(NamedTuple):
    """What follows from the sizes of a layer alone; cached.

    Attributes:
        first: the first fields of `Layer`, up to `threads`.
        cell: the cell's number in kernel.c.
        rows: of all steps.
        input: M.
        hidden: H.
        wide: preactivations of a row.
        stride: floats from row to row of the preactivations on the tape; the RNN's are h.
        backward_stride: floats from row to row of their gradients.
        W_packed: floats of W packed, and of a bias.
        U_packed: floats of U packed.
        small: whether there are few rows and whole vectors: then the kernel forms all gradients.
    """

    first: tuple[int, ...]
    cell: int
    rows: int
    input: int
    hidden: int
    wide: int
    stride: int
    backward_stride: int
    W_packed: int
    U_packed: int
    small: bool


def plan_of(steps: Steps, rows: int, U: Tensor, W: Tensor) -> Plan:
    """The plan of so many rows with these weights; RuntimeError if they do not fit the cell."""
    code = code_of(steps)
    assert code is not None
    return _plan(code, rows, U.shape, W.shape, torch.get_num_threads())


@functools.lru_cache(maxsize=4096)
def _plan(code: Code, rows: int, U: torch.Size, W: torch.Size, threads: int) -> Plan:
    cell = code[0]
    wide, hidden = W
    width = U[1]
    if wide != GATES[cell] * hidden or U[0] != wide:
        raise RuntimeError(f"U {list(U)} and W {list(W)} are not the weights of one cell")
    units = GATES[cell] * -(-hidden // LANES) * LANES
    stride = -(-wide // 16) * 16 + 16  # rarely a multiple of 4 KiB: such rows share cache sets
    return Plan(
        first=(*code, *openmp(), hidden, width, threads),
        cell=cell,
        rows=rows,
        input=width,
        hidden=hidden,
        wide=wide,
        stride=hidden if cell == RNN else stride,
        backward_stride=stride,
        W_packed=units * (hidden + 1),
        U_packed=units * width,
        small=rows <= FEW_ROWS and hidden % LANES == 0 and width % LANES == 0,
    )


def contiguous(tensors: Iterable[Tensor | None]) -> tuple[Any, ...]:
    """Each tensor with its numbers one after another; None stays."""
    return tuple([None if tensor is None else tensor.contiguous() for tensor in tensors])


def common_fields(
    plan: Plan,
    stride: int,
    batch_sizes: Any,
    weights: tuple[Tensor, Tensor | None, Tensor],
    buffers: Sequence[Tensor],
    start: tuple[int, int],
) -> tuple[int, ...]:
    """The fields of `Layer` up to the first state; `weights` are W, b_W and a block to pack in."""
    sizes, steps = batch_sizes.buffer_info()
    W, b_W, packed = weights
    gates = buffers[0].data_ptr()
    after_gates = gates + 4 * plan.rows * stride
    c = after_gates if plan.cell == LSTM else 0
    return (
        *plan.first,
        *(stride, 0, steps, sizes),
        *(address(W), address(b_W), packed.data_ptr()),
        *(gates, c, after_gates, buffers[-1].data_ptr()),
        *start,
    )


def state_addresses(state: Sequence[Tensor], skipped: int = 0) -> tuple[int, int]:
    """The addresses of h and c (without c: of h, twice), `skipped` floats further on; or 0."""
    if not state:
        return 0, 0
    return address(state[0]) + 4 * skipped, address(state[-1]) + 4 * skipped


def final_state(plan: Plan, shape: tuple[int, int, int], start: Sequence[Tensor]) -> State:
    """Where the final state [layers, batch, hidden] goes; without a step it is the first."""
    if start and start[0].shape != shape:
        return tuple(part.clone() for part in start)
    return tuple(floats(*shape) for _ in range(2 if plan.cell == LSTM else 1))


def input_fields(
    plan: Plan, x: Rows, U: Tensor, b: Tensor | None, buffers: Sequence[Tensor]
) -> tuple[tuple[int, ...], Sequence[Tensor]]:
    """How the kernel gets U x + b with a tape: fields of `Layer`, and tensors made for them."""
    if x.is_floating_point() and plan.rows <= FEW_ROWS:
        return given_fields(x, U, b), ()
    if x.is_floating_point() or plan.rows < plan.input:  # one product, written to the tape
        if plan.cell == RNN:
            z = buffers[0].view(plan.rows, -1)
        else:
            z = gate_rows(plan, buffers[0])
        input_product(x, U, None, z)  # that the kernel adds b saves filling z with it first
        return (0, 0, address(b), 0, 0), ()
    table_rows = x.long()  # the kernel gathers columns of U where it needs them
    table = floats(plan.input, plan.stride)
    table[:, : plan.wide] = U.t()
    if b is not None:
        table[:, : plan.wide] += b
    return (0, 0, 0, table_rows.data_ptr(), table.data_ptr()), (table_rows, table)


def given_fields(x: Rows, U: Tensor, b: Tensor | None) -> tuple[int, ...]:
    """These fields where the kernel is to find U x + b itself."""
    return address(x), address(U), address(b), 0, 0


def tape_buffers(plan: Plan, h: Tensor, cell: Cell) -> tuple[Buffers, ScratchBuffer | None]:
    """What the backward pass will read: a block with gates and c or q, and h; RNN: h alone.

    The block is a scratch buffer, unless hooks on saved tensors may keep it (checkpoints, for
    example).
    """
    if plan.cell == RNN:
        return (h,), None
    size = plan.rows * (plan.stride + plan.hidden)
    if autograd._top_saved_tensors_default_hooks(True) is not None:
        return (floats(size), h), None
    scratch = ScratchBuffer(size, cell)
    return (scratch.block, h), scratch


def gate_rows(plan: Plan, block: Tensor) -> Float[Tensor, "rows gates_hidden"]:
    """The preactivations in a block, or their gradients."""
    return block.as_strided((plan.rows, plan.wide), (plan.backward_stride, 1))


def rows_after_gates(plan: Plan, block: Tensor) -> Float[Tensor, "rows hidden"]:
    """What follows them in the block: c, q or dq."""
    start = plan.rows * plan.backward_stride
    return block.as_strided((plan.rows, plan.hidden), (plan.hidden, 1), start)
