"""Carried state in truncated BPTT: each window of a text begins where the last one ended."""

from collections.abc import Callable

import torch
from jaxtyping import Bool
from torch import Tensor, nn

from core.base_cell import State, map_state
from core.engines.bptt import detach
from core.training import distributed


class CarriedState(nn.Module):
    """The state of every row of the batch, kept in buffers.

    As buffers it is in the checkpoint, and a resumed run goes on with it. Each process keeps that
    of all rows: one process writes the checkpoint, and a resumed run may have more or fewer.

    Args:
        initial_state: gives the first state of so many rows: parts [layers, rows, hidden], as
            `Recurrent.initial_state`.
        batch: the number of all rows.
    """

    def __init__(self, initial_state: Callable[[int], State], batch: int):
        super().__init__()
        self.initial_state = initial_state
        self.rows = distributed.rows(batch)
        state = detach(initial_state(batch))
        self.parts = len(state)
        for n, part in enumerate(state):
            self.register_buffer(f"state{n}", part)

    def before(self, reset: Bool[Tensor, "*rows"]) -> State:
        """Return the state that the last window ended with, of this process's rows; the first state
        where one begins anew.

        A first state that a cell of one's own learns has its gradient. `reset` says so for all
        rows, or for each.
        """
        reset = reset[..., None]
        kept = [self.get_buffer(f"state{n}")[:, self.rows] for n in range(self.parts)]
        first = self.initial_state(kept[0].shape[1])
        return map_state(lambda start, part: torch.where(reset, start, part), first, tuple(kept))

    def keep(self, state: State) -> None:
        """Keep the values of the state that a window ended with."""
        for n, part in enumerate(detach(state)):
            whole = torch.zeros_like(self.get_buffer(f"state{n}"))
            whole[:, self.rows] = part
            self.get_buffer(f"state{n}").copy_(distributed.all_reduce_sum(whole))
