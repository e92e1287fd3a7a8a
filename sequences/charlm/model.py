"""The character model (slides 8-9): what the next character is, given all before it.

h_t = core(x_t, h_{t-1})            x_t one-hot, or a row of an embedding
p(x_{t+1}) = softmax(V h_t + b)     trained by cross-entropy
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from core.cells import State, map_state
from core.dropout import dropout
from core.recurrent import with_biases
from sequences.charlm.config import Config


class CharacterModel(nn.Module):
    """A deep recurrent network (slide 10) from numbers of characters to scores of the next."""

    def __init__(self, config: Config, characters: int):
        super().__init__()
        self.dropout, self.tied = config.dropout, config.tied
        self.embedding = nn.Embedding(characters, config.embedding) if config.embedding else None
        self.recurrent = with_biases(
            config.cell,
            config.hidden if config.tied else config.embedding or characters,
            config.hidden,
            layers=config.layers,
            dropout=config.dropout,
        )
        self.V = nn.Linear(config.hidden, characters)

    def forward(
        self, x: Int[Tensor, "time batch"], state: State | None = None
    ) -> tuple[Float[Tensor, "time batch characters"], State]:
        """Return the scores of the character after each, and the state to go on from."""
        h, final = self.recurrent(self._embedded(x), state)
        return self.V(dropout(h, self.dropout, self.training)), final

    def _embedded(self, x: Int[Tensor, "time batch"]) -> Tensor:
        """One-hot vectors stay numbers: `Recurrent` takes them so."""
        if self.embedding is None and not self.tied:
            return x
        embedded = F.embedding(x, self.V.weight) if self.embedding is None else self.embedding(x)
        return dropout(embedded, self.dropout, self.training)

    def initial_state(self, batch: int) -> State:
        """Zeros, a tuple (h,) or (h, c) of [layers, batch, hidden]."""
        return self.recurrent.initial_state(batch)

    @torch.no_grad()
    def read(
        self, x: Int[Tensor, "time batch"], state: State | None = None
    ) -> tuple[Float[Tensor, "batch characters"], State]:
        """Read characters; return log p of the next, and the state to go on from."""
        logits, final = self(x, state)
        return logits[-1].float().log_softmax(-1), map_state(Tensor.detach, final)
