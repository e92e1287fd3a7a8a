"""The tape of a pass over a sequence: what the pass forward leaves behind and the pass back reads.

`forward` and `backward` are the two passes with the steps of `core.engines.steps` in torch, `Tape` is the pass
forward step by step. `core.engines.c.passes` has the same three with the steps of core/engines/c/kernel.c.
"""

from array import array
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from core.cells import Cell, Inputs
from core.engines.products import Gradients, Rows, Weights, gradients, input_product, leading
from core.engines.steps import GRUSteps, Steps, steps_of

Parts = tuple[Tensor, ...]
Sizes = array  # of 64-bit integers: the rows of each step, falling


class Recorded(NamedTuple):
    """What a pass forward leaves behind.

    Attributes:
        buffers: what the pass back reads; the last is h, [*rows, hidden].
        final: each sequence's state at its own end [1, batch, hidden]; without a step, its first state.
        lease: keeps the buffers from being used again; None where they are this pass's alone.
    """

    buffers: Parts
    final: Parts
    lease: Any = None


class Saved(NamedTuple):
    """What a pass back starts from: inputs, weights, first state, and the buffers of the pass forward."""

    x: Rows
    U: Tensor
    W: Tensor
    start: Parts
    buffers: Parts


def weights_of(cell: Cell) -> Weights:
    """A cell's weights."""
    return Weights(cell.U, cell.W, cell.b, cell.b_W)


class Tape:
    """The values of one pass over a sequence, as the pass back needs them; they carry no gradient.

    Step t holds `batch_sizes[t]` rows, which may fall but not rise with t: sequences are sorted by falling
    length and each leaves the batch where it ends. The buffers are allocated once, for all steps.

    Attributes:
        start: the state before the first step.
        taken: how many steps were taken.
    """

    def __init__(self, cell: Cell, weights: Weights, batch_sizes: Sequence[int], start: Parts):
        steps = steps_of(cell)
        assert steps is not None
        self.kernel: Steps = steps
        self.batch_sizes = array("q", batch_sizes)
        self.firsts = [0, *accumulate(batch_sizes)]  # the first row of each step
        self.start = start
        self.taken = 0
        self._first = tuple(part.detach() for part in self.start)
        U, W, b, b_W = weights
        self._weights = Weights(
            U.detach(), W.detach(), *(each if each is None else each.detach() for each in (b, b_W))
        )
        self._z, self._h = self._allocate(cell)

    def step(self, x: Inputs) -> Float[Tensor, "batch hidden"]:
        """Take the next step of a closed loop: h_t from x_t, without gradient.

        Raises:
            ValueError: if x_t has not as many rows as the step.
            IndexError: after the last step.
        """
        place = self.place()
        if len(x) != len(place):
            raise ValueError(f"{len(x)} rows for step {self.taken}, which has {len(place)}")
        input_product(x.detach(), self._weights.U, self._weights.b, place)
        return self.advance()

    def place(self) -> Float[Tensor, "batch gates_hidden"]:
        """Where U x_t + b of the next step belongs: who computes it himself takes the step by `advance`."""
        return self._z[self.firsts[self.taken] : self.firsts[self.taken + 1]]

    def advance(self) -> Float[Tensor, "batch hidden"]:
        """Take the next step, U x_t + b being in its place: h_t."""
        self._advance(1)
        self.taken += 1
        return self._h[self.firsts[self.taken - 1] : self.firsts[self.taken]]

    def run(self, x: Rows) -> None:
        """Take all steps, their inputs being known: U x_t of every step is one product before the loop."""
        input_product(x.detach(), self._weights.U, self._weights.b, self._z)
        self._advance(len(self.batch_sizes))
        self.taken = len(self.batch_sizes)

    def recorded(self) -> Recorded:
        """What the steps have left behind."""
        return Recorded(self._buffers, tuple(part[None] for part in self._final()))

    def _final(self) -> Parts:
        state, last = (
            self.kernel.state(self._buffers),
            self.batch_sizes[-1] if self.batch_sizes else 0,
        )
        if last == len(self.start[0]):
            return tuple(part[-last:].clone() for part in state)
        final = tuple(part.clone() for part in self._first)
        for first, (rows, later) in zip(
            self.firsts, pairwise([*self.batch_sizes, 0]), strict=False
        ):
            if rows > later:
                for end, part in zip(final, state, strict=True):
                    end[later:rows] = part[first + later : first + rows]
        return final

    def _allocate(self, cell: Cell) -> tuple[Tensor, Tensor]:
        """Allocate the buffers; return those of the preactivations and of h."""
        self._buffers = self.kernel.buffers(self.firsts[-1], cell.W)
        self._steps, self._before = _views(
            self.kernel, self._buffers, self._first, self.batch_sizes
        )
        self._W_T = (
            self._weights.W.t().contiguous()
        )  # the product of every step reads it: lay it out once
        return self._buffers[0], self._buffers[-1]

    def _advance(self, steps: int) -> None:
        for t in range(self.taken, self.taken + steps):
            self.kernel.step(self._steps[t], self._before[t], self._W_T, self._weights.b_W)


