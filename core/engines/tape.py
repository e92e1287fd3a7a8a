"""The tape of a sequence: what the forward pass writes and the backward pass reads.

`forward` and `backward` are the two passes with the steps of `core.engines.steps` in torch; `Tape`
is the forward pass step by step. `core.engines.c.passes` has the same three with the steps of
kernel.c.
"""

from array import array
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from core.base_cell import Inputs, State
from core.engines.products import Gradients, Rows, gradients, input_product, leading
from core.engines.steps import Buffers, FastCell, Steps, Weights

BatchSizes = array  # of 64-bit integers: the rows of each step; they never rise from step to step


class Recorded(NamedTuple):
    """What a forward pass leaves behind.

    Attributes:
        buffers: what the backward pass reads; the last is h, [*rows, hidden].
        final: each sequence's state at its own end [1, batch, hidden]; without a step, its first
            state.
        scratch: keeps the buffers from being used again; None where they belong to this pass alone.
    """

    buffers: Buffers
    final: State
    scratch: Any = None


class Saved(NamedTuple):
    """What a backward pass starts from: inputs, weights, first state, the forward buffers."""

    x: Rows
    U: Tensor
    W: Tensor
    start: State
    buffers: Buffers


class Tape:
    """The values of one forward pass, as the backward pass needs them; they carry no gradient.

        tape = bptt.record(cell, batch, steps)
        for _ in range(steps):
            h = tape.step(x_t)                  # the next x_t may depend on h
        h = bptt.replay(cell, x, tape)          # the same values, attached to the graph

    Step t holds `batch_sizes[t]` rows, which may fall but not rise with t: sequences are sorted by
    falling length and each leaves the batch where it ends. The buffers are allocated once, for all
    steps.

    Attributes:
        start: the state before the first step.
        from_zeros: whether that is known to be zero.
        taken: how many steps were taken.
    """

    def __init__(
        self,
        fast: FastCell,
        batch_sizes: Sequence[int],
        start: State,
        from_zeros: bool = False,
    ):
        self.cell = fast.cell
        self.steps: Steps = fast.steps
        self.batch_sizes = array("q", batch_sizes)
        self.firsts = [0, *accumulate(batch_sizes)]  # the first row of each step
        self.start = start
        self.from_zeros = from_zeros
        self.taken = 0
        self._first = tuple(part.detach() for part in start)
        detached = [None if weight is None else weight.detach() for weight in fast.weights]
        self._weights = Weights(*detached)  # type: ignore[arg-type]
        self._z, self._h = self._allocate()

    def step(self, x: Inputs) -> Float[Tensor, "batch hidden"]:
        """Take the next step of a closed loop: h_t from x_t, without gradient.

        Raises:
            ValueError: if x_t has not as many rows as the step, or not the width of the cell's
                inputs.
            IndexError: after the last step.
        """
        z = self.place()
        if len(x) != len(z):
            raise ValueError(f"{len(x)} rows for step {self.taken}, which has {len(z)}")
        input_product(x.detach(), self._weights.U, self._weights.b, z)
        return self.advance()

    def place(self) -> Float[Tensor, "batch gates_hidden"]:
        """Where to write U x_t + b of the next step before taking it by `advance`."""
        return self._z[self.firsts[self.taken] : self.firsts[self.taken + 1]]

    def advance(self) -> Float[Tensor, "batch hidden"]:
        """Take the next step, U x_t + b being in its place: h_t."""
        self._advance(1)
        self.taken += 1
        return self._h[self.firsts[self.taken - 1] : self.firsts[self.taken]]

    def run(self, x: Rows) -> None:
        """Take all steps over known inputs: U x_t of all of them is one product before the loop."""
        input_product(x.detach(), self._weights.U, self._weights.b, self._z)
        self._advance(len(self.batch_sizes))
        self.taken = len(self.batch_sizes)

    def recorded(self) -> Recorded:
        """What the steps have left behind."""
        return Recorded(self._buffers, tuple(part[None] for part in self._final()))

    def _final(self) -> State:
        state = self.steps.state(self._buffers)
        last = 0
        if self.batch_sizes:
            last = self.batch_sizes[-1]
        if last == len(self.start[0]):
            return tuple(part[-last:].clone() for part in state)
        final = tuple(part.clone() for part in self._first)
        rows_now_and_next = pairwise([*self.batch_sizes, 0])
        for first, (rows, later) in zip(self.firsts, rows_now_and_next, strict=False):
            if rows > later:
                for end, part in zip(final, state, strict=True):
                    end[later:rows] = part[first + later : first + rows]
        return final

    def _allocate(self) -> tuple[Tensor, Tensor]:
        """Allocate the buffers; return those of the preactivations and of h."""
        W = self._weights.W
        self._buffers = self.steps.buffers(self.firsts[-1], W)
        self._views, self._before = _views(self.steps, self._buffers, self._first, self.batch_sizes)
        self._W_T = W.t().contiguous()  # once, as the product of every step reads it
        return self._buffers[0], self._buffers[-1]

    def _advance(self, steps: int) -> None:
        for t in range(self.taken, self.taken + steps):
            self.steps.step(self._views[t], self._before[t], self._W_T, self._weights.b_W)


