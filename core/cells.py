"""One step of a recurrent network: RNNCell, LSTMCell and GRUCell, written as their equations.

    state = cell.initial_state(batch)      # h_0 = 0
    output, state = cell(x, state)         # the state is h; for the LSTM the pair (h, c)

U multiplies the input and W the previous output, as on the slides; both stack the gates along their first
dimension in the order of torch.nn. There is no bias unless asked for. Inputs that are integers (characters,
words) stand for one-hot vectors: U x_t is then a column of U, and none is multiplied.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Integer
from torch import Tensor, nn

from core.activations import activation as named
from core.engines.steps import GRUKernel, LSTMKernel, RNNKernel

Inputs = Float[Tensor, "batch input"] | Integer[Tensor, " batch"]
State = Any  # h [batch, hidden], or for the LSTM the tuple (h, c)
INITIALISATIONS = ("uniform", "orthogonal", "small")


def map_state(function: Callable[..., Tensor], *states: State) -> State:
    """`function` of each part of a state (or of the like parts of several): of h, or of h and of c."""
    if isinstance(states[0], tuple):
        return tuple(map_state(function, *parts) for parts in zip(*states, strict=True))
    return function(*states)


class Cell(nn.Module):
    """What the three cells share: parameters, their first values, the zero state.

    Attributes:
        U: input weights [gates * hidden, input].
        W: recurrent weights [gates * hidden, hidden].
        b: bias [gates * hidden], or None.
        b_W: the GRU's bias inside the reset product [hidden], or None.
        kernel: the same step written for buffers (`core.engines.steps`).

    Args:
        input_size: M, the width of x_t.
        hidden_size: H, the width of h_t.
        bias: adds b to every preactivation.
        initialisation: "uniform": everything from U(-1/sqrt(H), 1/sqrt(H)), as torch.nn; "orthogonal": W
            orthogonal gate by gate (Saxe et al. 2014), U Xavier-uniform (Glorot & Bengio 2010), bias 0;
            "small": the lecture's values close to 0 (slide 24), here N(0, 0.01^2), bias 0.

    Raises:
        ValueError: for an unknown activation or initialisation, or a size below 1.
    """

    gates: int
    recurrent_bias = False
    kernel: Any

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        bias: bool = False,
        initialisation: str = "uniform",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        if initialisation not in INITIALISATIONS:
            raise ValueError(
                f"unknown initialisation {initialisation!r}; choose one of {INITIALISATIONS}"
            )
        if input_size < 1 or hidden_size < 1:
            raise ValueError(
                f"input_size={input_size} and hidden_size={hidden_size} must be at least 1"
            )
        self.input_size, self.hidden_size, self.initialisation = (
            input_size,
            hidden_size,
            initialisation,
        )

        def parameter(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.empty(shape, device=device, dtype=dtype))

        rows = self.gates * hidden_size
        self.U = parameter(rows, input_size)
        self.W = parameter(rows, hidden_size)
        self.b = parameter(rows) if bias else None
        self.b_W = parameter(hidden_size) if bias and self.recurrent_bias else None
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw the first values again."""
        for parameter in self.parameters():
            if self.initialisation == "uniform":
                bound = 1 / math.sqrt(self.hidden_size)
                parameter.uniform_(-bound, bound)
            elif parameter.dim() == 1:
                parameter.zero_()
            elif self.initialisation == "small":
                parameter.normal_(std=0.01)
            else:
                draw = nn.init.orthogonal_ if parameter is self.W else nn.init.xavier_uniform_
                for gate in parameter.chunk(self.gates):
                    draw(gate)

    def initial_state(self, batch: int) -> State:
        """h_0 = 0 (slide 5): zeros [batch, hidden]; for the LSTM also c_0 = 0."""
        return self.W.new_zeros(batch, self.hidden_size)

    def input_product(self, x: Inputs) -> Float[Tensor, "batch gates_hidden"]:
        """U x_t + b; of integers x_t within 0..input_size - 1, the columns of U at x_t, plus b."""
        if x.is_floating_point():
            return F.linear(x, self.U, self.b)
        columns = F.embedding(x.long(), self.U.t())
        return columns if self.b is None else columns + self.b

    def extra_repr(self) -> str:
        """Sizes, for print(model)."""
        return f"{self.input_size}, {self.hidden_size}, bias={self.b is not None}"