def forward(cell: Cell, batch_sizes: Sizes, x: Rows, weights: Weights, start: Parts) -> Recorded:
    """All steps over known inputs."""
    tape = Tape(cell, weights, batch_sizes, start)
    tape.run(x)
    recorded = tape.recorded()
    *others, h = recorded.buffers
    return recorded._replace(buffers=(*others, h.view(*leading(x), -1)))


def backward(
    kernel: Steps,
    batch_sizes: Sizes,
    saved: Saved,
    dh: Float[Tensor, "*rows hidden"],
    d_final: Sequence[Tensor | None],
    in_place: bool,
    needs: Sequence[bool],
) -> tuple[Gradients, Parts]:
    """All steps back; returns what it `needs`, and dE/d(first state), which is anything if that is not asked for.

    Args:
        kernel: the cell's steps.
        batch_sizes: those of the pass forward.
        saved: what that has left.
        dh: dE/dh of each row, directly.
        d_final: dE/d(final state), parts [1, batch, hidden], None for 0.
        in_place: dz may overwrite the buffers.
        needs: which of `Gradients`, and last whether dE/d(first state).
    """
    x, U, W, start, (*others, h) = saved
    buffers, dh = (*others, h.view(-1, h.shape[-1])), dh.reshape(-1, dh.shape[-1])
    steps, before = _views(kernel, buffers, start, batch_sizes)
    d_state = own_state_gradients(d_final, start[0])
    dz = torch.empty_like(buffers[0])
    dq = torch.empty_like(dh) if isinstance(kernel, GRUSteps) else None
    by_step = [rows.split(list(batch_sizes)) for rows in (dh, dz, dz if dq is None else dq)]
    for step, state, dh_t, dz_t, dq_t in zip(
        *map(reversed, (steps, before, *by_step)), strict=True
    ):
        d = tuple(part[: len(dh_t)] for part in d_state)
        d[0].add_(dh_t)
        kernel.step_back(step, state, d, W, dz_t, dq_t)
    return gradients(x, U, start[0], h, dz, dq, batch_sizes, needs), d_state


def own_state_gradients(
    d_final: Sequence[Tensor | None], like: Float[Tensor, "batch hidden"]
) -> Parts:
    """dE/d(final state), to be overwritten on the way back."""
    return tuple(
        like.new_zeros(like.shape)
        if each is None
        else each[0].clone(memory_format=torch.contiguous_format)
        for each in d_final
    )


def _views(
    kernel: Steps, buffers: Parts, start: Parts, batch_sizes: Sequence[int]
) -> tuple[list[Parts], list[Parts]]:
    """The rows of every step, and the state every step starts from: views, by one split a buffer."""
    steps = list(zip(*(buffer.split(list(batch_sizes)) for buffer in buffers), strict=True))
    before = zip([start, *map(kernel.state, steps[:-1])], batch_sizes, strict=True)
    return steps, [tuple(part[:rows] for part in state) for state, rows in before]
