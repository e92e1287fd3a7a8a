"""The reference engine: a Python loop over the cell, under autograd.

All other engines must give the same results. It runs any cell, is differentiable twice, and works
under torch.func's transforms.
"""

import torch
from jaxtyping import Bool, Float, Int, Integer
from torch import Tensor

from core.base_cell import Cell, Inputs, Output, State, map_state
from core.engines.checks import checked_step

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
    x = in_precision_of(state, x)
    start = state
    inputs = x.unbind(0)
    within = None
    if lengths is not None:
        within = torch.arange(len(x), device=x.device)[:, None] < lengths.to(x.device)
    outputs = []
    times = range(len(x))
    for t in reversed(times) if reverse else times:
        if within is None:
            output, state = checked_step(cell, inputs[t], state)
        else:
            output, state = _step_within(within[t, :, None], cell, inputs[t], state)
        outputs.append(output)
    if reverse:
        outputs.reverse()
    final = map_state(lambda end, begin: end.to(begin.dtype)[None], state, start)
    return torch.stack(outputs), final


def _step_within(
    within: Bool[Tensor, "batch 1"], cell: Cell, x: Inputs, state: State
) -> tuple[Output, State]:
    """Take one step of the sequences that have not ended; the others keep their state."""
    x = x.where(within if x.dim() == 2 else within[:, 0], 0)  # padding may hold NaN
    output, after = checked_step(cell, x, state)
    kept = map_state(lambda new, old: torch.where(within, new, old), after, state)
    return output.where(within, 0), kept


def in_precision_of(state: State, x: Tensor) -> Tensor:
    """Floats in the precision of the state, which is the weights'; autocast casts itself."""
    if not x.is_floating_point() or torch.is_autocast_enabled(x.device.type):
        return x
    return x.to(state[0].dtype)
