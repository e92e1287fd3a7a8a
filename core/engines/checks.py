"""Whether a cell fits what it is given, and what it returns fits the engines."""

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor

from core.base_cell import Cell, Inputs, Output, State, require_dtype
from core.engines.products import Rows, holds


def checked_step(cell: Cell, x: Inputs, state: State) -> tuple[Output, State]:
    """Take one step of a cell.

    Raises:
        ValueError: unless the cell returned a pair: its output [batch, hidden], and all parts of
            its state in the shapes that they had.
    """
    step = cell(x, state)
    if not isinstance(step, tuple) or len(step) != 2:
        raise _returned(cell, f"{_kind(step)}, not a pair: the output and the state")
    output, after = step
    _require_output(cell, output, x.shape[0])
    _require_state(cell, after, state)
    return output, after


def _require_output(cell: Cell, output: object, batch: int) -> None:
    expected = (batch, cell.hidden_size)
    if not isinstance(output, Tensor):
        raise _returned(cell, f"{_kind(output)} as its output, not a tensor {list(expected)}")
    if output.shape != expected:
        raise _returned(cell, f"an output {list(output.shape)}, not {list(expected)}")


def _require_state(cell: Cell, state: object, before: State) -> None:
    names = cell.state_parts
    if not isinstance(state, tuple):
        raise _returned(cell, f"{_kind(state)} as its state, not a tuple of tensors such as (h,)")
    if len(state) != len(names):
        listed = f"`state_parts` lists {len(names)}: {', '.join(names)}"
        raise _returned(cell, f"a state of {len(state)} tensors, but {listed}")
    for name, part, old in zip(names, state, before, strict=True):
        if not isinstance(part, Tensor):
            raise _returned(cell, f"{_kind(part)} as {name}, a part of its state, not a tensor")
        if part.shape != old.shape:
            shapes = f"{list(part.shape)}, which was {list(old.shape)} before"
            raise _returned(cell, f"a state with {name} of the shape {shapes}")


def _returned(cell: Cell, what: str) -> ValueError:
    return ValueError(f"{type(cell).__name__}.forward returned {what}")


def _kind(value: object) -> str:
    """A value of the wrong type, in words for a message."""
    if value is None:
        return "None"
    if isinstance(value, tuple):
        return f"a tuple of {len(value)}"
    return f"a {type(value).__name__}"


def check_sequence(cell: Cell, batch_sizes: Sequence[int], x: Rows) -> None:
    """ValueError unless x holds the rows of these steps, and the steps fit each other."""
    if not batch_sizes or batch_sizes[-1] < 1 or any(a < b for a, b in pairwise(batch_sizes)):
        rule = "must be at least 1, and none larger than the one before"
        raise ValueError(f"batch sizes {list(batch_sizes)} {rule}")
    if not holds(x, sum(batch_sizes), cell.input_size):
        raise ValueError(
            f"x is {x.dtype} {list(x.shape)}: not {sum(batch_sizes)} rows, as all steps have, "
            f"of {cell.input_size}"
        )
    check_integers(x, cell.input_size)


def check_state(cell: Cell, batch: int, state: State | None, exact: bool = False) -> None:
    """ValueError for a state of another cell or dtype, or of fewer (exact: other) rows."""
    if state is None:
        return
    shapes = [list(part.shape) for part in state]
    fits = isinstance(state, tuple) and len(shapes) == len(cell.state_parts)
    for shape in shapes:
        fits = fits and len(shape) == 2 and shape[0] >= batch and shape[1] == cell.hidden_size
        fits = fits and (shape[0] == batch or not exact)
    if not fits or len({shape[0] for shape in shapes}) > 1:
        expected = f"({', '.join(cell.state_parts)},) of [{batch}, {cell.hidden_size}]"
        raise ValueError(f"the state is {shapes}, not a tuple {expected}")
    require_dtype(cell, state)


def check_full(inputs: int, taken: int, steps: int) -> None:
    """ValueError unless all steps of a tape were taken, and there is an input for each."""
    if not inputs == taken == steps:
        raise ValueError(f"{inputs} inputs for a tape with {taken} of {steps} steps taken")


def check_integers(x: Tensor, size: int) -> None:
    """ValueError for integers outside 0..size - 1; a GPU has its own assertion, without a wait."""
    if x.is_cpu and not x.is_floating_point() and x.numel() and not 0 <= x.min() <= x.max() < size:
        raise ValueError(
            f"x has numbers from {x.min()} to {x.max()}, outside the range 0..{size - 1}"
        )
