"""One step of a trained network as a program that runs without this package.

    program = torch.export.load("step.pt2").module()
    outputs = program(images=images, state=state)

Such a file (torch.export) holds the weights and what is computed with them, for any size of batch,
and what its user must know beside that: names of classes, how pictures are prepared. It is read by
PyTorch in Python or, compiled with AOTInductor, from C++.

    about = {"about.json": ""}
    torch.export.load("step.pt2", extra_files=about)
    json.loads(about["about.json"])
"""

import io
import json
import warnings
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from core.cell import State
from core.errors import InputError
from core.files import replace, writing

MADE_WITH, CHECKED_WITH = 3, 5  # rows of a batch


def require_name(path: Path) -> None:
    """Raise `InputError` unless the file is named .pt2: it might be another one of its user's."""
    if path.suffix != ".pt2":
        raise InputError(f"{path}: an exported program is named .pt2")


def write(
    path: Path, step: nn.Module, inputs: Mapping[str, Tensor], about: Mapping[str, Any]
) -> None:
    """Write `step(**inputs)` to `path`, after it was checked: loaded, with another batch, it must
    give the same.

    A line on standard output tells what goes in.

    Args:
        path: the file, by custom named .pt2; its folder is made.
        step: the module; its forward takes and returns tensors whose first dimension is the batch.
        inputs: an example of one row each.
        about: plain values to go with it.

    Raises:
        InputError: the file cannot be written.
        AssertionError: the program does not compute what the module does.
    """
    require_name(path)
    step = deepcopy(step).eval().requires_grad_(False)  # a program does not learn
    for each in (*step.parameters(), *step.buffers()):
        # The format knows no other memory order, such as channels last.
        each.data = each.data.contiguous()
    batch = torch.export.Dim("batch")
    given, other = (
        {name: _rows(value, n) for name, value in inputs.items()} for n in (MADE_WITH, CHECKED_WITH)
    )
    with torch.no_grad():
        program = torch.export.export(
            step, (), given, dynamic_shapes={name: {0: batch} for name in inputs}
        )
        file = io.BytesIO()
        torch.export.save(program, file, extra_files={"about.json": json.dumps(about)})
        file.seek(0)
        torch.testing.assert_close(_load(file).module()(**other), step(**other))
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    replace(path, file)
    shapes = (
        f"{name} [{', '.join(map(str, ('batch', *value.shape[1:])))}]"
        for name, value in inputs.items()
    )
    print(f"{path}: {', '.join(shapes)}")


def pack(state: State) -> Tensor:
    """A cell's state, (h,) or (h, c) [batch, hidden], as one tensor [batch, parts, hidden]; zeros
    are its beginning.
    """
    return torch.stack(state, 1)


def unpack(state: Tensor) -> State:
    """The state that `pack` packed."""
    return state.unbind(1)


def _load(file: io.BytesIO) -> torch.export.ExportedProgram:
    with warnings.catch_warnings():
        # torch 2.11 warns of the buffer that it read itself.
        warnings.filterwarnings("ignore", "The given buffer is not writable")
        return torch.export.load(file)


def _rows(example: Tensor, count: int) -> Tensor:
    return example.expand(count, *example.shape[1:]).contiguous()
