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
them on a `Tape` and the pass back reads them. The steps themselves stand in `core.sequence_kernels`.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from jaxtyping import Float, Integer
from torch import Tensor

from core.activations import activation as named
from core.cells import Cell, Inputs, State, map_state
from core.sequence_kernels import Kernel

Rows = Float[Tensor, "rows input"] | Integer[Tensor, " rows"]  # the inputs of all steps, one step after another
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


class Tape:
    """The values of one pass over a sequence, as the pass back needs them; they carry no gradient.

    Step t holds `batch_sizes[t]` rows, which may fall but not rise with t: sequences are sorted by falling
    length and each leaves the batch where it ends. The buffers are allocated once, for all steps.
    """

    def __init__(self, cell: Cell, batch_sizes: Sequence[int], state: State):
        self.kernel: Kernel = cell.kernel
        self.batch_sizes = list(batch_sizes)
        self.start: tuple[Tensor, ...] = state if isinstance(state, tuple) else (state,)
        self.buffers = self.kernel.buffers(sum(batch_sizes), cell.W)
        self.steps, self.before = _views(self.kernel, self.buffers, self.start, self.batch_sizes)
        self.taken = 0
        self._U_T, self._b, self._b_W = cell.U.detach().t(), cell.b, cell.b_W
        self._W_T = cell.W.detach().t().contiguous()  # the product of every step reads it: lay it out once

    @torch.no_grad()
    def step(self, x: Inputs) -> Float[Tensor, "batch hidden"]:
        """Take the next step of a closed loop: h_t from x_t, without gradient."""
        self._input_product(x, self.steps[self.taken][0])
        return self._advance()

    @torch.no_grad()
    def run(self, x: Rows) -> None:
        """Take all steps, their inputs being known: U x_t of every step is one product before the loop."""
        self._input_product(x, self.buffers[0])
        for _ in self.steps:
            self._advance()

    def final(self) -> tuple[Tensor, ...]:
        """Each sequence's state at its own end [batch, hidden]; without a step, its first state."""
        final = tuple(part.clone() for part in self.start)
        for step, rows, later in zip(self.steps, self.batch_sizes, [*self.batch_sizes[1:], 0], strict=True):
            if rows > later:
                for end, part in zip(final, self.kernel.state(step), strict=True):
                    end[later:rows] = part[later:]
        return final

    def _input_product(self, x: Tensor, out: Tensor) -> None:
        if x.is_floating_point():
            x = x.to(out.dtype)
            torch.mm(x, self._U_T, out=out) if self._b is None else torch.addmm(self._b, x, self._U_T, out=out)
        else:  # the product of U and a one-hot vector is a column of U
            columns = self._U_T if len(x) < len(self._U_T) else self._U_T.contiguous()
            torch.index_select(columns, 0, x.long(), out=out)
            if self._b is not None:
                out += self._b

    def _advance(self) -> Tensor:
        step = self.steps[self.taken]
        self.kernel.step(step, self.before[self.taken], self._W_T, self._b_W)
        self.taken += 1
        return step[-1]


def record(cell: Cell, batch: int, steps: int, state: State = None) -> Tape:
    """A tape for `steps` steps of a closed loop from `state` (None: zeros); call its `step(x)` for each."""
    return Tape(cell, [batch] * steps, cell.initial_state(batch) if state is None else state)


def replay(cell: Cell, x: Sequences, tape: Tape) -> Float[Tensor, "time batch hidden"]:
    """Attach a recorded sequence to the graph: h_1 .. h_T as functions of x, the weights and the first state.

    In a closed loop the next input depends on the last output, often through a sample that has no derivative
    (where a glimpse looks). So the loop runs once, without gradient, and then its values exist: running the
    graph a second time would only repeat them. This node returns them as they are; its backward is that of
    the whole sequence. `x` must hold the inputs given to `tape.step`, and the weights be unchanged since.

    Raises:
        ValueError: if not all steps of the tape were taken, or `x` has another number of them.
    """
    if not len(x) == tape.taken == len(tape.steps):
        raise ValueError(f"{len(x)} inputs for a tape with {tape.taken} of {len(tape.steps)} steps taken")
    return _attach(cell, x.flatten(0, 1), tape)[0].unflatten(0, x.shape[:2])


def sequence(
    cell: Cell, x: Rows, batch_sizes: Sequence[int], state: State
) -> tuple[Float[Tensor, "rows hidden"], State]:
    """Run a cell over known inputs: record all steps, then attach them to the graph.

    `x` holds the steps one after another, `batch_sizes[t]` rows for step t (see `Tape`). Returns every h_t in
    the same layout and the final state.
    """
    tape = Tape(cell, batch_sizes, state)
    tape.run(x)
    outputs, *final = _attach(cell, x, tape)
    return outputs, tuple(final) if isinstance(state, tuple) else final[0]


def _attach(cell: Cell, x: Tensor, tape: Tape) -> Any:
    return _Sequence.apply(
        tape, x.to(cell.U.dtype) if x.is_floating_point() else x, cell.U, cell.W, cell.b, cell.b_W, *tape.start
    )


