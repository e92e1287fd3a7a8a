"""Recurrent: layers of a cell over time, in one direction or both.

    recurrent = Recurrent("lstm", input_size=10, hidden_size=32, layers=2, bias=True)
    outputs, state = recurrent(x)                     # x [time, batch, input]
    outputs, state = recurrent(x, state, lengths)     # go on from there, sequences of several lengths
    outputs, state = recurrent(characters)            # integers [time, batch]: one-hot vectors, never formed

Its weights go to torch.nn and back: `to_torch`, `from_torch`.
"""

import itertools
from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from core.cells import Cell, LSTMCell, State, cell_class, map_state
from core.dropout import dropout as drop
from core.dropout import locked_dropout as drop_locked
from core.engines.bptt import check_integers, computed
from core.engines.choose import ENGINES, Inputs, by_kernel, choose, without_gradient


class Recurrent(nn.Module):
    """A deep (slides 9-10), optionally bidirectional (Schuster & Paliwal 1997), recurrent network.

    Everything is time-first: x is [time, batch, input]. A layer takes the outputs of the one below, of both
    directions side by side. Every engine computes the same outputs and gradients.

    Args:
        cell: "rnn", "lstm", "gru", or a class of cells, as one of your own.
        input_size: width of x_t.
        hidden_size: width of h_t, in each direction.
        layers: how many.
        dropout: probability that an output of one layer is 0 for the next, while training.
        locked_dropout: whether the same outputs are 0 at all steps of a sequence.
        bidirectional: adds a second direction, from each sequence's end to its start.
        engine: "reference", "bptt", "fused" (see `core.engines.choose`) or "auto", the fastest that can do the work.
        cell_options: `bias`, `initialisation`, activations ...: see the cell in `core.cells`.

    Raises:
        ValueError: for an unknown cell, engine, activation or initialisation, or sizes that cannot be.
    """

    def __init__(
        self,
        cell: str | type[Cell],
        input_size: int,
        hidden_size: int,
        *,
        layers: int = 1,
        dropout: float = 0.0,
        locked_dropout: bool = False,
        bidirectional: bool = False,
        engine: str = "auto",
        **cell_options: Any,
    ):
        super().__init__()
        made = cell_class(cell)
        known = ("auto", *ENGINES)
        if engine not in known:
            raise ValueError(f"unknown name {engine!r}; choose one of {', '.join(known)}")
        if layers < 1 or not 0 <= dropout <= 1:
            raise ValueError(
                f"layers={layers} must be at least 1, and dropout={dropout} within 0..1"
            )
        self.input_size, self.hidden_size, self.dropout, self.engine = (
            input_size,
            hidden_size,
            dropout,
            engine,
        )
        self.drop = drop_locked if locked_dropout else drop
        self.directions = 2 if bidirectional else 1
        self.output_size = self.directions * hidden_size
        sizes = [input_size] + [self.output_size] * (layers - 1)
        self.cells = nn.ModuleList(
            nn.ModuleList(made(size, hidden_size, **cell_options) for _ in range(self.directions))
            for size in sizes
        )

    @property
    def layers(self) -> list[list[Cell]]:
        """The cells of each layer: one, or one for each direction."""
        return [list(layer) for layer in self.cells]  # type: ignore[arg-type, misc]

    def initial_state(self, batch: int) -> State:
        """Zeros, a tuple (h,) or (h, c) of [layers * directions, batch, hidden] as in torch.nn."""
        states = [cell.initial_state(batch) for layer in self.layers for cell in layer]
        return map_state(lambda *parts: torch.stack(parts), *states)

    def forward(
        self,
        x: Inputs,
        state: State | None = None,
        lengths: Int[Tensor, " batch"] | None = None,
    ) -> tuple[Float[Tensor, "time batch output"], State]:
        """Outputs of the last layer, and the final state of all.

        Args:
            x: the inputs; what lies beyond a sequence's length is never read. Integers within
                0..input_size - 1 stand for one-hot vectors.
            state: where to start, as returned; None for zeros.
            lengths: each within 0..time; None if all sequences fill x.

        Returns:
            The outputs, 0 beyond a sequence's length, and each sequence's state at its own length (in the
            reverse direction: at its start). Length 0 keeps the state.

        Raises:
            ValueError: for shapes that do not fit, or integers outside 0..input_size - 1 (found on the CPU; a
                GPU's own assertion stops there, as looking would make the CPU wait for it).
        """
        self._check(x, state, lengths)
        if x.dim() == 2 and x.is_cpu:
            read = x if lengths is None else x[torch.arange(len(x))[:, None] < lengths.cpu()]
            check_integers(read, self.input_size)
        layers: Any = self.cells
        cells, finals = [cell for layer in layers for cell in layer], []
        if x.dtype is not cells[0].U.dtype and not torch.is_autocast_enabled(x.device.type):
            x = computed(x, cells[0].U)
        run = choose(self.engine, cells, x, state, lengths)
        dropping = self.training and self.dropout > 0
        if (
            run is by_kernel
            and not (torch.is_grad_enabled() or dropping or self.directions > 1)
            and lengths is None
        ):
            return without_gradient(cells, x, state)
        if state is None:
            kernel_knows = run is by_kernel and lengths is None
            starts: Any = itertools.repeat(
                None if kernel_knows else cells[0].initial_state(x.shape[1])
            )
        else:
            starts = zip(*state, strict=True)
        for first in range(0, len(cells), self.directions):
            if first:
                x = self.drop(x, self.dropout, self.training)
            outputs = []
            for way, cell in enumerate(cells[first : first + self.directions]):
                done, final = run(cell, x, next(starts), lengths, bool(way))
                outputs.append(done)
                finals.append(final)
            x = torch.cat(outputs, -1) if len(outputs) > 1 else outputs[0]
        return x, finals[0] if len(finals) == 1 else map_state(
            lambda *parts: torch.cat(parts), *finals
        )

    def _check(self, x: Tensor, state: State | None, lengths: Tensor | None) -> None:
        shape, vectors = x.shape, x.is_floating_point()
        if (
            len(shape) != 2 + vectors
            or not (shape[0] and shape[1])
            or (vectors and shape[2] != self.input_size)
        ):
            raise ValueError(
                f"x is {x.dtype} {list(shape)}, not floats [time >= 1, batch >= 1, {self.input_size}] "
                "or integers [time, batch]"
            )
        if state is not None:
            expected = [len(self.cells) * self.directions, shape[1], self.hidden_size]
            parts = self.layers[0][0].state_parts
            if not isinstance(state, tuple):
                raise ValueError(f"the state is a {type(state).__name__}, not a tuple of tensors")
            given = [list(part.shape) for part in state]
            if given != [expected] * len(parts):
                raise ValueError(
                    f"the state is {given}, not a tuple ({', '.join(parts)},) of "
                    f"[layers * directions, batch, hidden] = {expected}"
                )
        if lengths is None:
            return
        if lengths.shape != x.shape[1:2] or lengths.is_floating_point():
            raise ValueError(
                f"lengths are {lengths.dtype} {list(lengths.shape)}, not one integer a sequence"
            )
        if lengths.min() < 0 or lengths.max() > len(x):
            raise ValueError(
                f"lengths from {lengths.min()} to {lengths.max()} leave the range 0..{len(x)}"
            )


