"""RNNCell, LSTMCell and GRUCell: one step of a recurrent network, written as its equations.

    cell = LSTMCell(input_size=10, hidden_size=32)
    state = cell.initial_state(batch)      # h_0 = 0
    output, (h, c) = cell(x, state)        # x [batch, input]; output [batch, hidden]

What they share is in `core.base_cell`. Gates are stacked in the order of torch.nn.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from core.activations import ACTIVATIONS
from core.activations import activation as _named
from core.base_cell import Cell, Inputs, Output, State

_tanh = ACTIVATIONS["tanh"]
_sigmoid = ACTIVATIONS["sigmoid"]
_relu = ACTIVATIONS["relu"]


class RNNCell(Cell):
    """The plain recurrent cell (slide 3).

        h_t = sigma(U x_t + W h_{t-1} + b)

        cell = RNNCell(10, 32, activation="relu")
        output, (h,) = cell(x, cell.initial_state(len(x)))

    Raises:
        ValueError: for an unknown activation; see also `Cell`.
    """

    name = "rnn"
    gates = 1

    def __init__(
        self, input_size: int, hidden_size: int, *, activation: str = "tanh", **options: Any
    ):
        super().__init__(input_size, hidden_size, **options)
        self.sigma = _named(activation)

    def forward(self, x: Inputs, state: State) -> tuple[Output, State]:
        """One step: x_t, (h_{t-1},) -> h_t, (h_t,)."""
        (h,) = state
        h = self.sigma(self.input_product(x) + F.linear(h, self.W))
        return h, (h,)

    def torch_function(self) -> Callable[..., Any] | None:
        """torch.nn.RNN's function if the activation is tanh or relu, else None."""
        functions = {_tanh: torch.rnn_tanh, _relu: torch.rnn_relu}
        return functions.get(self.sigma)


class LSTMCell(Cell):
    """Long short-term memory without peepholes (slide 28).

    Hochreiter & Schmidhuber 1997; forget gate by Gers et al. 2000.

        i = sigma_g(U_i x_t + W_i h_{t-1} + b_i)     input gate; f and o likewise
        g = sigma_c(U_g x_t + W_g h_{t-1} + b_g)     candidate, the slides' C~
        c_t = f * c_{t-1} + i * g
        h_t = o * sigma_h(c_t)

        cell = LSTMCell(10, 32, bias=True, forget_bias=1.0)
        output, (h, c) = cell(x, cell.initial_state(len(x)))

    The gates are in the order i f g o. `gate_activation` is the slides' sigma_g, `cell_activation`
    sigma_c, `output_activation` sigma_h.

    Args:
        forget_bias: initial value of the forget gate's bias: about 1 keeps the memory, and the
            gradient, from the first update on (Jozefowicz et al. 2015). It needs `bias=True`.

    Raises:
        ValueError: for an unknown activation, or `forget_bias` without a bias; see also `Cell`.
    """

    name = "lstm"
    state_parts = ("h", "c")
    gates = 4

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        gate_activation: str = "sigmoid",
        cell_activation: str = "tanh",
        output_activation: str = "tanh",
        forget_bias: float | None = None,
        **options: Any,
    ):
        if forget_bias is not None and not options.get("bias"):
            raise ValueError("forget_bias is the initial value of a bias: give bias=True too")
        self.forget_bias = forget_bias
        super().__init__(input_size, hidden_size, **options)
        self.sigma_g = _named(gate_activation)
        self.sigma_c = _named(cell_activation)
        self.sigma_h = _named(output_activation)

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw new initial values, then set the forget gate's bias."""
        super().reset_parameters()
        if self.b is not None and self.forget_bias is not None:
            self.b[self.hidden_size : 2 * self.hidden_size] = self.forget_bias

    def forward(self, x: Inputs, state: State) -> tuple[Output, State]:
        """One step: x_t, (h_{t-1}, c_{t-1}) -> h_t, (h_t, c_t)."""
        h, c = state
        i, f, g, o = (self.input_product(x) + F.linear(h, self.W)).chunk(4, -1)
        i = self.sigma_g(i)
        f = self.sigma_g(f)
        g = self.sigma_c(g)
        o = self.sigma_g(o)
        c = f * c + i * g
        h = o * self.sigma_h(c)
        return h, (h, c)

    def torch_function(self) -> Callable[..., Any] | None:
        """torch.nn.LSTM's function if the activations are its own, else None."""
        usual = self.sigma_g is _sigmoid and self.sigma_c is _tanh and self.sigma_h is _tanh
        return torch.lstm if usual else None


class GRUCell(Cell):
    """Gated recurrent unit (Cho et al. 2014) in the reset-after form of torch.nn and cuDNN.

        r = sigma_g(U_r x_t + W_r h_{t-1} + b_r)                    reset gate
        z = sigma_g(U_z x_t + W_z h_{t-1} + b_z)                    update gate
        n = sigma_c(U_n x_t + b_n + r * (W_n h_{t-1} + b_W))        candidate
        h_t = (1 - z) * n + z * h_{t-1}

        cell = GRUCell(10, 32, bias=True)
        output, (h,) = cell(x, cell.initial_state(len(x)))

    The reset gate multiplies the product; the paper has W_n (r * h_{t-1}). The gates are in the
    order r z n.

    Raises:
        ValueError: for an unknown activation; see also `Cell`.
    """

    name = "gru"
    gates = 3
    has_recurrent_bias = True

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        gate_activation: str = "sigmoid",
        cell_activation: str = "tanh",
        **options: Any,
    ):
        super().__init__(input_size, hidden_size, **options)
        self.sigma_g = _named(gate_activation)
        self.sigma_c = _named(cell_activation)

    def forward(self, x: Inputs, state: State) -> tuple[Output, State]:
        """One step: x_t, (h_{t-1},) -> h_t, (h_t,)."""
        (h,) = state
        u_r, u_z, u_n = self.input_product(x).chunk(3, -1)
        w_r, w_z, w_n = F.linear(h, self.W).chunk(3, -1)
        if self.b_W is not None:
            w_n = w_n + self.b_W
        r = self.sigma_g(u_r + w_r)
        z = self.sigma_g(u_z + w_z)
        n = self.sigma_c(u_n + r * w_n)
        h = (1 - z) * n + z * h
        return h, (h,)

    def torch_function(self) -> Callable[..., Any] | None:
        """torch.nn.GRU's function if the activations are its own, else None."""
        usual = self.sigma_g is _sigmoid and self.sigma_c is _tanh
        return torch.gru if usual else None


CELLS: dict[str, type[Cell]] = {cell.name: cell for cell in (RNNCell, LSTMCell, GRUCell)}


def cell_class(cell: str | type[Cell]) -> type[Cell]:
    """The class of a cell, given its name in `CELLS` or the class itself; else ValueError."""
    if isinstance(cell, str):
        if cell not in CELLS:
            raise ValueError(f"unknown name {cell!r}; choose one of {', '.join(CELLS)}")
        return CELLS[cell]
    if not (isinstance(cell, type) and issubclass(cell, Cell)):
        raise ValueError(
            f"{cell!r} is neither the name of a cell nor a subclass of core.base_cell.Cell"
        )
    return cell