def forward(fast: FastCell, batch_sizes: BatchSizes, x: Rows, start: State) -> Recorded:
    """Take all steps over known inputs."""
    tape = Tape(fast, batch_sizes, start)
    tape.run(x)
    recorded = tape.recorded()
    *others, h = recorded.buffers
    return recorded._replace(buffers=(*others, h.view(*leading(x), -1)))


def backward(
    steps: Steps,
    batch_sizes: BatchSizes,
    saved: Saved,
    dh: Float[Tensor, "*rows hidden"],
    d_final: Sequence[Tensor | None],
    in_place: bool,
    needs: Sequence[bool],
) -> tuple[Gradients, State]:
    """Take all steps backward; return the needed gradients, and dE/d(first state) if needed.

    Args:
        steps: the cell's steps.
        batch_sizes: those of the forward pass.
        saved: what the forward pass left behind.
        dh: dE/dh of each row, directly.
        d_final: dE/d(final state), parts [1, batch, hidden], None for 0.
        in_place: whether dz may overwrite the buffers.
        needs: which of `Gradients` are needed, and last whether dE/d(first state) is.
    """
    x, U, W, start, (*others, h) = saved
    buffers = (*others, h.view(-1, h.shape[-1]))
    dh = dh.reshape(-1, dh.shape[-1])
    views, before = _views(steps, buffers, start, batch_sizes)
    d_state = own_state_gradients(d_final, start[0])
    dz = torch.empty_like(buffers[0])
    sizes = list(batch_sizes)
    dh_t = dh.split(sizes)
    dz_t = dz.split(sizes)
    dq = None
    dq_t = dz_t  # not used without dq
    if steps.has_dq:
        dq = torch.empty_like(dh)
        dq_t = dq.split(sizes)
    for t in reversed(range(len(sizes))):
        d = tuple(part[: sizes[t]] for part in d_state)
        d[0].add_(dh_t[t])
        steps.backward_step(views[t], before[t], d, W, dz_t[t], dq_t[t])
    return gradients(x, U, start[0], h, dz, dq, batch_sizes, needs), d_state


def own_state_gradients(
    d_final: Sequence[Tensor | None], like: Float[Tensor, "batch hidden"]
) -> State:
    """Copies of dE/d(final state), which the backward pass overwrites; zeros for None."""
    copies = []
    for part in d_final:
        if part is None:
            copies.append(like.new_zeros(like.shape))
        else:
            copies.append(part[0].clone(memory_format=torch.contiguous_format))
    return tuple(copies)


def _views(
    steps: Steps, buffers: Buffers, start: State, batch_sizes: Sequence[int]
) -> tuple[list[Buffers], list[State]]:
    """Views of the rows of every step, and of the state that every step starts from."""
    views = list(zip(*(buffer.split(list(batch_sizes)) for buffer in buffers), strict=True))
    states = [start, *map(steps.state, views[:-1])]
    before = zip(states, batch_sizes, strict=True)
    return views, [tuple(part[:rows] for part in state) for state, rows in before]
