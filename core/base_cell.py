"""The base of all recurrent cells: parameters, initial values, the zero state.

    cell = LSTMCell(input_size=10, hidden_size=32)
    state = cell.initial_state(batch)      # h_0 = 0
    output, state = cell(x, state)         # x [batch, input]; output [batch, hidden]

The state is a tuple of tensors [batch, hidden]: `(h,)`, for the LSTM `(h, c)`. U multiplies the
input and W the previous output, as on the slides; both stack the gates along their first dimension.
There is no bias unless it is asked for. Integer inputs (characters, words) stand for one-hot
vectors: U x_t is then a column of U, which is looked up rather than multiplied.

A cell of your own is a subclass of `Cell` with `gates` and `forward`. `Recurrent(MyCell, ...)` runs
it over time; see `Cell`.
"""

import math
from collections.abc import Callable
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float, Integer
from torch import Tensor, nn

Inputs = Float[Tensor, "batch input"] | Integer[Tensor, " batch"]
Output = Float[Tensor, "batch hidden"]
State = tuple[Tensor, ...]
INITIALISATIONS = ("uniform", "orthogonal", "small")


def map_state(function: Callable[..., Tensor], *states: State) -> State:
    """Apply `function` to every part of a state, or to corresponding parts of several."""
    return tuple([function(*parts) for parts in zip(*states, strict=True)])


def require_dtype(cell: "Cell", state: State) -> None:
    """Raise ValueError unless a state has the dtypes of the cell's first state: its weights'."""
    weights = cell.W.dtype
    if all(part.dtype == weights for part in state):
        return
    dtypes = [part.dtype for part in state]
    expected = [part.dtype for part in cell.initial_state(0)]
    if dtypes != expected:
        names = ", ".join(map(str, dtypes))
        wanted = ", ".join(map(str, expected))
        raise ValueError(f"the state is {names}, and with these weights it must be {wanted}")


class Cell(nn.Module):
    """The base of all cells: parameters, initial values, the zero state, class attributes.

    A minimal gated unit (Zhou et al. 2016), as a user would write it:

        class MinimalGatedUnit(Cell):
            name = "mgu"
            gates = 2

            def forward(self, x, state):
                (h,) = state
                u_f, u_n = self.input_product(x).chunk(2, -1)
                W_f, W_n = self.W.chunk(2)
                f = torch.sigmoid(u_f + F.linear(h, W_f))
                n = torch.tanh(u_n + F.linear(f * h, W_n))
                h = (1 - f) * h + f * n
                return h, (h,)

        outputs, state = Recurrent(MinimalGatedUnit, 10, 32)(x)

    Parameters and modules of its own, such as peepholes or a layer normalisation, are made in
    `__init__` after `super().__init__(input_size, hidden_size, **options)`, with their initial
    values, on the device and of the dtype of W. A first state that is learned, and parts of another
    width than h, are what `initial_state` returns; h must have that of the output.

    Such a cell runs on the reference engine. Steps in `core.engines.steps` make a cell fast if each
    recurrent product is W_k h_{t-1}; this one multiplies W_n by f * h, so it stays on the
    reference. To give a cell a name on the command line, see CONTRIBUTING.md.

    Attributes:
        name: the cell's short name, its key in `CELLS`.
        state_parts: the names of all parts of its state, in their order; the first is h.
        gates: how many preactivations of size H a step has, candidates such as n included: U and W
            have gates * H rows.
        has_recurrent_bias: whether `bias=True` also adds b_W to the last gate's recurrent product,
            as inside the GRU's reset product.
        U: input weights [gates * hidden, input].
        W: recurrent weights [gates * hidden, hidden].
        b: bias [gates * hidden], or None.
        b_W: bias of the last gate's recurrent product [hidden], or None.

    Args:
        input_size: M, the width of x_t.
        hidden_size: H, the width of h_t.
        bias: adds b to every preactivation.
        initialisation: "uniform": everything uniform in ±1/sqrt(H), as in torch.nn;
            "orthogonal": W orthogonal gate by gate (Saxe et al. 2014), U Xavier-uniform (Glorot &
            Bengio 2010), bias 0; "small": the lecture's values close to 0 (slide 24), here N(0,
            0.01^2), bias 0.

    Raises:
        ValueError: for an unknown initialisation, a size below 1, or a class without `gates`.
    """

    name: ClassVar[str] = ""
    state_parts: ClassVar[tuple[str, ...]] = ("h",)
    gates: ClassVar[int]
    has_recurrent_bias: ClassVar[bool] = False

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
        if not hasattr(self, "gates"):
            raise ValueError(
                f"{type(self).__name__} does not say how many `gates` it has: the blocks of H rows "
                "of U and W"
            )
        if input_size < 1 or hidden_size < 1:
            raise ValueError(
                f"input_size={input_size} and hidden_size={hidden_size} must be at least 1"
            )
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.initialisation = initialisation

        def parameter(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.empty(shape, device=device, dtype=dtype))

        rows = self.gates * hidden_size
        self.U = parameter(rows, input_size)
        self.W = parameter(rows, hidden_size)
        self.b = None
        self.b_W = None
        if bias:
            self.b = parameter(rows)
        if bias and self.has_recurrent_bias:
            self.b_W = parameter(hidden_size)
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw new initial values of U, W and the biases."""
        for parameter in (self.U, self.W, self.b, self.b_W):
            if parameter is None:
                continue
            if self.initialisation == "uniform":
                bound = 1 / math.sqrt(self.hidden_size)
                parameter.uniform_(-bound, bound)
            elif parameter.dim() == 1:
                parameter.zero_()
            elif self.initialisation == "small":
                parameter.normal_(std=0.01)
            elif parameter is self.W:
                for gate in parameter.chunk(self.gates):
                    nn.init.orthogonal_(gate)
            else:
                for gate in parameter.chunk(self.gates):
                    nn.init.xavier_uniform_(gate)

    def initial_state(self, batch: int) -> State:
        """Zeros [batch, hidden] for each part of the state: h_0 = 0 (slide 5), c_0 = 0."""
        return tuple([self.W.new_zeros(batch, self.hidden_size) for _ in self.state_parts])

    def input_product(self, x: Inputs) -> Float[Tensor, "batch gates_hidden"]:
        """U x_t + b; for integers x_t within 0..input_size - 1, the columns of U at x_t, plus b."""
        if x.is_floating_point():
            return F.linear(x, self.U, self.b)
        columns = F.embedding(x.long(), self.U.t())
        if self.b is None:
            return columns
        return columns + self.b

    def forward(self, x: Inputs, state: State) -> tuple[Output, State]:
        """Take one step: x_t and the state before it give the output h_t and the new state."""
        raise NotImplementedError(f"{type(self).__name__} defines no forward")

    def torch_function(self) -> Callable[..., Any] | None:
        """The function of torch.nn with exactly these equations and activations, or None."""
        return None

    def extra_repr(self) -> str:
        """Sizes, for print(model)."""
        return f"{self.input_size}, {self.hidden_size}, bias={self.b is not None}"