class RNNCell(Cell):
    """The plain recurrent cell, h_t = sigma(U x_t + W h_{t-1}) (slide 3)."""

    gates = 1

    def __init__(
        self, input_size: int, hidden_size: int, *, activation: str = "tanh", **options: Any
    ):
        super().__init__(input_size, hidden_size, **options)
        self.kernel = RNNKernel(named(activation))

    def forward(self, x: Inputs, state: State) -> tuple[Float[Tensor, "batch hidden"], State]:
        """One step: x_t, h_{t-1} -> h_t, h_t."""
        h = self.kernel.sigma(self.input_product(x) + F.linear(state, self.W))
        return h, h


class LSTMCell(Cell):
    """Long short-term memory without peepholes (slide 28; Hochreiter & Schmidhuber 1997, Gers et al. 2000).

    Gates in the order i f g o, g being the slides' C~. `gate_activation` is their sigma_g, `cell_activation`
    sigma_c, `output_activation` sigma_h. `forget_bias` sets the forget gate's first bias: about 1 keeps the
    memory, and the gradient, from the first update on (Jozefowicz et al. 2015). It needs `bias=True`, else
    ValueError.
    """

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
            raise ValueError("forget_bias is the first value of a bias: give bias=True too")
        self.forget_bias = forget_bias
        super().__init__(input_size, hidden_size, **options)
        self.kernel = LSTMKernel(
            named(gate_activation), named(cell_activation), named(output_activation)
        )

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw the first values again, then the forget gate's bias."""
        super().reset_parameters()
        if self.b is not None and self.forget_bias is not None:
            self.b[self.hidden_size : 2 * self.hidden_size] = self.forget_bias

    def initial_state(self, batch: int) -> State:
        """(h_0, c_0) = 0, each [batch, hidden]."""
        return super().initial_state(batch), super().initial_state(batch)

    def forward(self, x: Inputs, state: State) -> tuple[Float[Tensor, "batch hidden"], State]:
        """One step: x_t, (h_{t-1}, c_{t-1}) -> h_t, (h_t, c_t)."""
        h, c = state
        sigma_g, sigma_c, sigma_h = self.kernel.sigma_g, self.kernel.sigma_c, self.kernel.sigma_h
        i, f, g, o = (self.input_product(x) + F.linear(h, self.W)).chunk(4, -1)
        i, f, g, o = sigma_g(i), sigma_g(f), sigma_c(g), sigma_g(o)
        c = f * c + i * g
        h = o * sigma_h(c)
        return h, (h, c)


class GRUCell(Cell):
    """Gated recurrent unit (Cho et al. 2014) in the reset-after form that torch.nn and cuDNN compute.

    The reset gate multiplies the product: n = sigma_c(U_n x + r (W_n h + b_W)); the paper has W_n (r h).
    Gates in the order r z n.
    """

    gates = 3
    recurrent_bias = True

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
        self.kernel = GRUKernel(named(gate_activation), named(cell_activation))

    def forward(self, x: Inputs, state: State) -> tuple[Float[Tensor, "batch hidden"], State]:
        """One step: x_t, h_{t-1} -> h_t, h_t."""
        sigma_g, sigma_c = self.kernel.sigma_g, self.kernel.sigma_c
        u_r, u_z, u_n = self.input_product(x).chunk(3, -1)
        w_r, w_z, w_n = F.linear(state, self.W).chunk(3, -1)
        r, z = sigma_g(u_r + w_r), sigma_g(u_z + w_z)
        n = sigma_c(u_n + r * (w_n if self.b_W is None else w_n + self.b_W))
        h = (1 - z) * n + z * state
        return h, h


CELLS: dict[str, type[Cell]] = {"rnn": RNNCell, "lstm": LSTMCell, "gru": GRUCell}