def to_torch(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state dict of a `Recurrent` as that of torch.nn.RNN, LSTM or GRU with the same options.

    torch.nn adds one bias to U x and another to W h. Ours is the first; the second is 0, except inside the
    GRU's reset product, where it is `b_W`.
    """
    converted = {}
    for key, U in state_dict.items():
        cell, _, name = key.rpartition(".")
        if name != "U":
            continue
        _, layer, direction = cell.split(".")
        suffix = f"l{layer}{'_reverse' if direction == '1' else ''}"
        converted[f"weight_ih_{suffix}"], converted[f"weight_hh_{suffix}"] = (
            U,
            state_dict[f"{cell}.W"],
        )
        if f"{cell}.b" in state_dict:
            b, b_W = state_dict[f"{cell}.b"], state_dict.get(f"{cell}.b_W")
            b_hh = torch.zeros_like(b)
            if b_W is not None:
                b_hh[-len(b_W) :] = b_W
            converted[f"bias_ih_{suffix}"], converted[f"bias_hh_{suffix}"] = b, b_hh
    return converted


def from_torch(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state dict of a torch.nn.RNN, LSTM or GRU (one without projections) as that of a `Recurrent`.

    Its two biases are added up, except inside the GRU's reset product.
    """
    converted = {}
    for key, U in state_dict.items():
        if not key.startswith("weight_ih_l"):
            continue
        suffix = key.removeprefix("weight_ih_")
        W = state_dict[f"weight_hh_{suffix}"]
        cell = f"cells.{suffix.removesuffix('_reverse')[1:]}.{int(suffix.endswith('_reverse'))}"
        converted[f"{cell}.U"], converted[f"{cell}.W"] = U, W
        if f"bias_ih_{suffix}" in state_dict:
            b, b_hh = state_dict[f"bias_ih_{suffix}"].clone(), state_dict[f"bias_hh_{suffix}"]
            hidden = W.shape[1]
            gru = len(W) == 3 * hidden
            summed = 2 * hidden if gru else len(W)
            b[:summed] += b_hh[:summed]
            converted[f"{cell}.b"] = b
            if gru:
                converted[f"{cell}.b_W"] = b_hh[summed:].clone()
    return converted


def with_biases(
    cell: str | type[Cell], input_size: int, hidden_size: int, **options: Any
) -> Recurrent:
    """Return `Recurrent` with biases; the first bias of an LSTM's forget gate is 1, so it remembers from the start."""
    remember = {"forget_bias": 1.0} if issubclass(cell_class(cell), LSTMCell) else {}
    return Recurrent(cell, input_size, hidden_size, bias=True, **remember, **options)
