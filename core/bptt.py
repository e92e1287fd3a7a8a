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
them on a `Tape` (`core.tape`) and the pass back reads them. The steps themselves stand in
`core.sequence_kernels`, and once more, for speed, in kernel.c.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
import torch._C._autograd as autograd
from jaxtyping import Float, Integer
from torch import Tensor

from core.cells import Cell, State, map_state
from core.tape import Rows, Tape, tape_for

Sequences = Float[Tensor, "time batch input"] | Integer[Tensor, "time batch"]


def detach(state: State) -> State:
    """The same state, cut off from the graph that made it.

    Truncated backpropagation through time carries the values of the state into the next window but not the
    gradient: otherwise the graph, and the time and memory of backward, would grow with the whole past.
    """
    return map_state(Tensor.detach, state)


def truncated(
    run: Callable[[Tensor, State], tuple[Tensor, State]],
    x: Sequences,
    window: int,
    state: State = None,
) -> Iterator[tuple[Tensor, State]]:
    """Truncated backpropagation through time: `run` (a `Recurrent`) over windows of a long sequence.

    Yields `run(x[t : t + window], state)`, outputs and state, for one window after another (the last may be
    shorter), each starting from the detached state of the one before. Form the loss and call backward between
    two yields.
    """
    for part in x.split(window):
        outputs, state = run(part, state)
        yield outputs, state
        state = detach(state)


def record(cell: Cell, batch: int, steps: int, state: State = None) -> Tape:
    """A tape for `steps` steps of a closed loop from `state` (None: zeros); call its `step(x)` for each."""
    return tape_for(cell, [batch] * steps, cell.initial_state(batch) if state is None else state)


def replay(cell: Cell, x: Sequences, tape: Tape) -> Float[Tensor, "time batch hidden"]:
    """Attach a recorded sequence to the graph: h_1 .. h_T as functions of x, the weights and the first state.

    In a closed loop the next input depends on the last output, often through a sample that has no derivative
    (where a glimpse looks). So the loop runs once, without gradient, and then its values exist: running the
    graph a second time would only repeat them. This node returns them as they are; its backward is that of
    the whole sequence. `x` must hold the inputs given to `tape.step`, and the weights be unchanged since.

    Raises:
        ValueError: if not all steps of the tape were taken, or `x` has another number of them.
    """
    if not len(x) == tape.taken == len(tape.batch_sizes):
        raise ValueError(f"{len(x)} inputs for a tape with {tape.taken} of {len(tape.batch_sizes)} steps taken")
    return _attach(cell, x.flatten(0, 1), tape, once=False)[0].unflatten(0, x.shape[:2])


def sequence(
    cell: Cell, x: Rows, batch_sizes: Sequence[int], state: State
) -> tuple[Float[Tensor, "rows hidden"], State]:
    """Run a cell over known inputs: record all steps, then attach them to the graph.

    `x` holds the steps one after another, `batch_sizes[t]` rows for step t (see `Tape`). Returns every h_t in
    the same layout and the final state.
    """
    tape = tape_for(cell, batch_sizes, state)
    tape.run(x)
    if torch.is_grad_enabled():
        outputs, *final = _attach(cell, x, tape, once=True)
    else:
        outputs, *final = tape.buffers[-1], *tape.final()
    return outputs, tuple(final) if isinstance(state, tuple) else final[0]


def _attach(cell: Cell, x: Tensor, tape: Tape, once: bool) -> Any:
    return _Sequence.apply(
        tape, once, x.to(cell.U.dtype) if x.is_floating_point() else x, cell.U, cell.W, cell.b, cell.b_W, *tape.start
    )


class _Sequence(torch.autograd.Function):
    """A recorded sequence as one node: forward returns what is recorded, backward is derived by hand."""

    @staticmethod
    def forward(ctx: Any, tape: Tape, once: bool, x: Any, U: Any, W: Any, b: Any, b_W: Any, *start: Tensor) -> Any:
        ctx.back, ctx.batch_sizes, ctx.parts = tape.way_back, tape.batch_sizes, len(start)
        ctx.lease, ctx.in_place = tape.lease, once and tape.lease is not None
        ctx.save_for_backward(x, U, W, *start, *tape.buffers)
        ctx.set_materialize_grads(False)
        return tape.buffers[-1].detach(), *tape.final()

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor | None) -> Any:
        _refuse_double_backward()
        dh, *d_final = grad_outputs
        x, U, W, *saved = ctx.saved_tensors
        start, buffers = tuple(saved[: ctx.parts]), tuple(saved[ctx.parts :])
        again = autograd._get_current_graph_task_keep_graph()  # retain_graph: backward may come back
        dh = torch.zeros_like(buffers[-1]) if dh is None else dh
        d_state = tuple(
            torch.zeros_like(begin) if end is None else end.clone(memory_format=torch.contiguous_format)
            for begin, end in zip(start, d_final, strict=True)
        )
        _, _, need_x, need_U, need_W, need_b, need_b_W, *need_start = ctx.needs_input_grad
        dz, dq = ctx.back(start, buffers, W, dh, d_state, ctx.in_place and not again, any(need_start))

        gradients = (
            dz @ U if need_x else None,
            _input_gradient(dz, x, U) if need_U else None,
            _recurrent_gradient(dz, dq, start[0], buffers[-1], ctx.batch_sizes) if need_W else None,
            dz.sum(0) if need_b else None,
            dq.sum(0) if need_b_W and dq is not None else None,
        )
        if not again:
            ctx.lease = None  # the graph is done with: its memory may serve the next
        return None, None, *gradients, *(d if need else None for d, need in zip(d_state, need_start, strict=True))


def _input_gradient(dz: Tensor, x: Tensor, U: Tensor) -> Float[Tensor, "gates_hidden input"]:
    """dU = sum_t dz_t^T x_t; for one-hot x_t, which adds dz_t to a column, in a fixed order on any device."""
    if x.is_floating_point():
        return dz.t() @ x
    return torch.ops.aten.embedding_dense_backward(dz, x.long(), U.shape[1], -1, False).t()


def _recurrent_gradient(
    dz: Tensor, dq: Tensor | None, start: Tensor, h: Tensor, batch_sizes: list[int]
) -> Float[Tensor, "gates_hidden hidden"]:
    """dW = sum_t dz_t^T h_{t-1} (of the GRU dq in place of dn): h_0 for the first step, one product for the rest."""
    if dq is not None:
        gates = dz[:, : -dq.shape[1]]
        return torch.cat([_recurrent_gradient(d, None, start, h, batch_sizes) for d in (gates, dq)])
    first, last = batch_sizes[0], batch_sizes[-1]
    start = start[:first]  # those that begin
    if first != last:
        steps = zip(h.split(batch_sizes), batch_sizes[1:], strict=False)
        return dz.t() @ torch.cat([start, *(h_t[:later] for h_t, later in steps)])
    if len(h) < dz.shape[1]:  # to copy h costs less than to go over the result twice
        return dz.t() @ torch.cat([start, h[:-last]])
    return (dz[:first].t() @ start).addmm_(dz[first:].t(), h[:-last])


def _refuse_double_backward() -> None:
    if torch.is_grad_enabled():  # autograd runs a backward with gradients on only under create_graph=True
        raise RuntimeError(
            'the backward derived by hand has no derivative of its own: for second derivatives use engine="reference"'
        )
