"""Sequences of several lengths as rows without padding: the batch shrinks as they end."""

from collections.abc import Callable

import torch
from torch import Tensor

from core.base_cell import State, map_state
from core.engines.reference import Lengths, Outputs, Sequences
from core.engines.steps import FastCell

RunRows = Callable[[FastCell, list[int], Tensor, State], tuple[Tensor, State]]


def over_rows(
    run: RunRows,
    fast: FastCell,
    x: Sequences,
    state: State,
    lengths: Lengths | None,
    reverse: bool,
) -> tuple[Outputs, State]:
    """Apply `run` to the valid rows of x, step after step, the longest sequence first.

    `run(fast, batch_sizes, rows, state)` returns the outputs of the rows and the final state.
    """
    time, batch = x.shape[:2]
    if lengths is None:
        if not reverse:
            return run(fast, [batch] * time, x, state)
        outputs, final = run(fast, [batch] * time, x.flip(0), state)
        return outputs.flip(0), final

    hidden = fast.cell.hidden_size
    rows, order, batch_sizes = _valid_rows(lengths.cpu(), batch, reverse)
    if not batch_sizes:
        zeros = fast.weights.U.new_zeros(time, batch, hidden)
        return zeros, map_state(lambda part: part[None], state)
    rows = rows.to(x.device)
    order = order.to(x.device)
    ordered = map_state(lambda part: part[order], state)
    valid_outputs, final = run(fast, batch_sizes, x.flatten(0, 1)[rows], ordered)
    outputs = valid_outputs.new_zeros(time * batch, hidden).index_copy(0, rows, valid_outputs)
    back = order.argsort()
    return outputs.unflatten(0, (time, batch)), map_state(lambda part: part[:, back], final)


def _valid_rows(lengths: Lengths, batch: int, reverse: bool) -> tuple[Tensor, Tensor, list[int]]:
    """Return the indices t * batch + b of valid rows, the sequences' order, and batch sizes."""
    lengths, order = lengths.sort(descending=True, stable=True)
    t = torch.arange(int(lengths[0]))[:, None]
    valid = t < lengths
    batch_sizes = valid.sum(1).tolist()
    if reverse:
        t = lengths - 1 - t
    return (t * batch + order)[valid], order, batch_sizes
