"""The tape of a pass over a sequence: what the pass forward leaves behind and the pass back reads.

`Tape` runs the steps of `core.sequence_kernels` in torch, `CompiledTape` those of core/kernel.c; `tape_for` takes
the second where it can. Each comes with the pass back, as a function that holds no tensors: `way_back`.
"""

import functools
from collections.abc import Callable, Sequence
from itertools import accumulate, pairwise

import torch
from jaxtyping import Float, Integer
from torch import Tensor

from core import compiled
from core.cells import Cell, Inputs, State
from core.sequence_kernels import GRUKernel, Kernel

Rows = Float[Tensor, "rows input"] | Integer[Tensor, " rows"]  # the inputs of all steps, one step after another
Parts = tuple[Tensor, ...]
# (start, buffers, W, dE/dh of each row, dE/d(final), in_place, asked) -> dz, of the GRU dq: in place of dE/d(final)
# with dE/d(start), if that is asked for; in place, dz overwrites the tape
WayBack = Callable[[Parts, Parts, Tensor, Tensor, Parts, bool, bool], tuple[Tensor, Tensor | None]]


class Tape:
    """The values of one pass over a sequence, as the pass back needs them; they carry no gradient.

    Step t holds `batch_sizes[t]` rows, which may fall but not rise with t: sequences are sorted by falling
    length and each leaves the batch where it ends. The buffers are allocated once, for all steps.

    Attributes:
        buffers: the first holds the preactivations, the last h, [rows, ...] each.
        start: the state before the first step.
        taken: how many steps were taken.
        lease: keeps the buffers from being used for another tape; None where they are this tape's alone.
    """

    lease: compiled.Lease | None = None

    def __init__(self, cell: Cell, batch_sizes: Sequence[int], state: State):
        self.kernel: Kernel = cell.kernel
        self.batch_sizes = list(batch_sizes)
        self.firsts = [0, *accumulate(batch_sizes)]  # the first row of each step
        self.start: Parts = state if isinstance(state, tuple) else (state,)
        self._first = tuple(part.detach() for part in self.start)
        self.taken = 0
        self._U_T, self._W = cell.U.detach().t(), cell.W.detach()
        self._b, self._b_W = (None if b is None else b.detach() for b in (cell.b, cell.b_W))
        self.buffers = self._allocate(cell)

    def step(self, x: Inputs) -> Float[Tensor, "batch hidden"]:
        """Take the next step of a closed loop: h_t from x_t, without gradient."""
        self._input_product(x.detach(), self.place())
        return self.advance()

    def place(self) -> Float[Tensor, "batch gates_hidden"]:
        """Where U x_t + b of the next step belongs: who computes it himself takes the step by `advance`."""
        return self.buffers[0][self.firsts[self.taken] : self.firsts[self.taken + 1]]

    def advance(self) -> Float[Tensor, "batch hidden"]:
        """Take the next step, U x_t + b being in its place: h_t."""
        self._advance(1)
        return self.buffers[-1][self.firsts[self.taken - 1] : self.firsts[self.taken]]

    def run(self, x: Rows) -> None:
        """Take all steps, their inputs being known: U x_t of every step is one product before the loop."""
        self._input_product(x.detach(), self.buffers[0])
        self._advance(len(self.batch_sizes))

    def final(self) -> Parts:
        """Each sequence's state at its own end [batch, hidden]; without a step, its first state."""
        state, last = self.kernel.state(self.buffers), self.batch_sizes[-1] if self.batch_sizes else 0
        if last == len(self.start[0]):
            return tuple(part[-last:].clone() for part in state)
        final = tuple(part.clone() for part in self._first)
        for first, (rows, later) in zip(self.firsts, pairwise([*self.batch_sizes, 0]), strict=False):
            if rows > later:
                for end, part in zip(final, state, strict=True):
                    end[later:rows] = part[first + later : first + rows]
        return final

    @property
    def way_back(self) -> WayBack:
        """The pass back over a tape like this one."""
        return functools.partial(_back, self.kernel, self.batch_sizes)

    def _allocate(self, cell: Cell) -> Parts:
        buffers = self.kernel.buffers(self.firsts[-1], cell.W)
        self._steps, self._before = _views(self.kernel, buffers, self._first, self.batch_sizes)
        self._W_T = self._W.t().contiguous()  # the product of every step reads it: lay it out once
        return buffers

    def _input_product(self, x: Tensor, out: Tensor) -> None:
        if x.is_floating_point():
            x = x.to(out.dtype)
            torch.mm(x, self._U_T, out=out) if self._b is None else torch.addmm(self._b, x, self._U_T, out=out)
        else:  # the product of U and a one-hot vector is a column of U
            columns = self._U_T if len(x) < len(self._U_T) else self._U_T.contiguous()
            torch.index_select(columns, 0, x.long(), out=out)
            if self._b is not None:
                out += self._b

    def _advance(self, steps: int) -> None:
        for t in range(self.taken, self.taken + steps):
            self.kernel.step(self._steps[t], self._before[t], self._W_T, self._b_W)
        self.taken += steps


