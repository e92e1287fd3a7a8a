"""Backpropagation through time, derived by hand.

For one LSTM on one page: examples/lstm_by_hand.py. Here tape.py loops over the steps of steps.py,
or C does in c/, and products.py multiplies over all steps at once. The error E of a sequence
depends on h_t in two ways: directly, through the output y_t, and through h_{t+1}. Write dv for
dE/dv, a row vector (v itself is a column), z_t for the preactivations of step t, and * for the
component-wise product. "[direct]" is the part of dh through y.

RNN (slides 20-26).  z_t = U x_t + W h_{t-1} (+ b),  h_t = sigma(z_t)

    dz_t = dh_t * sigma'(z_t)
    dh_{t-1} = [direct] + dz_t W

All steps share the weights, so their gradients are sums over time (slide 26): one matrix product
over all steps, once every dz_t is known.

    dU = sum_t dz_t^T x_t^T,  dW = sum_t dz_t^T h_{t-1}^T,  db = sum_t dz_t,  dx_t = dz_t U

LSTM (slides 28-34).  c_t = f * c_{t-1} + i * g,  h_t = o * sigma_h(c_t),  gates z_t = (i f g o)

    dc_t = dh_t * o * sigma_h'(c_t) + dc_{t+1} * f_{t+1}
    di = dc_t * g,  df = dc_t * c_{t-1},  dg = dc_t * i,  do = dh_t * sigma_h(c_t)
    dz_t = (di df dg do), each times its own sigma'
    dh_{t-1} = [direct] + dz_t W

On the direct path from c_t to c_{t-1} the gradient is multiplied by f alone, not by W: that is how
it can survive many steps. The weights' gradients are as above.

GRU.  q = W_n h_{t-1} + b_W,  n = sigma_c(U_n x_t + b_n + r * q),  h_t = (1 - u) * n + u * h_{t-1}

    dn = dh_t * (1 - u),  du = dh_t * (h_{t-1} - n)
    dz_n = dn * sigma_c',  dz_u = du * sigma_g',  dz_r = dz_n * q * sigma_g',  dq = dz_n * r
    dh_{t-1} = [direct] + dh_t * u + (dz_r dz_u dq) W

Here u is the update gate, z in core.cells and torch.nn. The input product sees (dz_r dz_u dz_n),
which gives dU; the recurrent product sees (dz_r dz_u dq), which gives dW.

Each sigma' is a function of sigma's value (`core.activations`). So values suffice: the forward pass
writes them to a `Tape` (`core.engines.tape`) and the backward pass reads them. The steps themselves
are in `core.engines.steps` and once more, for speed, in `core/engines/c/steps.h`.
"""

from array import array
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import torch
import torch._C._autograd as autograd
import torch._C._functorch as _functorch
from jaxtyping import Float
from torch import Tensor

from core.base_cell import Cell, State, map_state
from core.engines import tape as in_torch
from core.engines.c import passes as in_c
from core.engines.c.binding import kernel_serves
from core.engines.checks import check_full, check_sequence, check_state
from core.engines.products import Rows, leading, rows_of
from core.engines.reference import Sequences, reference
from core.engines.reference_tape import ReferenceTape
from core.engines.steps import FastCell, fast_cell, has_hooks
from core.engines.tape import Recorded, Saved, Tape


def detach(state: State) -> State:
    """Return the same state, cut off from the graph that made it.

    Truncated backpropagation through time carries the values of the state into the next window but
    not the gradient: otherwise the graph, and the time and memory of backward, would grow with the
    whole past.
    """
    return map_state(Tensor.detach, state)


