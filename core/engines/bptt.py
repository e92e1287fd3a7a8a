"""Backpropagation through time, derived by hand.

The error E of a sequence depends on h_t directly, through the output y_t, and through h_{t+1}. Write dv for
dE/dv (a row vector), z_t for the preactivation of step t, and * for the component-wise product.

RNN (slides 20-26).  z_t = U x_t + W h_{t-1} (+ b),  h_t = sigma(z_t)

    dh_t = [direct, from y_t] + dz_{t+1} W
    dz_t = dh_t * sigma'(z_t)

    All steps share the weights, so their gradients are sums over time (slide 26): one matrix product over all
    steps, once every dz_t is known.
    dU = sum_t dz_t^T x_t,   dW = sum_t dz_t^T h_{t-1},   db = sum_t dz_t,   dx_t = dz_t U

LSTM (slides 28-34).  c_t = f * c_{t-1} + i * g,  h_t = o * sigma_h(c_t),  gates stacked: z_t = (i f g o)

    dc_t = dh_t * o * sigma_h'(c_t) + dc_{t+1} * f_{t+1}     the path that carries: only f on it, no W
    di = dc_t * g,  df = dc_t * c_{t-1},  dg = dc_t * i,  do = dh_t * sigma_h(c_t),  each times its own sigma'
    dh_{t-1} = [direct] + dz_t W, and the weights as above.

GRU.  q = W_n h_{t-1} + b_W,  n = sigma_c(U_n x_t + r * q),  h_t = (1 - z) * n + z * h_{t-1}

    dn = dh_t * (1 - z) * sigma_c',  dq = dn * r,  dr = dn * q * sigma_g',  dz = dh_t (h_{t-1} - n) * sigma_g'
    dh_{t-1} = [direct] + dh_t * z + (dr dz dq) W
    The input product sees (dr dz dn) and the recurrent one (dr dz dq): the first forms dU, the second dW.

Each sigma' is a function of sigma's value (`core.activations`). So values suffice: the pass forward leaves
them on a `Tape` (`core.engines.tape`) and the pass back reads them. The steps themselves stand in
`core.engines.steps`, and once more, for speed, in kernel.c.
"""

from array import array
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from types import ModuleType
from typing import Any

import torch
import torch._C._autograd as autograd
import torch._C._functorch as _functorch
from jaxtyping import Float, Integer
from torch import Tensor

from core.cells import Cell, State, map_state
from core.engines import tape as in_torch
from core.engines.c import passes as c
from core.engines.c.binding import kernel_serves
from core.engines.products import Rows, Weights, leading
from core.engines.steps import Steps, steps_of
from core.engines.tape import Parts, Recorded, Saved, Tape, weights_of

Sequences = Float[Tensor, "time batch input"] | Integer[Tensor, "time batch"]


def detach(state: State) -> State:
    """The same state, cut off from the graph that made it.

    Truncated backpropagation through time carries the values of the state into the next window but not the
    gradient: otherwise the graph, and the time and memory of backward, would grow with the whole past.
    """
    return map_state(Tensor.detach, state)


def truncated(
    run: Callable[[Tensor, State | None], tuple[Tensor, State]],
    x: Sequences,
    window: int,
    state: State | None = None,
) -> Iterator[tuple[Tensor, State]]:
    """Truncated backpropagation through time: `run` (a `Recurrent`) over windows of a long sequence.

    Yields `run(x[t : t + window], state)`, outputs and state, for one window after another (the last may be
    shorter), each starting from the detached state of the one before. Form the loss and call backward between
    two yields.
    """
    for part in x.split(window):
        outputs, final = run(part, state)
        yield outputs, final
        state = detach(final)


def record(cell: Cell, batch: int, steps: int, state: State | None = None) -> Tape:
    """A tape for `steps` steps of a closed loop from `state` (None: zeros); call its `step(x)` for each.

    Raises:
        ValueError: if the state is not that of the cell, [batch, hidden].
    """
    _check_state(cell, batch, state)
    state = cell.initial_state(batch) if state is None else state
    make = c.CompiledTape if _passes(cell, cell.U, state) is c else Tape
    return make(cell, weights_of(cell), [batch] * steps, state)


