"""One step of a trained network as a program that runs without this package.

    program = torch.export.load("step.pt2").module()
    outputs = program(images=images, state=state)

Such a file (torch.export) holds the weights and what is computed with them, for any size of batch, and what its user
must know beside that: names of classes, how pictures are prepared. It is read by PyTorch in Python or, compiled with
AOTInductor, from C++.

    about = {"about.json": ""}
    torch.export.load("step.pt2", extra_files=about)
    json.loads(about["about.json"])
"""

import io
import json
import warnings
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
import tyro
from torch import Tensor, nn

from core.cells import State
from core.checkpoint import replace, writing
from core.errors import InputError

MADE_WITH, CHECKED_WITH = 3, 5  # rows of a batch


@dataclass(frozen=True)
class Arguments:
    """Write one step of a trained net as a program that runs without this package."""

    run: Annotated[Path, tyro.conf.Positional]
    """Run directory or checkpoint."""
    file: Annotated[Path, tyro.conf.Positional]
    """The file to write, NAME.pt2."""


def parse(app: str, argv: Sequence[str] | None = None) -> Arguments:
    """Return the arguments of the command `APP program`.

    Raises `InputError` for a file that is not named as programs are: it might be another one of its user's.
    """
    arguments = tyro.cli(Arguments, args=argv, prog=f"{app} program")
    if arguments.file.suffix != ".pt2":
        raise InputError(f"{arguments.file}: an exported program is named .pt2")
    return arguments


def write(path: Path, step: nn.Module, inputs: Mapping[str, Tensor], about: Mapping[str, Any]) -> None:
    """Write `step(**inputs)` to `path`, after it was checked: loaded, with another batch, it must give the same.

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
    step = deepcopy(step).eval().requires_grad_(False)  # a program does not learn
    for each in (*step.parameters(), *step.buffers()):
        each.data = each.data.contiguous()  # the format knows no other order in memory, as encoders use
    batch = torch.export.Dim("batch")
    given, other = ({name: _rows(value, n) for name, value in inputs.items()} for n in (MADE_WITH, CHECKED_WITH))
    with torch.no_grad():
        program = torch.export.export(step, (), given, dynamic_shapes={name: {0: batch} for name in inputs})
        file = io.BytesIO()
        torch.export.save(program, file, extra_files={"about.json": json.dumps(about)})
        file.seek(0)
        torch.testing.assert_close(_load(file).module()(**other), step(**other))
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    replace(path, file)
    shapes = (f"{name} [{', '.join(map(str, ('batch', *value.shape[1:])))}]" for name, value in inputs.items())
    print(f"{path}: {', '.join(shapes)}")


def pack(state: State) -> Tensor:
    """A cell's state, h or (h, c) [batch, hidden], as one tensor [batch, parts, hidden]; zeros are its beginning."""
    return torch.stack(state if isinstance(state, tuple) else (state,), 1)


def unpack(state: Tensor) -> State:
    """The state that `pack` packed."""
    parts = list(state.unbind(1))
    return tuple(parts) if len(parts) > 1 else parts[0]


def _load(file: io.BytesIO) -> torch.export.ExportedProgram:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given buffer is not writable")  # torch 2.11, of what it read itself
        return torch.export.load(file)


def _rows(example: Tensor, count: int) -> Tensor:
    return example.expand(count, *example.shape[1:]).contiguous()
