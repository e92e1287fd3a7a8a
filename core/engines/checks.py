"""Whether a cell gives what the engines expect of it."""

from torch import Tensor

from core.base_cell import Cell, Inputs, Output, State


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
