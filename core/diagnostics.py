"""How the gradient flows back through time: it vanishes, explodes or is carried (slides 26-27).

    python -m core.diagnostics      # a table, and gradient_flow.png, in seconds

Over 200 steps a plain network with W of gain 0.9 keeps 5e-13 of the gradient, one of gain 2 makes
it 2e11 times as large, and an LSTM whose forget gate is open, at sigmoid(5), keeps a fifth.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
import tyro
from jaxtyping import Float
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from torch import Tensor

from core.base_cell import Cell, State, map_state
from core.cells import GRUCell, LSTMCell, RNNCell
from core.errors import InputError
from core.recurrent import Recurrent
from core.training import cli


class GradientFlow(NamedTuple):
    """What reaches each step.

    Attributes:
        norms: ||dE/dh_t|| for t = 1 .. T, over the whole batch.
        factors: ||dstate_t / dstate_{t-1}||_2, a spectral norm, for t = 1 .. T; mean over the
            batch. For a plain network it is ||diag(sigma') W||, the factor of slide 27. The state
            of an LSTM is h and c.
    """

    norms: Float[Tensor, " time"]
    factors: Float[Tensor, " time"]


def last_output(outputs: Float[Tensor, "time batch hidden"]) -> Float[Tensor, ""]:
    """E = sum of h_T: an error that only the last step sees."""
    return outputs[-1].sum()


def gradient_flow(
    network: Recurrent | Cell,
    x: Float[Tensor, "time batch input"],
    state: State | None = None,
    error: Callable[[Tensor], Tensor] = last_output,
) -> GradientFlow:
    """The gradient of `error(outputs)` by every hidden state, and the factor from one to the next.

    Args:
        network: a cell, or a `Recurrent` of one direction, whose h_t is then that of all layers.
        x: its inputs.
        state: where it starts; None for zeros.
        error: a scalar of the outputs [time, batch, hidden].

    Raises:
        ValueError: for a bidirectional network, in which no step is the last.
    """
    if isinstance(network, Recurrent) and network.directions == 2:
        raise ValueError("the gradient flow is that of one direction: the network has two")
    if state is None:
        state = network.initial_state(x.shape[1])
    before = []
    h = []
    for x_t in x.detach().requires_grad_().unbind(0):
        before.append(state)
        state = _step(network, x_t, state)
        h.append(state[0])
    outputs = torch.stack(h)
    if isinstance(network, Recurrent):
        outputs = outputs[:, -1]  # of the last layer
    norms = torch.stack([gradient.norm() for gradient in torch.autograd.grad(error(outputs), h)])
    all_steps = map_state(lambda *parts: torch.cat(parts, -2), *before)
    factors = _factors(network, x.flatten(0, 1), all_steps).view(x.shape[:2])
    return GradientFlow(norms, factors.mean(1))


def _step(network: Recurrent | Cell, x: Tensor, state: State) -> State:
    if isinstance(network, Recurrent):
        x = x[None]
    _, state = network(x, state)
    return state


def _factors(network: Recurrent | Cell, x: Tensor, state: State) -> Float[Tensor, " batch"]:
    """||dstate_t / dstate_{t-1}||_2 of each sequence, from its Jacobian row by row."""
    state = map_state(lambda part: part.detach().requires_grad_(), state)
    # The sequences do not depend on each other, so one sum serves them all.
    units = _by_sequence(_step(network, x, state)).sum(0)
    rows = [torch.autograd.grad(u, state, retain_graph=True, materialize_grads=True) for u in units]
    return torch.linalg.matrix_norm(torch.stack([_by_sequence(row) for row in rows], 1), ord=2)


def _by_sequence(state: State) -> Float[Tensor, "batch units"]:
    """All units of a state, [..., batch, hidden] for each part, side by side."""
    return torch.cat([part.movedim(-2, 0).flatten(1) for part in state], 1)


LENGTHS = (10, 20, 50, 100, 200)


@dataclass(frozen=True)
class Config:
    """How much of the gradient of the last output reaches earlier steps, in untrained networks."""

    out: Path = Path("gradient_flow.png")
    """The picture to write."""
    hidden: int = 32
    """Units of each network."""
    seed: int = 0
    """Seed of the weights and the inputs."""


def networks(hidden: int) -> dict[str, Cell]:
    """Five cells to compare; W of the plain ones is gain times an orthogonal matrix.

    Their inputs are small, so tanh' is near 1.
    """
    cells: dict[str, Cell] = {}
    for gain in (0.9, 2.0):
        cell = RNNCell(hidden, hidden, initialisation="orthogonal")
        cell.W.data *= gain
        cells[f"RNN, W gain {gain:g}"] = cell
    cells["GRU"] = GRUCell(hidden, hidden)
    for bias in (1.0, 5.0):
        cells[f"LSTM, forget bias {bias:g}"] = LSTMCell(hidden, hidden, bias=True, forget_bias=bias)
    return cells


def table(flows: dict[str, dict[int, GradientFlow]]) -> Table:
    """The share of the gradient that reaches the first of T steps, and the mean factor."""
    shown = Table(title="||dE/dh_1|| / ||dE/dh_T||", box=SIMPLE_HEAD)
    shown.add_column("network", no_wrap=True)
    for header in (*(f"T={T}" for T in LENGTHS), "factor"):
        shown.add_column(header, justify="right", no_wrap=True)
    for name, by_length in flows.items():
        shares = [f"{flow.norms[0] / flow.norms[-1]:.0e}" for flow in by_length.values()]
        shown.add_row(name, *shares, f"{by_length[LENGTHS[-1]].factors.mean():.2f}")
    return shown


def draw(flows: dict[str, GradientFlow], out: Path) -> None:
    """The norm of dE/dh_t against the steps back from T, a line for each network."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.8), dpi=160, layout="constrained")
    axes = figure.subplots()
    for number, (name, flow) in enumerate(flows.items()):
        share = (flow.norms / flow.norms[-1]).flip(0).tolist()
        style: Any = {"color": f"C{number}"}
        axes.semilogy(share, linewidth=2, **style)
        end = len(share) - 1, share[-1]
        axes.annotate(name, end, xytext=(8, 0), textcoords="offset points", va="center", **style)
    axes.axhline(1, color="0.8", linewidth=1, zorder=0)
    axes.set_xlim(left=0)
    axes.margins(x=0)
    axes.set_yticks([10.0**power for power in range(-40, 11, 10)])
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlabel("steps back from the error, T − t")
    axes.set_title(
        "The gradient vanishes, explodes or is kept: ‖∂E/∂h$_t$‖ / ‖∂E/∂h$_T$‖", loc="left"
    )
    figure.savefig(out, format="png")


def run(argv: Sequence[str]) -> None:
    """The command: a table on the terminal and a picture."""
    config = tyro.cli(Config, prog="python -m core.diagnostics", args=argv)
    if config.hidden < 1:
        raise InputError(f"--hidden {config.hidden}: a network needs at least 1 unit")
    torch.manual_seed(config.seed)
    x = 0.1 * torch.randn(LENGTHS[-1], 4, config.hidden, dtype=torch.float64)  # 1e-27 is no float32
    flows = {
        name: {T: gradient_flow(cell.double(), x[:T]) for T in LENGTHS}
        for name, cell in networks(config.hidden).items()
    }
    Console().print(table(flows))
    draw({name: by_length[LENGTHS[-1]] for name, by_length in flows.items()}, config.out)
    print(f"wrote {config.out}")


if __name__ == "__main__":
    sys.exit(cli.guard("python -m core.diagnostics", run))
