"""Cells as a user would write them, and the plain loop over one."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from core.base_cell import Cell, State
from core.cells import GRUCell, LSTMCell

TIME, BATCH, INPUT, HIDDEN = 6, 3, 5, 8


class MinimalGatedUnit(Cell):
    """Zhou et al. 2016: one gate, two rows of weights."""

    gates = 2

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        (h,) = state
        u_f, u_n = self.input_product(x).chunk(2, -1)
        W_f, W_n = self.W.chunk(2)
        f = torch.sigmoid(u_f + F.linear(h, W_f))
        n = torch.tanh(u_n + F.linear(f * h, W_n))
        h = (1 - f) * h + f * n
        return h, (h,)


class CoupledLSTM(LSTMCell):
    """Greff et al. 2017: the input gate is i = 1 - f; only `forward` is overridden."""

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        h, c = state
        _, f, g, o = (self.input_product(x) + F.linear(h, self.W)).chunk(4, -1)
        f = torch.sigmoid(f)
        c = f * c + (1 - f) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
        return h, (h, c)


class LayerNormLSTM(LSTMCell):
    """Ba et al. 2016: the preactivations are normalised, by a module of the cell's own."""

    def __init__(self, input_size: int, hidden_size: int, **options: Any):
        super().__init__(input_size, hidden_size, **options)
        self.norm = nn.LayerNorm(4 * hidden_size, dtype=self.W.dtype)

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        h, c = state
        i, f, g, o = self.norm(self.input_product(x) + F.linear(h, self.W)).chunk(4, -1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
        return h, (h, c)


class PeepholeLSTM(Cell):
    """Gers and Schmidhuber 2000: the gates see c, through a parameter of the cell's own."""

    name = "peephole"
    state_parts = ("h", "c")
    gates = 4

    def __init__(self, input_size: int, hidden_size: int, **options: Any):
        super().__init__(input_size, hidden_size, **options)
        self.p = nn.Parameter(torch.randn(3, hidden_size, dtype=self.W.dtype))

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        h, c = state
        i, f, g, o = (self.input_product(x) + F.linear(h, self.W)).chunk(4, -1)
        c_new = torch.sigmoid(f + self.p[0] * c) * c
        c_new = c_new + torch.sigmoid(i + self.p[1] * c) * torch.tanh(g)
        h = torch.sigmoid(o + self.p[2] * c_new) * torch.tanh(c_new)
        return h, (h, c_new)


class ResetBeforeGRU(GRUCell):
    """Cho et al. 2014 as printed, W (r h); only `forward` is overridden."""

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        (h,) = state
        u_r, u_z, u_n = self.input_product(x).chunk(3, -1)
        W_r, W_z, W_n = self.W.chunk(3)
        r = torch.sigmoid(u_r + F.linear(h, W_r))
        z = torch.sigmoid(u_z + F.linear(h, W_z))
        n = torch.tanh(u_n + F.linear(r * h, W_n))
        h = (1 - z) * n + z * h
        return h, (h,)


OWN = [MinimalGatedUnit, CoupledLSTM, LayerNormLSTM, PeepholeLSTM, ResetBeforeGRU]


def loop(cell: Cell, x: Tensor, state: State) -> tuple[Tensor, State]:
    outputs = []
    for x_t in x:
        output, state = cell(x_t, state)
        outputs.append(output)
    return torch.stack(outputs), state