def replay(cell: Cell, x: Sequences, tape: Tape) -> Float[Tensor, "time batch hidden"]:
    """Attach a recorded sequence to the graph: h_1 .. h_T as functions of x, the weights and the first state.

    In a closed loop the next input depends on the last output, often through a sample that has no derivative
    (where a glimpse looks). So the loop runs once, without gradient, and then its values exist: running the
    graph a second time would only repeat them. This node returns them as they are; its backward is that of
    the whole sequence. `x` must hold the inputs given to `tape.step`, and the weights be unchanged since.

    Raises:
        ValueError: if not all steps of the tape were taken, or `x` has another number of them, or of rows.
    """
    if not len(x) == tape.taken == len(tape.batch_sizes):
        raise ValueError(
            f"{len(x)} inputs for a tape with {tape.taken} of {len(tape.batch_sizes)} steps taken"
        )
    if leading(x).numel() != tape.firsts[-1]:
        raise ValueError(f"inputs {list(x.shape)} for a tape of {tape.firsts[-1]} rows in all")
    passes, x = (
        c if isinstance(tape, c.CompiledTape) else in_torch,
        computed(x, cell.U).resolve_neg(),
    )
    outputs, *_ = _Sequence.apply(
        passes, cell, tape.batch_sizes, tape.recorded(), x, *weights_of(cell), *tape.start
    )
    return outputs


def sequence(
    cell: Cell, batch_sizes: Sequence[int], x: Rows, state: State | None = None
) -> tuple[Float[Tensor, "*rows hidden"], State]:
    """Run a cell over known inputs: record all steps, and attach them to the graph.

    `x` holds the steps one after another, `batch_sizes[t]` rows for step t (see `Tape`). Returns every h_t in
    the same layout and the final state, parts [1, batch, hidden]. None is a state of zeros.

    Raises:
        ValueError: if x or the state does not fit the cell or the batch sizes, or these rise or are not all at least
            1; for integers outside 0..input_size - 1 (found on the CPU).
    """
    _check(cell, batch_sizes, x)
    _check_state(cell, batch_sizes[0], state)
    passes = _passes(cell, x, () if state is None else state)
    return run(passes, cell, batch_sizes, x, state)


def run(
    passes: ModuleType, cell: Cell, batch_sizes: Sequence[int], x: Rows, state: State | None
) -> tuple[Tensor, State]:
    """The same by these passes, `core.engines.c.passes` or `core.engines.tape`, which can do it."""
    if state is None and passes is in_torch:
        state = cell.initial_state(batch_sizes[0])
    start: Parts = () if state is None else state
    weights, batch_sizes = weights_of(cell), array("q", batch_sizes)
    x = computed(x, weights.U)
    if torch.is_grad_enabled():
        outputs, *final = _Sequence.apply(passes, cell, batch_sizes, None, x, *weights, *start)
    elif passes is c:
        layers = tuple(part[None] for part in start)
        outputs, final = c.infer(_steps(cell), [weights], batch_sizes, x, layers, cell)
    else:
        (*_, outputs), final, _ = in_torch.forward(cell, batch_sizes, x, weights, start)
    return outputs, tuple(final)


def _check(cell: Cell, batch_sizes: Sequence[int], x: Rows) -> None:
    if not batch_sizes or batch_sizes[-1] < 1 or any(a < b for a, b in pairwise(batch_sizes)):
        raise ValueError(
            f"batch sizes {list(batch_sizes)} must be at least 1, and none larger than the one before"
        )
    rows, width = leading(x).numel(), x.shape[-1] if x.is_floating_point() else cell.input_size
    if rows != sum(batch_sizes) or width != cell.input_size:
        raise ValueError(
            f"x is {x.dtype} {list(x.shape)}: not {sum(batch_sizes)} rows, as all steps have, of {cell.input_size}"
        )
    check_integers(x, cell.input_size)


