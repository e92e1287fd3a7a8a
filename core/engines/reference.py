"""The reference engine: a Python loop over the cell, under autograd.

All other engines must give the same results. It runs any cell, is differentiable twice, and works
under torch.func's transforms.
"""

import functools

import torch
from jaxtyping import Float, Int, Integer
from torch import Tensor

from core.cell import Cell, Inputs, State, map_state

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
        output, after = cell(inputs[t], state)
        require_step(cell, output, after)
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
        output, self._state = self.cell(_in_precision_of(self.start, x), self._state)
        require_step(self.cell, output, self._state)
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


def require_step(cell: Cell, output: Tensor, state: object) -> None:
    """Raise ValueError unless a cell returned an output of its width and all parts of its state."""
    returned = f"{type(cell).__name__}.forward returned"
    if not isinstance(state, tuple):
        raise ValueError(
            f"{returned} a {type(state).__name__} as its state, not a tuple of tensors such as (h,)"
        )
    if len(state) != len(cell.state_parts):
        raise ValueError(
            f"{returned} a state of {len(state)} tensors, but `state_parts` lists "
            f"{len(cell.state_parts)}: {', '.join(cell.state_parts)}"
        )
    if output.shape[-1] != cell.hidden_size:
        raise ValueError(
            f"{returned} an output {list(output.shape)}, not [batch, {cell.hidden_size}]"
        )


def _in_precision_of(state: State, x: Tensor) -> Tensor:
    """Floats in the precision of the state, which is the weights'; autocast casts itself."""
    if not x.is_floating_point() or torch.is_autocast_enabled(x.device.type):
        return x
    return x.to(state[0].dtype)