class _Sequence(torch.autograd.Function):
    """A recorded sequence as one node: forward returns what is recorded, backward is derived by hand."""

    @staticmethod
    def forward(ctx: Any, tape: Tape, x: Any, U: Any, W: Any, b: Any, b_W: Any, *start: Tensor) -> Any:
        ctx.kernel, ctx.batch_sizes, ctx.parts = tape.kernel, tape.batch_sizes, len(start)
        ctx.save_for_backward(x, U, W, *start, *tape.buffers)
        return tape.buffers[-1].detach(), *tape.final()

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> Any:
        _refuse_double_backward()
        dh, *d_final = grad_outputs
        x, U, W, *saved = ctx.saved_tensors
        start, buffers = tuple(saved[: ctx.parts]), tuple(saved[ctx.parts :])
        steps, before = _views(ctx.kernel, buffers, start, ctx.batch_sizes)
        d_state = tuple(part.clone() for part in d_final)
        dz = torch.empty_like(buffers[0])  # as the input product sees it
        da = torch.empty_like(dz) if ctx.kernel.two_gradients else dz  # as the recurrent product sees it

        by_step = (steps, before, *(rows.split(ctx.batch_sizes) for rows in (dh, dz, da)))
        for step, state, dh_t, dz_t, da_t in zip(*map(reversed, by_step), strict=True):
            d = tuple(part[: len(dh_t)] for part in d_state)  # from dE/d(final) to dE/d(start), in place
            d[0].add_(dh_t)
            ctx.kernel.step_back(step, state, d, W, dz_t, da_t)

        _, need_x, need_U, need_W, need_b, need_b_W, *_ = ctx.needs_input_grad
        return (
            None,
            dz @ U if need_x else None,
            _input_gradient(dz, x, U) if need_U else None,
            _recurrent_gradient(da, before, buffers[-1], ctx.batch_sizes) if need_W else None,
            dz.sum(0) if need_b else None,
            da[:, -W.shape[1] :].sum(0) if need_b_W else None,
            *d_state,
        )


def _input_gradient(dz: Tensor, x: Tensor, U: Tensor) -> Float[Tensor, "gates_hidden input"]:
    """dU = sum_t dz_t^T x_t; for one-hot x_t, which adds dz_t to a column, in a fixed order on any device."""
    if x.is_floating_point():
        return dz.t() @ x
    return torch.ops.aten.embedding_dense_backward(dz, x.long(), U.shape[1], -1, False).t()


def _recurrent_gradient(
    da: Tensor, before: list[tuple[Tensor, ...]], h: Tensor, batch_sizes: list[int]
) -> Float[Tensor, "gates_hidden hidden"]:
    """dW = sum_t da_t^T h_{t-1}: the first step reads h_0, all others one product."""
    first, last = batch_sizes[0], batch_sizes[-1]
    constant = first == last  # then every h_{t-1} but h_0 lies in the tape as one block
    h_before = h[:-last] if constant else torch.cat([state[0] for state in before[1:]])
    return (da[:first].t() @ before[0][0]).addmm_(da[first:].t(), h_before)


def _views(
    kernel: Kernel, buffers: Sequence[Tensor], start: tuple[Tensor, ...], batch_sizes: list[int]
) -> tuple[list[tuple[Tensor, ...]], list[tuple[Tensor, ...]]]:
    """The rows of every step, and the state every step starts from: views, by one split a buffer."""
    steps = list(zip(*(buffer.split(batch_sizes) for buffer in buffers), strict=True))
    before = zip([start, *map(kernel.state, steps[:-1])], batch_sizes, strict=True)
    return steps, [tuple(part[:rows] for part in state) for state, rows in before]


def replay_layer(
    y: Float[Tensor, "*rows out"],
    x: Float[Tensor, "*rows in"],
    weight: Float[Tensor, "out in"],
    bias: Float[Tensor, " out"] | None = None,
    activation: str = "identity",
) -> Float[Tensor, "*rows out"]:
    """`replay` for a feed-forward layer: attach y = sigma(x weight^T + bias), known already, to the graph."""
    layer: Any = _Layer.apply
    return layer(y.to(weight.dtype), x.to(weight.dtype), weight, bias, activation)


class _Layer(torch.autograd.Function):
    """dz = dy * sigma'(z);  dx = dz weight,  dweight = dz^T x,  dbias = sum dz."""

    @staticmethod
    def forward(ctx: Any, y: Tensor, x: Tensor, weight: Tensor, bias: Any, activation: str) -> Tensor:
        ctx.sigma = named(activation)
        ctx.save_for_backward(y, x, weight)
        return y.detach()

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> Any:
        _refuse_double_backward()
        (dy,) = grad_outputs
        y, x, weight = ctx.saved_tensors
        _, need_x, need_weight, need_bias, _ = ctx.needs_input_grad
        dz = ctx.sigma.backward(dy, y, torch.empty_like(y)).flatten(0, -2)
        return (
            None,
            (dz @ weight).view(x.shape) if need_x else None,
            dz.t() @ x.flatten(0, -2) if need_weight else None,
            dz.sum(0) if need_bias else None,
            None,
        )


def _refuse_double_backward() -> None:
    if torch.is_grad_enabled():  # autograd runs a backward with gradients on only under create_graph=True
        raise RuntimeError(
            'the backward derived by hand has no derivative of its own: for second derivatives use engine="reference"'
        )
