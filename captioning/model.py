"""The captioner: an image in, a sentence out (one-to-many, slide 17).

An encoder gives the image as a grid of cells; a linear layer and a relu bring each to a_i, and their mean is a.
The recurrent core writes the sentence word by word (Vinyals et al. 2015), E being the table of words:

    h_0 = tanh(W_h a),  c_0 = tanh(W_c a)
    z_t = a                                              pooled: the whole image at every word, or
    e_ti = (K a_i)^T Q h_{t-1} / sqrt(d)                 attention (Xu et al. 2015, eqs. 4-6, 13)
    alpha_t = softmax(e_t),  z_t = sigmoid(g h_{t-1}) sum_i alpha_ti a_i
    h_t, c_t = core([E w_{t-1}, z_t], (h_{t-1}, c_{t-1}))
    p(w_t) = softmax(E (L_h h_t + L_z z_t + E w_{t-1}))  deep output (eq. 7), E as for the input (Press & Wolf 2017)

The paper scores cells by a tanh layer, which takes a tensor [rows, cells, d] for each word; the scaled product
(Luong et al. 2015, Vaswani et al. 2017) takes none.

Rows are captions. There may be several of one image; they stand side by side, so that the image's own terms are
computed once: `rows = images * captions`.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from captioning.config import Config
from core.cells import State, cell_class


class Seen(NamedTuple):
    """What the decoder knows of the images, computed once for all words."""

    cells: Float[Tensor, "images cells visual"]
    keys: Float[Tensor, "images cells scores"] | None
    mean: Float[Tensor, "images visual"]


class Attention(nn.Module):
    """Soft attention over the cells of the grid, with the gate beta (Xu et al. 2015, sections 3.1.2 and 4.2.1)."""

    def __init__(self, visual: int, hidden: int, scores: int):
        super().__init__()
        self.key = nn.Linear(
            visual, scores, bias=False
        )  # softmax takes no notice of what is the same for all cells
        self.query = nn.Linear(hidden, scores)
        self.gate = nn.Linear(hidden, 1)

    def forward(
        self, h: Float[Tensor, "rows hidden"], seen: Seen
    ) -> tuple[Float[Tensor, "rows visual"], Float[Tensor, "rows cells"]]:
        """Return z and alpha: what is looked at in state h, and where."""
        assert seen.keys is not None
        query = self.query(h).unflatten(
            0, (seen.cells.shape[0], -1)
        )  # len() would be a constant where it is exported
        alpha = (query @ seen.keys.mT * seen.keys.shape[-1] ** -0.5).softmax(
            -1
        )  # [images, captions, cells]
        z = (alpha @ seen.cells).flatten(0, 1)
        return torch.sigmoid(self.gate(h)) * z, alpha.flatten(0, 1)


class Captioner(nn.Module):
    """The decoder: from the encoder's grid to the scores of words."""

    def __init__(self, config: Config, channels: int, vocabulary: int):
        super().__init__()
        self.config = config
        hidden = config.hidden
        self.visual = nn.Linear(channels, config.visual)
        self.attention = (
            Attention(config.visual, hidden, config.scores) if config.attention else None
        )
        self.recurrent = cell_class(config.cell)(
            config.embedding + config.visual, hidden, bias=True
        )
        self.begin = nn.ModuleList(
            nn.Linear(config.visual, hidden) for _ in self.recurrent.state_parts
        )
        self.words = nn.Embedding(vocabulary, config.embedding)
        self.output = nn.Linear(hidden + config.visual, config.embedding)
        self.bias = nn.Parameter(torch.zeros(vocabulary))
        nn.init.normal_(
            self.words.weight, std=config.embedding**-0.5
        )  # it scores words too: logits of size 1

    def see(self, features: Float[Tensor, "images cells channels"]) -> Seen:
        """Bring what the encoder saw to the decoder's size."""
        features = self._drop(features.to(self.visual.weight.dtype))
        cells = F.relu(self.visual(features))
        keys = self.attention.key(cells) if self.attention else None
        return Seen(cells, keys, cells.mean(1))

    def initial_state(self, seen: Seen, captions: int = 1) -> State:
        """The state before the first word, for `captions` captions of each image."""
        return tuple(
            torch.tanh(layer(seen.mean)).repeat_interleave(captions, 0) for layer in self.begin
        )

    def step(
        self, embedded: Float[Tensor, "rows embedding"], state: State, seen: Seen
    ) -> tuple[Float[Tensor, "rows hidden_visual"], State, Float[Tensor, "rows cells"]]:
        """One word read; returns [h_t, z_t], the state, and alpha_t (uniform if there is no attention)."""
        h = state[0]
        if self.attention:
            z, alpha = self.attention(h, seen)
        else:
            captions = h.shape[0] // seen.mean.shape[0]
            z = seen.mean.repeat_interleave(captions, 0)
            alpha = h.new_full((h.shape[0], seen.cells.shape[1]), 1 / seen.cells.shape[1])
        h, state = self.recurrent(torch.cat((embedded, z), -1), state)
        return torch.cat((h, z), -1), state, alpha

    def score(
        self,
        known: Float[Tensor, "*rows hidden_visual"],
        embedded: Float[Tensor, "*rows embedding"],
    ) -> Float[Tensor, "*rows vocabulary"]:
        """Logits of the next word."""
        return F.linear(
            self._drop(self.output(self._drop(known)) + embedded), self.words.weight, self.bias
        )

    def forward(
        self, features: Float[Tensor, "images cells channels"], tokens: Int[Tensor, "rows time"]
    ) -> tuple[
        Float[Tensor, "rows time hidden_visual"], Float[Tensor, "rows time embedding"], Tensor
    ]:
        """Teacher forcing: what `score` takes after each of `tokens`, and where was looked [rows, time, cells]."""
        seen = self.see(features)
        state = self.initial_state(seen, len(tokens) // len(features))
        embedded = self._drop(self.words(tokens))
        known, alphas = [], []
        for word in embedded.unbind(1):
            both, state, alpha = self.step(word, state, seen)
            known.append(both)
            alphas.append(alpha)
        return torch.stack(known, 1), embedded, torch.stack(alphas, 1)

    def stepper(self, seen: Seen):
        """The step function of `core.decoding`, for images seen."""

        def step(
            tokens: Int[Tensor, " rows"], state: State
        ) -> tuple[Float[Tensor, "rows vocabulary"], State]:
            embedded = self.words(tokens)
            known, state, _ = self.step(embedded, state, seen)
            return self.score(known, embedded), state

        return step

    def _drop(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.config.dropout, self.training)
