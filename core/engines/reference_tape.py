"""A closed loop of a cell of the user's own, recorded and run again under autograd."""

import torch
from jaxtyping import Float
from torch import Tensor

from core.base_cell import Cell, Inputs, State, map_state
from core.engines.checks import checked_step
from core.engines.reference import Outputs, Sequences, in_precision_of, reference


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
        x = in_precision_of(self.start, x)
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
