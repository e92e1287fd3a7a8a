"""The character model (slides 8-9): what the next character is, given all before it.

h_t = cell(x_t, h_{t-1})            x_t one-hot, or a row of an embedding
p(x_{t+1}) = softmax(V h_t + b)     trained by cross-entropy
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.func import functional_call

from core.base_cell import State, map_state
from core.dropout import dropout, locked_dropout
from core.recurrent import with_biases
from sequences.charlm.config import Config


class CharacterModel(nn.Module):
    """A deep recurrent network (slide 10) from numbers of characters to logits of the next."""

    def __init__(self, config: Config, characters: int):
        super().__init__()
        self.dropout = config.dropout
        self.locked = config.locked_dropout
        self.weight_dropout = config.weight_dropout
        self.tied = config.tied
        self.embedding = None
        input_size = characters  # one-hot
        if config.embedding:
            self.embedding = nn.Embedding(characters, config.embedding)
            input_size = config.embedding
        if config.tied:
            input_size = config.hidden
        self.recurrent = with_biases(
            config.cell,
            input_size,
            config.hidden,
            layers=config.layers,
            dropout=config.dropout,
            locked_dropout=config.locked_dropout,
        )
        self.V = nn.Linear(config.hidden, characters)

    def forward(
        self, x: Int[Tensor, "time batch"], state: State | None = None
    ) -> tuple[Float[Tensor, "time batch characters"], State]:
        """Return the logits of the character after each, and the state to go on from."""
        inputs = (self._embedded(x), state)
        if self.training and self.weight_dropout:
            h, final = functional_call(self.recurrent, self._dropped_weights(), inputs)
        else:
            h, final = self.recurrent(*inputs)
        return self.V(self._drop(h)), final

    def initial_state(self, batch: int) -> State:
        """Zeros, a tuple (h,) or (h, c) of [layers, batch, hidden]."""
        return self.recurrent.initial_state(batch)

    def rows_of_characters(self) -> dict[str, Tensor]:
        """Return by name the weights that have a row for each character, as views of them."""
        rows = {"V.weight": self.V.weight, "V.bias": self.V.bias}
        if self.embedding is not None:
            rows["embedding.weight"] = self.embedding.weight
        elif not self.tied:  # one-hot characters: each has a column of the first U
            rows["recurrent.cells.0.0.U"] = self.recurrent.layers[0][0].U.T
        return rows

    @torch.no_grad()
    def read(
        self, x: Int[Tensor, "time batch"], state: State | None = None
    ) -> tuple[Float[Tensor, "batch characters"], State]:
        """Read characters; return log p of the next, and the state to go on from."""
        logits, final = self(x, state)
        return logits[-1].float().log_softmax(-1), map_state(Tensor.detach, final)

    def _embedded(self, x: Int[Tensor, "time batch"]) -> Tensor:
        """Return the embedding of characters; without one, the integers that stand for one-hot."""
        if self.tied:
            return self._drop(F.embedding(x, self.V.weight))
        if self.embedding is not None:
            return self._drop(self.embedding(x))
        return x

    def _drop(self, x: Float[Tensor, "time batch units"]) -> Float[Tensor, "time batch units"]:
        drop = locked_dropout if self.locked else dropout
        return drop(x, self.dropout, self.training)

    def _dropped_weights(self) -> dict[str, Tensor]:
        """Return the recurrent weights of each layer with some set to 0, for all steps of a window.

        This is DropConnect on W, the weight-dropped LSTM (Merity et al. 2018, section 2).
        """
        return {
            name: dropout(weight, self.weight_dropout)
            for name, weight in self.recurrent.named_parameters()
            if name.endswith(".W")
        }