def record(cell: Cell, batch: int, steps: int, state: State | None = None) -> Tape | ReferenceTape:
    """Return a tape for `steps` steps of a closed loop; call its `step(x)` for each.

    `state` is where the loop starts, None for zeros.

    Raises:
        ValueError: if the state is not that of the cell, [batch, hidden].
    """
    check_state(cell, batch, state, exact=True)
    start = cell.initial_state(batch) if state is None else state
    fast = fast_cell(cell)
    if fast is None or has_hooks(cell):
        return ReferenceTape(cell, batch, steps, start)
    made = in_c.CompiledTape if kernel_serves(fast, fast.weights.U, start) else Tape
    return made(fast, [batch] * steps, start, from_zeros=state is None)


def replay(
    cell: Cell, x: Sequences, tape: Tape | ReferenceTape
) -> Float[Tensor, "time batch hidden"]:
    """Attach a recorded loop to the graph: h_1 .. h_T as a function of x, weights and first state.

    In a closed loop the next input depends on the last output, often through a sample that has no
    derivative (the location of a glimpse). So the loop runs once, without gradient, and then its
    values exist: computing them a second time would only repeat them. This node returns them as
    they are; its backward is that of the whole sequence. `x` must hold the inputs given to
    `tape.step`, and the weights must not have changed since.

    Raises:
        ValueError: if not all steps of the tape were taken, or `x` has another number of steps or
            rows.
    """
    if isinstance(tape, ReferenceTape):
        check_full(len(x), tape.taken, tape.steps)
        return tape.replay(x)
    check_full(len(x), tape.taken, len(tape.batch_sizes))
    if leading(x).numel() != tape.firsts[-1]:
        raise ValueError(f"inputs {list(x.shape)} for a tape of {tape.firsts[-1]} rows in all")
    fast = fast_cell(cell)
    if fast is None or type(fast.steps) is not type(tape.steps):
        raise ValueError(f"the tape was not recorded by this {type(cell).__name__}")
    passes, start = in_torch, tape.start
    if isinstance(tape, in_c.CompiledTape):
        passes = in_c
        start = () if tape.from_zeros else start  # products with zeros are left out
    x = in_weight_dtype(x, fast.weights.U).resolve_neg()
    outputs, *_ = _Sequence.apply(
        passes, fast, tape.batch_sizes, tape.recorded(), x, *fast.weights, *start
    )
    return outputs


def sequence(
    cell: Cell, batch_sizes: Sequence[int], x: Rows, state: State | None = None
) -> tuple[Float[Tensor, "*rows hidden"], State]:
    """Run a cell over known inputs: record all steps, and attach them to the graph.

    `x` holds the steps one after another, `batch_sizes[t]` rows for step t (see `Tape`). Returns
    every h_t in the same layout and the final state [1, batch, hidden]. No state stands for zeros.

    Raises:
        ValueError: if x or the state does not fit the cell or the batch sizes, or these rise or are
            not all at least 1; for integers outside 0..input_size - 1 (checked on the CPU only).
    """
    check_sequence(cell, batch_sizes, x)
    check_state(cell, batch_sizes[0], state)
    fast = fast_cell(cell)
    if fast is None or has_hooks(cell):
        return _by_reference(cell, batch_sizes, x, state)
    if kernel_serves(fast, x, state or ()):
        return run(in_c, fast, batch_sizes, x, state)
    return run(in_torch, fast, batch_sizes, x, state)


def run(
    passes: ModuleType, fast: FastCell, batch_sizes: Sequence[int], x: Rows, state: State | None
) -> tuple[Tensor, State]:
    """`sequence` by the passes of `core.engines.c.passes` or `core.engines.tape`, unchecked."""
    if state is None and passes is in_torch:
        state = fast.cell.initial_state(batch_sizes[0])
    start = state or ()
    sizes = array("q", batch_sizes)
    x = in_weight_dtype(x, fast.weights.U)
    if torch.is_grad_enabled():
        outputs, *final = _Sequence.apply(passes, fast, sizes, None, x, *fast.weights, *start)
    elif passes is in_c:
        layers = tuple(part[None] for part in start)
        outputs, final = in_c.infer([fast], sizes, x, layers)
    else:
        (*_, outputs), final, _ = in_torch.forward(fast, sizes, x, start)
    return outputs, tuple(final)