def _back(
    kernel: Kernel,
    batch_sizes: list[int],
    start: Parts,
    buffers: Parts,
    W: Tensor,
    dh: Tensor,
    d_state: Parts,
    *_: bool,
) -> tuple[Tensor, Tensor | None]:
    steps, before = _views(kernel, buffers, start, batch_sizes)
    dz = torch.empty_like(buffers[0])
    dq = torch.empty_like(dh) if isinstance(kernel, GRUKernel) else None
    by_step = [rows.split(batch_sizes) for rows in (dh, dz, dz if dq is None else dq)]
    for step, state, dh_t, dz_t, dq_t in zip(*map(reversed, (steps, before, *by_step)), strict=True):
        d = tuple(part[: len(dh_t)] for part in d_state)
        d[0].add_(dh_t)
        kernel.step_back(step, state, d, W, dz_t, dq_t)
    return dz, dq


def _views(kernel: Kernel, buffers: Parts, start: Parts, batch_sizes: list[int]) -> tuple[list[Parts], list[Parts]]:
    """The rows of every step, and the state every step starts from: views, by one split a buffer."""
    steps = list(zip(*(buffer.split(batch_sizes) for buffer in buffers), strict=True))
    before = zip([start, *map(kernel.state, steps[:-1])], batch_sizes, strict=True)
    return steps, [tuple(part[:rows] for part in state) for state, rows in before]


class CompiledTape(Tape):
    """A tape whose steps are taken by core/kernel.c; the buffers are those of `compiled.buffers`."""

    @property
    def way_back(self) -> WayBack:
        """The pass back over a tape like this one."""
        return functools.partial(compiled.backward, self.kernel, self.batch_sizes)

    def run(self, x: Rows) -> None:
        """As `Tape.run`; rows of a table of U x_t + b are read where they are needed."""
        if x.is_floating_point() or len(x) < len(self._U_T):
            super().run(x)
        else:  # the kernel gathers the columns of U where it needs them
            self._layer.gather(x, self._U_T if self._b is None else self._U_T + self._b)
            self._advance(len(self.batch_sizes))

    def _allocate(self, cell: Cell) -> Parts:
        self._first = tuple(part.contiguous() for part in self._first)
        buffers, self.lease = compiled.buffers(cell, self.firsts[-1])
        self._layer = compiled.Forward(self.kernel, buffers, self.batch_sizes, self._W, self._b_W)
        return buffers

    def _advance(self, steps: int) -> None:
        self._layer.run(self._first, self.taken, steps)
        self.taken += steps


def tape_for(cell: Cell, batch_sizes: Sequence[int], state: State) -> Tape:
    """The tape of the fastest steps that can do the work."""
    return (CompiledTape if compiled.serves(cell, state) else Tape)(cell, batch_sizes, state)