def _check_state(cell: Cell, batch: int, state: State | None) -> None:
    """ValueError for a state of another cell, or of another batch: at least so many rows."""
    if state is None:
        return
    shapes = [list(part.shape) for part in state]
    fits = all(
        len(shape) == 2 and shape[0] >= batch and shape[1] == cell.hidden_size for shape in shapes
    )
    if not fits or len(shapes) != len(cell.state_parts):
        told = " and ".join(cell.state_parts)
        raise ValueError(f"the state is {shapes}, not {told} [{batch}, {cell.hidden_size}]")


def check_integers(x: Tensor, size: int) -> None:
    """ValueError for integers outside 0..size - 1; not on a GPU, whose own assertion stops there without a wait."""
    if x.is_cpu and not x.is_floating_point() and x.numel() and not 0 <= x.min() <= x.max() < size:
        raise ValueError(
            f"x has numbers from {x.min()} to {x.max()}, outside the range 0..{size - 1}"
        )


def _passes(cell: Cell, x: Tensor, start: Parts) -> ModuleType:
    return c if kernel_serves(_steps(cell), x, (*weights_of(cell), *start)) else in_torch


def _steps(cell: Cell) -> Steps:
    steps = steps_of(cell)
    if steps is None:
        raise ValueError(
            f"{type(cell).__name__} has no backward pass derived by hand: it runs on the reference"
        )
    return steps


def computed(x: Tensor, U: Tensor) -> Tensor:
    """Floats in the precision of the weights."""
    return x if x.dtype is U.dtype or not x.is_floating_point() else x.to(U.dtype)


class _Sequence(torch.autograd.Function):
    """A sequence as one node: forward records it, or returns what is recorded; backward is derived by hand."""

    @staticmethod
    def forward(
        ctx: Any,
        passes: Any,
        cell: Cell,
        batch_sizes: Sequence[int],
        made: Recorded | None,
        x: Any,
        *tensors: Tensor,
    ) -> Any:
        weights, start = Weights(*tensors[:4]), tensors[4:]
        buffers, final, ctx.lease = (
            passes.forward(cell, batch_sizes, x, weights, start) if made is None else made
        )
        ctx.back, ctx.kernel, ctx.batch_sizes, ctx.parts = (
            passes.backward,
            _steps(cell),
            batch_sizes,
            len(start),
        )
        ctx.in_place = made is None and ctx.lease is not None
        ctx.save_for_backward(x, weights.U, weights.W, *start, *buffers)
        ctx.set_materialize_grads(False)
        h = buffers[-1] if made is None else buffers[-1].detach().view(*x.shape[:2], -1)
        return h, *final

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor | None) -> Any:
        # autograd runs a backward with gradients on only under create_graph=True
        batched = any(
            each is not None and _functorch.is_legacy_batchedtensor(each) for each in grad_outputs
        )
        if torch.is_grad_enabled() or torch._C._are_functorch_transforms_active() or batched:
            raise RuntimeError(
                "the backward derived by hand has no derivative of its own, and takes one gradient at a time: for "
                'second derivatives, or vectorised ones, use engine="reference"'
            )
        dh, *d_final = grad_outputs
        x, U, W, *saved = ctx.saved_tensors
        start, buffers = tuple(saved[: ctx.parts]), tuple(saved[ctx.parts :])
        again = (
            autograd._get_current_graph_task_keep_graph()
        )  # retain_graph: backward may come back
        dh = torch.zeros_like(buffers[-1]) if dh is None else dh
        needs, need_start = ctx.needs_input_grad[4:9], ctx.needs_input_grad[9:]
        gradients, d_start = ctx.back(
            ctx.kernel,
            ctx.batch_sizes,
            Saved(x, U, W, start, buffers),
            dh,
            d_final,
            ctx.in_place and not again,
            (*needs, any(need_start)),
        )
        if not again:
            ctx.lease = None  # the graph is done with: its memory may serve the next
        if not any(need_start):
            return None, None, None, None, *gradients, *[None] * len(need_start)
        asked = [d if need else None for d, need in zip(d_start, need_start, strict=True)]
        return None, None, None, None, *gradients, *asked
