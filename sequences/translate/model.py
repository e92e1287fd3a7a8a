"""The translator: a sentence in, another of another length out (slides 17-18).

The encoder reads the source x_1..x_S in both directions, the decoder writes y_1..y_T. E is the
target's table of embeddings, e their size, d the units of the decoder:

    m_i = [forward h_i, backward h_i]                 Bahdanau et al. (2015, section 3.2)
    h_0 = tanh(B_h [forward h_S, backward h_1])       layer by layer; both directions' last states,
    c_0 = B_c [forward c_S, backward c_1]             and c of an LSTM only
    h_t, c_t = cell(sqrt(e) E y_{t-1}, (h_{t-1}, c_{t-1}))
    a_ti = h_t^T K m_i / sqrt(d)                      "general" (Luong et al. 2015, eqs. 7-8)
    alpha_t = softmax(a_t),  z_t = sum_i alpha_ti m_i
    o_t = tanh(W [h_t, z_t])                          (eq. 5); without attention tanh(W h_t)
    p(y_t) = softmax(E o_t + b)                       tied to the input (Press and Wolf 2017)

Attention comes after the recurrence and feeds nothing back, so in training the decoder reads the
whole target in one call of `Recurrent`. With `input_feeding` it reads
[sqrt(e) E y_{t-1}, o_{t-1}] (section 3.3), step by step.

Sequences are time-first. In beam search each source has several rows, side by side:
`rows = sources * width`.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from core.base_cell import State, map_state
from core.decoding import Step
from core.recurrent import Recurrent
from sequences.translate.config import Config


class Memory(NamedTuple):
    """What the decoder attends to, computed once for all steps."""

    words: Float[Tensor, "sources places encoded"]
    keys: Float[Tensor, "sources places hidden"]
    padding: Bool[Tensor, "sources 1 places"]


class Translator(nn.Module):
    """Encoder and decoder, with attention between them or without."""

    def __init__(self, config: Config, source_size: int, target_size: int):
        super().__init__()
        self.config = config
        size, hidden, layers = config.embedding, config.hidden, config.layers
        self.target = nn.Embedding(target_size, size)
        self.source = nn.Embedding(source_size, size)
        for table in (self.source, self.target):
            nn.init.normal_(table.weight, std=size**-0.5)  # so that logits are of size 1
        options = {"layers": layers, "dropout": config.dropout, "bias": True}
        self.encoder = Recurrent(config.cell, size, hidden // 2, bidirectional=True, **options)
        self.decoder = Recurrent(config.cell, size * (1 + config.input_feeding), hidden, **options)
        parts = self.decoder.layers[0][0].state_parts
        self.begin = nn.ModuleList(nn.Linear(hidden, hidden) for _ in parts)
        self.key = nn.Linear(hidden, hidden, bias=False) if config.attention else None
        self.output = nn.Linear(hidden * (1 + config.attention), size)
        self.bias = nn.Parameter(torch.zeros(target_size))

    def encode(
        self, source: Int[Tensor, "places sources"], lengths: Int[Tensor, " sources"]
    ) -> tuple[Memory, State]:
        """Read the sources; return the memory and the decoder's state [layers, sources, hidden]."""
        outputs, final = self.encoder(self._embed(self.source, source), lengths=lengths)
        words = self._drop(outputs.transpose(0, 1))
        keys = self.key(words) if self.key else words
        places = torch.arange(len(source), device=source.device)
        padding = places >= lengths.to(source.device)[:, None]
        return Memory(words, keys, padding[:, None]), self._begin(final)

    def forward(
        self,
        source: Int[Tensor, "places sources"],
        lengths: Int[Tensor, " sources"],
        read: Int[Tensor, "time sources"],
    ) -> tuple[Float[Tensor, "sources time embedding"], Float[Tensor, "sources time places"]]:
        """Return o_t and alpha_t after each subword of `read` (teacher forcing)."""
        memory, state = self.encode(source, lengths)
        embedded = self._embed(self.target, read)
        if self.config.input_feeding:
            return self._with_input_feeding(embedded, state, memory)
        h, _ = self.decoder(embedded, state)
        return self._attend(h.transpose(0, 1), memory)

    def logits(self, o: Float[Tensor, "*rows embedding"]) -> Float[Tensor, "*rows vocabulary"]:
        """Return the logits of the next subword."""
        return F.linear(o, self.target.weight, self.bias)

    def initial_state(self, state: State) -> State:
        """Return the state for `core.decoding`, rows first, from that of `encode`."""
        first = map_state(lambda part: part.transpose(0, 1), state)
        h = first[0]
        return *first, h.new_zeros(len(h), self.config.embedding)

    def stepper(self, memory: Memory) -> Step:
        """Return the step function of `core.decoding` for sources that were read."""

        def step(
            tokens: Int[Tensor, " rows"], state: State
        ) -> tuple[Float[Tensor, "rows vocabulary"], State]:
            *inner, o = state
            x = self._embed(self.target, tokens[None])
            if self.config.input_feeding:
                x = torch.cat((x, o[None]), -1)
            h, inner = self.decoder(x, tuple(part.transpose(0, 1).contiguous() for part in inner))
            o, _ = self._attend(h[0].unflatten(0, (len(memory.words), -1)), memory)
            o = o.flatten(0, 1)
            return self.logits(o), (*map_state(lambda part: part.transpose(0, 1), inner), o)

        return step

    def _with_input_feeding(
        self, embedded: Float[Tensor, "time sources embedding"], state: State, memory: Memory
    ) -> tuple[Tensor, Tensor]:
        o = embedded.new_zeros(embedded.shape[1:])
        written = []
        alphas = []
        for word in embedded.unbind(0):
            h, state = self.decoder(torch.cat((word, o), -1)[None], state)
            outputs, alpha = self._attend(h.transpose(0, 1), memory)
            o = outputs[:, 0]
            written.append(o)
            alphas.append(alpha)
        return torch.stack(written, 1), torch.cat(alphas, 1)

    def _attend(
        self, h: Float[Tensor, "sources times hidden"], memory: Memory
    ) -> tuple[Float[Tensor, "sources times embedding"], Float[Tensor, "sources times places"]]:
        """Return o and alpha; alpha is uniform without attention."""
        h = self._drop(h)
        energies = h.new_zeros(1)
        if self.key:
            energies = h @ memory.keys.mT * memory.keys.shape[-1] ** -0.5
        alpha = torch.where(memory.padding, -torch.inf, energies).softmax(-1)
        combined = torch.cat((h, alpha @ memory.words), -1) if self.key else h
        o = self._drop(torch.tanh(self.output(combined)))
        return o, alpha.expand(-1, h.shape[1], -1)

    def _begin(self, final: State) -> State:
        """Return the decoder's first state, from both directions of each layer of the encoder."""
        joined = [part.unflatten(0, (-1, 2)).transpose(1, 2).flatten(2) for part in final]
        h, *c = (layer(part) for layer, part in zip(self.begin, joined, strict=True))
        return torch.tanh(h), *c

    def _embed(
        self, table: nn.Embedding, tokens: Int[Tensor, "time rows"]
    ) -> Float[Tensor, "time rows embedding"]:
        scale = self.config.embedding**0.5  # to units of size 1 (Vaswani et al. 2017)
        return self._drop(table(tokens) * scale)

    def _drop(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.config.dropout, self.training)
