"""The reference engine: a Python loop over the cell, under autograd.

All other engines must give the same results. It runs any cell, is differentiable twice, and works
under torch.func's transforms.
"""

import functools

import torch
from jaxtyping import Float, Int, Integer
from torch import Tensor

from core.cell import Cell, Inputs, Output, State, map_state

Sequences = Float[Tensor, "time batch input"] | Integer[Tensor, "time batch"]
Outputs = Float[Tensor, "time batch hidden"]
Lengths = Int[Tensor, " batch"]


def reference(
    cell: Cell, x: Sequences, state: State, lengths: Lengths | None = None, reverse: bool = False
) -> tuple[Outputs, State]:
    """Run the cell over time; return all outputs and the final state.

    The final state is a tuple of tensors [1, batch, hidden].

    Outputs beyond a sequence's length are 0, and its state stays what it was at its end. In reverse
    the loop goes from the last step to the first, so each sequence starts at its own end.
    """
    x = _in_precision_of(state, x)
    valid = None
    if lengths is not None:
        valid = torch.arange(len(x), device=x.device)[:, None] < lengths.to(x.device)
        x = x.where(valid if x.dim() == 2 else valid[:, :, None], 0)  # padding may hold NaN
        valid = valid[:, :, None]
    start = state
    inputs = x.unbind(0)
    outputs = []
    times = range(len(x))
    for t in reversed(times) if reverse else times:
        output, after = checked_step(cell, inputs[t], state)
        if valid is not None:
            output = torch.where(valid[t], output, 0)
            after = map_state(functools.partial(torch.where, valid[t]), after, state)
        outputs.append(output)
        state = after
    if reverse:
        outputs.reverse()
    final = map_state(lambda end, begin: end.to(begin.dtype)[None], state, start)
    return torch.stack(outputs), final


class ReferenceTape:
    """A closed loop of a cell without fast steps, with the interface of `core.engines.tape.Tape`.

    Attributes:
        start: the state before the first step.
        taken: how many steps were taken.
    """

    def __init__(self, cell: Cell, batch: int, steps: int, start: State):
        self.cell = cell
        self.start = start
        self.batch = batch
        self.steps = steps
        self.outputs: list[Tensor] = []
        self._state = map_state(Tensor.detach, start)

    @property
    def taken(self) -> int:
        """How many steps were taken."""
        return len(self.outputs)

    @torch.no_grad()
    def step(self, x: Inputs) -> Float[Tensor, "batch hidden"]:
        """Take the next step of a closed loop: h_t from x_t, without gradient.

        Raises:
            ValueError: if x_t has not as many rows as the step.
            IndexError: after the last step.
        """
        if self.taken == self.steps:
            raise IndexError(f"all {self.steps} steps of the tape are taken")
        if len(x) != self.batch:
            raise ValueError(f"{len(x)} rows for step {self.taken}, which has {self.batch}")
        x = _in_precision_of(self.start, x)
        output, self._state = checked_step(self.cell, x, self._state)
        self.outputs.append(output)
        return output

    def replay(self, x: Sequences) -> Outputs:
        """Run the recorded steps again under autograd.

        Raises:
            ValueError: if the outputs are not those recorded: other inputs or weights, or a cell
                with randomness.
        """
        outputs, _ = reference(self.cell, x, self.start)
        recorded = torch.stack(self.outputs)
        same = (outputs == recorded) | (outputs.isnan() & recorded.isnan())
        if not same.all():
            raise ValueError(
                "the cell gives other outputs than those recorded: its inputs or weights have "
                "changed, or it draws random numbers"
            )
        return outputs


def checked_step(cell: Cell, x: Inputs, state: State) -> tuple[Output, State]:
    """Take one step of a cell.

    Raises:
        ValueError: unless the cell returned a pair: its output [batch, hidden], and all parts of
            its state in the shapes that they had.
    """
    step = cell(x, state)
    if not isinstance(step, tuple) or len(step) != 2:
        raise _returned(cell, f"{_kind(step)}, not a pair: the output and the state")
    output, after = step
    _require_output(cell, output, x.shape[0])
    _require_state(cell, after, state)
    return output, after


def _require_output(cell: Cell, output: object, batch: int) -> None:
    expected = (batch, cell.hidden_size)
    if not isinstance(output, Tensor):
        raise _returned(cell, f"{_kind(output)} as its output, not a tensor {list(expected)}")
    if output.shape != expected:
        raise _returned(cell, f"an output {list(output.shape)}, not {list(expected)}")


def _require_state(cell: Cell, state: object, before: State) -> None:
    names = cell.state_parts
    if not isinstance(state, tuple):
        raise _returned(cell, f"{_kind(state)} as its state, not a tuple of tensors such as (h,)")
    if len(state) != len(names):
        listed = f"`state_parts` lists {len(names)}: {', '.join(names)}"
        raise _returned(cell, f"a state of {len(state)} tensors, but {listed}")
    for name, part, old in zip(names, state, before, strict=True):
        if not isinstance(part, Tensor):
            raise _returned(cell, f"{_kind(part)} as {name}, a part of its state, not a tensor")
        if part.shape != old.shape:
            shapes = f"{list(part.shape)}, which was {list(old.shape)} before"
            raise _returned(cell, f"a state with {name} of the shape {shapes}")


def _returned(cell: Cell, what: str) -> ValueError:
    return ValueError(f"{type(cell).__name__}.forward returned {what}")


def _kind(value: object) -> str:
    """A value of the wrong type, in words for a message."""
    if value is None:
        return "None"
    if isinstance(value, tuple):
        return f"a tuple of {len(value)}"
    return f"a {type(value).__name__}"


def _in_precision_of(state: State, x: Tensor) -> Tensor:
    """Floats in the precision of the state, which is the weights'; autocast casts itself."""
    if not x.is_floating_point() or torch.is_autocast_enabled(x.device.type):
        return x
    return x.to(state[0].dtype)
