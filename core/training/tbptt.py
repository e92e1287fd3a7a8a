"""Carried state in truncated BPTT: each window of a text begins where the last one ended."""

import torch
from jaxtyping import Bool
from torch import Tensor, nn

from core.base_cell import State
from core.engines.bptt import detach
from core.training import distributed


class CarriedState(nn.Module):
    """The state of every row of the batch, kept in buffers.

    As buffers it is in the checkpoint, and a resumed run goes on with it. Each process keeps that
    of all rows: one process writes the checkpoint, and a resumed run may have more or fewer.

    Args:
        state: the first, of all rows: parts [layers, batch, hidden], as `Recurrent.initial_state`
            gives them.
    """

    def __init__(self, state: State):
        super().__init__()
        self.parts = len(state)
        self.rows = distributed.rows(state[0].shape[1])
        for n, part in enumerate(state):
            self.register_buffer(f"state{n}", part)

    def before(self, reset: Bool[Tensor, "*rows"]) -> State:
        """Return the state that the last window ended with, of this process's rows; zeros where one
        begins anew.

        `reset` says so for all rows, or for each.
        """
        reset = reset[..., None]
        return tuple(
            torch.where(reset, 0.0, self.get_buffer(f"state{n}")[:, self.rows])
            for n in range(self.parts)
        )

    def keep(self, state: State) -> None:
        """Keep the values of the state that a window ended with."""
        for n, part in enumerate(detach(state)):
            whole = torch.zeros_like(self.get_buffer(f"state{n}"))
            whole[:, self.rows] = part
            self.get_buffer(f"state{n}").copy_(distributed.all_reduce_sum(whole))
