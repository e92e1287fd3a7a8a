"""Recurrent: layers of a cell over time, in one direction or both.

    recurrent = Recurrent("lstm", input_size=10, hidden_size=32, layers=2, bias=True)
    outputs, state = recurrent(x)                     # x [time, batch, input]
    outputs, state = recurrent(x, state, lengths)     # continue, with sequences of several lengths
    outputs, state = recurrent(characters)            # integers [time, batch]: one-hot vectors

The plainest way to run a layer is the loop in `core.engines.reference`; every other engine equals
it. Weights are converted to torch.nn's and back in `core.torch_weights`.
"""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from core.base_cell import Cell, State, map_state, require_dtype
from core.cells import LSTMCell, cell_class
from core.dropout import dropout as drop
from core.dropout import locked_dropout as drop_locked
from core.engines.checks import check_integers
from core.engines.choose import ENGINES, choose, infer, infers_in_c
from core.engines.reference import Sequences


class Recurrent(nn.Module):
    """A deep (slides 9-10), optionally bidirectional (Schuster & Paliwal 1997), recurrent network.

        recurrent = Recurrent("gru", 10, 32, layers=3, dropout=0.1)
        outputs, (h,) = recurrent(torch.randn(50, 16, 10))     # outputs [50, 16, 32], h [3, 16, 32]

    Everything is time-first: x is [time, batch, input]. A layer takes the outputs of the one below,
    of both directions side by side. Every engine computes the same outputs and gradients.

    Args:
        cell: "rnn", "lstm" or "gru", or a subclass of `Cell`, such as one of your own.
        input_size: width of x_t.
        hidden_size: width of h_t, in each direction.
        layers: how many.
        dropout: probability that an output of one layer is 0 for the next, while training.
        locked_dropout: whether the same outputs are 0 at all steps of a sequence.
        bidirectional: adds a second direction, from each sequence's end to its start.
        engine: "reference", "bptt", "fused" (see `core.engines.choose`) or "auto", the fastest that
            can do the work.
        cell_options: `bias`, `initialisation`, activations ...: see the cell in `core.cells`.

    Raises:
        ValueError: for an unknown cell, engine, activation or initialisation, or impossible sizes.
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
        make = cell_class(cell)
        engines = ("auto", *ENGINES)
        if engine not in engines:
            raise ValueError(f"unknown name {engine!r}; choose one of {', '.join(engines)}")
        if layers < 1 or not 0 <= dropout <= 1:
            raise ValueError(
                f"layers={layers} must be at least 1, and dropout={dropout} within 0..1"
            )
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.dropout = dropout
        self.drop = drop_locked if locked_dropout else drop
        self.engine = engine
        self.directions = 2 if bidirectional else 1
        self.output_size = self.directions * hidden_size
        widths = [input_size] + [self.output_size] * (layers - 1)
        self.cells = nn.ModuleList(
            nn.ModuleList(make(width, hidden_size, **cell_options) for _ in range(self.directions))
            for width in widths
        )

    @property
    def layers(self) -> list[list[Cell]]:
        """The cells of each layer: one, or one for each direction."""
        return [list(layer) for layer in self.cells]  # type: ignore[arg-type, misc]

    def initial_state(self, batch: int) -> State:
        """Zeros, a tuple (h,) or (h, c) of [layers * directions, batch, hidden], as in torch.nn."""
        states = [cell.initial_state(batch) for layer in self.layers for cell in layer]
        return map_state(lambda *parts: torch.stack(parts), *states)

    def forward(
        self,
        x: Sequences,
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
            The outputs, 0 beyond a sequence's length, and each sequence's state at its own length
            (in the reverse direction: at its start). Length 0 keeps the state.

        Raises:
            ValueError: for shapes or dtypes that do not fit, a named engine that cannot run the
                cell, or integers outside 0..input_size - 1 (found on the CPU; on a GPU its own
                assertion stops, as checking would make the CPU wait for it).
        """
        layers: Any = self.cells
        cells: list[Cell] = [cell for layer in layers for cell in layer]
        self._check(cells, x, state, lengths)
        if not (x.shape[0] and x.shape[1]):
            return self._without_a_step(x, state)
        if self._is_inference(lengths):
            choices = [choose(self.engine, cell, x, state, lengths) for cell in cells]
            if infers_in_c(choices):
                return infer(choices, x, state)
        return self._layer_by_layer(cells, x, state, lengths)

    def _layer_by_layer(
        self, cells: Sequence[Cell], x: Sequences, state: State | None, lengths: Tensor | None
    ) -> tuple[Tensor, State]:
        """Run each layer, in its direction or both, over the outputs of the one below."""
        finals = []
        for first in range(0, len(cells), self.directions):
            if first:
                x = self.drop(x, self.dropout, self.training)
            outputs = []
            for direction in range(self.directions):
                number = first + direction
                start = None
                if state is not None:
                    start = map_state(lambda part, n=number: part[n], state)
                choice = choose(self.engine, cells[number], x, start, lengths)
                layer_outputs, final = choice.run(x, start, lengths, bool(direction))
                outputs.append(layer_outputs)
                finals.append(final)
            x = outputs[0]
            if len(outputs) > 1:
                x = torch.cat(outputs, -1)
        if len(finals) == 1:
            return x, finals[0]
        return x, map_state(lambda *parts: torch.cat(parts), *finals)

    def _is_inference(self, lengths: Tensor | None) -> bool:
        """Whether all layers may be run in one call: forward alone, in one direction."""
        dropping = self.training and self.dropout > 0
        plain = lengths is None and self.directions == 1 and not dropping
        return plain and not torch.is_grad_enabled()

    def _without_a_step(self, x: Tensor, state: State | None) -> tuple[Tensor, State]:
        """No time or no sequences: empty outputs, and the state as it was."""
        if state is None:
            state = self.initial_state(x.shape[1])
        return state[0].new_zeros(*x.shape[:2], self.output_size), state

    def _check(
        self, cells: Sequence[Cell], x: Tensor, state: State | None, lengths: Tensor | None
    ) -> None:
        if not isinstance(x, Tensor):
            hint = "sequences of several lengths are padded, and `lengths` given"
            raise ValueError(f"x is a {type(x).__name__}, not a tensor; {hint}")
        is_float = x.is_floating_point()
        if x.dim() != 2 + is_float or (is_float and x.shape[2] != self.input_size):
            raise ValueError(
                f"x is {x.dtype} {list(x.shape)}, not floats [time, batch, {self.input_size}] "
                "or integers [time, batch]"
            )
        width = self.input_size
        for number, cell in enumerate(cells):
            if number == self.directions:
                width = self.output_size
            if cell.input_size != width or cell.hidden_size != self.hidden_size:
                raise ValueError(
                    f"layer {number // self.directions} takes {cell.input_size} inputs and has "
                    f"{cell.hidden_size} units, not {width} and {self.hidden_size}"
                )
            if cell.state_parts != cells[0].state_parts:
                raise ValueError(
                    f"the layers' states have different parts: {cells[0].state_parts} and "
                    f"{cell.state_parts}"
                )
        if state is not None:
            self._check_state(cells, x.shape[1], state)
        if lengths is not None:
            _check_lengths(x, lengths)
        if not is_float and x.is_cpu:
            if lengths is not None:
                x = x[torch.arange(len(x))[:, None] < lengths.cpu()]
            check_integers(x, self.input_size)

    def _check_state(self, cells: Sequence[Cell], batch: int, state: State) -> None:
        if not isinstance(state, tuple):
            raise ValueError(f"the state is a {type(state).__name__}, not a tuple of tensors")
        parts = cells[0].state_parts
        expected = (len(cells), batch, self.hidden_size)
        shapes = [list(part.shape) for part in state]
        fits = len(state) == len(parts) and all(part.shape == expected for part in state)
        if not fits and shapes != [list(part.shape) for part in self.initial_state(batch)]:
            raise ValueError(
                f"the state is {shapes}, not a tuple ({', '.join(parts)},) of "
                f"[layers * directions, batch, hidden] = {list(expected)}"
            )
        require_dtype(cells[0], state)


def _check_lengths(x: Tensor, lengths: Tensor) -> None:
    if not isinstance(lengths, Tensor):
        raise ValueError(f"lengths are a {type(lengths).__name__}, not a tensor of integers")
    if lengths.shape != x.shape[1:2] or lengths.is_floating_point():
        raise ValueError(
            f"lengths are {lengths.dtype} {list(lengths.shape)}, not one integer a sequence"
        )
    if lengths.numel() and (lengths.min() < 0 or lengths.max() > len(x)):
        raise ValueError(
            f"lengths from {lengths.min()} to {lengths.max()} leave the range 0..{len(x)}"
        )


def with_biases(
    cell: str | type[Cell], input_size: int, hidden_size: int, **options: Any
) -> Recurrent:
    """Return `Recurrent` with biases, that of an LSTM's forget gate 1: it remembers at first."""
    if issubclass(cell_class(cell), LSTMCell):
        options = {"forget_bias": 1.0, **options}
    return Recurrent(cell, input_size, hidden_size, bias=True, **options)