def _by_reference(
    cell: Cell, batch_sizes: Sequence[int], x: Rows, state: State | None
) -> tuple[Tensor, State]:
    """`sequence` by the reference: pads the rows to [time, batch], and drops the padding after."""
    batch = batch_sizes[0]
    sizes = torch.tensor(batch_sizes, device=x.device)
    valid = torch.arange(batch, device=x.device) < sizes[:, None]
    rows = rows_of(x)
    padded = rows.new_zeros(*valid.shape, *rows.shape[1:])
    padded[valid] = rows
    if state is None:
        state = cell.initial_state(batch)
    start = map_state(lambda part: part[:batch], state)
    outputs, final = reference(cell, padded, start, valid.sum(0))
    parts = zip(final, state, strict=True)
    final = tuple(torch.cat([end, begin[None, batch:]], 1) for end, begin in parts)
    return outputs[valid].view(*leading(x), -1), final


def in_weight_dtype(x: Tensor, U: Tensor) -> Tensor:
    """Floats in the precision of the weights."""
    if x.is_floating_point() and x.dtype is not U.dtype:
        return x.to(U.dtype)
    return x


class _Sequence(torch.autograd.Function):
    """A sequence as one node: forward records it or has it recorded, backward is by hand."""

    @staticmethod
    def forward(
        ctx: Any,
        passes: Any,
        fast: FastCell,
        batch_sizes: Sequence[int],
        recorded: Recorded | None,
        x: Any,
        *tensors: Tensor,
    ) -> Any:
        start = tensors[4:]
        is_new = recorded is None
        if recorded is None:
            made = passes.forward(fast, batch_sizes, x, start)
        else:
            made = recorded
        buffers, final, ctx.scratch = made
        ctx.backward_pass = passes.backward
        ctx.steps = fast.steps
        ctx.batch_sizes = batch_sizes
        ctx.parts = len(start)
        ctx.in_place = is_new and ctx.scratch is not None
        ctx.save_for_backward(x, fast.weights.U, fast.weights.W, *start, *buffers)
        ctx.set_materialize_grads(False)
        h = buffers[-1]
        if not is_new:
            h = h.detach().view(*x.shape[:2], -1)
        return h, *final

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor | None) -> Any:
        _refuse_second_derivatives(grad_outputs)
        dh, *d_final = grad_outputs
        x, U, W, *saved = ctx.saved_tensors
        start = tuple(saved[: ctx.parts])
        buffers = tuple(saved[ctx.parts :])
        retained = autograd._get_current_graph_task_keep_graph()  # backward may come again
        if dh is None:
            dh = torch.zeros_like(buffers[-1])
        needs_weights = ctx.needs_input_grad[4:9]
        needs_start = ctx.needs_input_grad[9:]
        gradients, d_start = ctx.backward_pass(
            ctx.steps,
            ctx.batch_sizes,
            Saved(x, U, W, start, buffers),
            dh,
            d_final,
            ctx.in_place and not retained,
            (*needs_weights, any(needs_start)),
        )
        if not retained:
            ctx.scratch = None  # nobody reads the buffers any more: the next pass may use them
        if not any(needs_start):
            return None, None, None, None, *gradients, *[None] * len(needs_start)
        return None, None, None, None, *gradients, *d_start


def _refuse_second_derivatives(grad_outputs: Sequence[Tensor | None]) -> None:
    """RuntimeError under vmap and create_graph=True, which runs backward with gradients on."""
    batched = any(d is not None and _functorch.is_legacy_batchedtensor(d) for d in grad_outputs)
    if torch.is_grad_enabled() or torch._C._are_functorch_transforms_active() or batched:
        raise RuntimeError(
            "the backward derived by hand has no derivative of its own, and takes one gradient "
            'at a time: for second derivatives, or vectorised ones, use engine="reference"'
        )
