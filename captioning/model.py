"""The captioner: an image in, a sentence out (one-to-many, slide 17).

An encoder gives the image as a grid of cells. A linear layer and a relu bring each cell to a_i;
their mean is a. A recurrent layer writes the sentence word by word (Vinyals et al. 2015), E being
the table of words and x_t the word read, to which the concepts in the picture may be added
(`captioning.concepts.classifier`). Vinyals et al. show the image once, before the first word; here
every step reads it:

    h_0 = tanh(W_h a),  c_0 = tanh(W_c a)
    x_t = E w_{t-1} + N n                                with concepts, else E w_{t-1}
    z_t = a                                              pooled: the whole image, or
    e_ti = (K a_i)^T Q h_{t-1} / sqrt(d)                 attention (Xu et al. 2015, eqs. 4-6, 13)
    alpha_t = softmax(e_t),  z_t = sigmoid(g h_{t-1}) sum_i alpha_ti a_i
    h_t, c_t = cell([x_t, z_t], (h_{t-1}, c_{t-1}))
    p(w_t) = softmax(E (L_h h_t + L_z z_t + x_t))        deep output (eq. 7), E as for the input
                                                         (Press & Wolf 2017)

In the paper the energies e_ti come from a tanh layer, which needs a tensor [rows, cells, d] for
each word; the scaled product (Luong et al. 2015, Vaswani et al. 2017) does not.

Rows are captions. Several captions of one image stand side by side, so that what depends on the
image alone is computed once: `rows = images * captions`.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from captioning.concepts.classifier import ConceptClassifier
from captioning.config import Config
from core.base_cell import State
from core.cells import cell_class


class Projection(NamedTuple):
    """What the decoder reads of the images, computed once for all words."""

    cells: Float[Tensor, "images cells visual"]
    keys: Float[Tensor, "images cells keys"] | None
    mean: Float[Tensor, "images visual"]
    concepts: Float[Tensor, "images embedding"] | None

    def of(self, rows: Sequence[int]) -> "Projection":
        """Return what it reads of some of the images."""
        keys = None if self.keys is None else self.keys[rows]
        concepts = None if self.concepts is None else self.concepts[rows]
        return Projection(self.cells[rows], keys, self.mean[rows], concepts)


class Attention(nn.Module):
    """Soft attention over the grid, with the gate beta (Xu et al. 2015, sections 3.1.2, 4.2.1)."""

    def __init__(self, visual: int, hidden: int, units: int):
        super().__init__()
        # A bias of the keys would add the same to all cells, and softmax would cancel it.
        self.key = nn.Linear(visual, units, bias=False)
        self.query = nn.Linear(hidden, units)
        self.gate = nn.Linear(hidden, 1)

    def forward(
        self, h: Float[Tensor, "rows hidden"], projection: Projection
    ) -> tuple[Float[Tensor, "rows visual"], Float[Tensor, "rows cells"]]:
        """Return z and alpha for the state h."""
        assert projection.keys is not None
        # .shape, unlike len(), stays symbolic when the step is exported.
        images = projection.cells.shape[0]
        query = self.query(h).unflatten(0, (images, -1))
        energies = query @ projection.keys.mT * projection.keys.shape[-1] ** -0.5
        alpha = energies.softmax(-1)  # [images, captions, cells]
        z = (alpha @ projection.cells).flatten(0, 1)
        return torch.sigmoid(self.gate(h)) * z, alpha.flatten(0, 1)


class Captioner(nn.Module):
    """The decoder: from the encoder's grid to the logits of words.

    Args:
        config: its sizes.
        channels: channels of the encoder's grid.
        vocabulary: number of words.
        concepts: those that the encoder's classifier detects, used if `config.names`.
    """

    def __init__(
        self,
        config: Config,
        channels: int,
        vocabulary: int,
        concepts: ConceptClassifier | None = None,
    ):
        super().__init__()
        self.config = config
        hidden = config.hidden
        self.visual = nn.Linear(channels, config.visual)
        self.attention: Attention | None = None
        if config.attention:
            self.attention = Attention(config.visual, hidden, config.scores)
        cell = cell_class(config.cell)
        self.recurrent = cell(config.embedding + config.visual, hidden, bias=True)
        self.begin = nn.ModuleList(nn.Linear(config.visual, hidden) for _ in cell.state_parts)
        self.words = nn.Embedding(vocabulary, config.embedding)
        self.output = nn.Linear(hidden + config.visual, config.embedding)
        self.bias = nn.Parameter(torch.zeros(vocabulary))
        # The table gives the logits too: with this deviation, they have size 1.
        nn.init.normal_(self.words.weight, std=config.embedding**-0.5)
        self.concepts = concepts if config.names else None
        if self.concepts:
            # N of the equations, called "name" in checkpoints.
            self.name = nn.Linear(config.embedding, config.embedding, bias=False)
            nn.init.zeros_(self.name.weight)

    @torch.no_grad()
    def take_over(self, weights: Mapping[str, Tensor], but: tuple[str, ...] = ()) -> None:
        """Start from the weights of another captioner, whose words are the first of these.

        Further words and layers keep their initial weights; a further word starts with the mean
        bias of the others. Layers whose names begin with one of `but` begin anew.

        Raises:
            ValueError: a layer has another size.
        """
        for name, value in self.state_dict().items():
            if name not in weights or name.startswith(but):
                continue
            source = weights[name].to(value)
            added = len(value) - len(source)
            may_grow = name in ("bias", "words.weight")
            if source.shape[1:] != value.shape[1:] or added < 0 or (added and not may_grow):
                raise ValueError(f"{name} is {tuple(source.shape)} and not {tuple(value.shape)}")
            if name == "bias":
                value.fill_(source.mean())
            value[: len(source)] = source

    def project(self, features: Float[Tensor, "images cells channels"]) -> Projection:
        """Return what the decoder reads of the images, from the encoder's features.

        Where the encoder's last blocks were trained, their last row is for the classifier
        (`vision.tuning.Tail`).
        """
        concepts = None
        for_classifier = features
        if self.config.tune_blocks:
            for_classifier = features[:, -1:]
            features = features[:, :-1]
        if self.concepts:
            probabilities = self.concepts(for_classifier)
            concepts = self.name(probabilities @ self.words.weight[self.concepts.words])
        features = self._drop(features.to(self.visual.weight.dtype))
        cells = F.relu(self.visual(features))
        keys = self.attention.key(cells) if self.attention else None
        return Projection(cells, keys, cells.mean(1), concepts)

    def embed(
        self, tokens: Int[Tensor, "rows *time"], projection: Projection
    ) -> Float[Tensor, "rows *time embedding"]:
        """Return x: the embeddings of words read, plus the concepts of their image."""
        embedded = self._drop(self.words(tokens))
        if projection.concepts is None:
            return embedded
        captions = tokens.shape[0] // projection.concepts.shape[0]
        concepts = projection.concepts.repeat_interleave(captions, 0)
        return embedded + (concepts if tokens.dim() == 1 else concepts[:, None])

    def initial_state(self, projection: Projection, captions: int = 1) -> State:
        """Return the state before the first word, for `captions` captions of each image."""
        parts = []
        for layer in self.begin:
            part = torch.tanh(layer(projection.mean))
            parts.append(part.repeat_interleave(captions, 0))
        return tuple(parts)

    def step(
        self, embedded: Float[Tensor, "rows embedding"], state: State, projection: Projection
    ) -> tuple[Float[Tensor, "rows hidden_visual"], State, Float[Tensor, "rows cells"]]:
        """Read one word; return [h_t, z_t], the state, and alpha_t (uniform without attention)."""
        h = state[0]
        if self.attention:
            z, alpha = self.attention(h, projection)
        else:
            captions = h.shape[0] // projection.mean.shape[0]
            cells = projection.cells.shape[1]
            z = projection.mean.repeat_interleave(captions, 0)
            alpha = h.new_full((h.shape[0], cells), 1 / cells)
        h, state = self.recurrent(torch.cat((embedded, z), -1), state)
        return torch.cat((h, z), -1), state, alpha

    def logits(
        self,
        outputs: Float[Tensor, "*rows hidden_visual"],
        embedded: Float[Tensor, "*rows embedding"],
    ) -> Float[Tensor, "*rows vocabulary"]:
        """Return the logits of the next word."""
        hidden = self._drop(self.output(self._drop(outputs)) + embedded)
        return F.linear(hidden, self.words.weight, self.bias)

    def forward(
        self, features: Float[Tensor, "images cells channels"], tokens: Int[Tensor, "rows time"]
    ) -> tuple[
        Float[Tensor, "rows time hidden_visual"],
        Float[Tensor, "rows time embedding"],
        Float[Tensor, "rows time cells"],
    ]:
        """Teacher forcing: the arguments of `logits` after each token, and attention weights."""
        projection = self.project(features)
        state = self.initial_state(projection, len(tokens) // len(features))
        embedded = self.embed(tokens, projection)
        outputs = []
        alphas = []
        for word in embedded.unbind(1):
            output, state, alpha = self.step(word, state, projection)
            outputs.append(output)
            alphas.append(alpha)
        return torch.stack(outputs, 1), embedded, torch.stack(alphas, 1)

    def stepper(self, projection: Projection):
        """Return the step function for `core.decoding` and `core.beam`."""

        def step(
            tokens: Int[Tensor, " rows"], state: State
        ) -> tuple[Float[Tensor, "rows vocabulary"], State]:
            embedded = self.embed(tokens, projection)
            output, state, _ = self.step(embedded, state, projection)
            return self.logits(output, embedded), state

        return step

    def _drop(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.config.dropout, self.training)
