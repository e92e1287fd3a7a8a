"""One step of a trained network as a file that runs without this package.

A file NAME.pt2 is an exported program (torch.export), read by PyTorch in Python or, compiled with
AOTInductor, from C++:

    program = torch.export.load("step.pt2").module()
    outputs = program(images=images, state=state)

A file NAME.onnx is read by ONNX Runtime, in a browser, on a phone or in C#:

    session = onnxruntime.InferenceSession("step.onnx")
    outputs = session.run(None, {"images": images, "state": state})    # arrays of numpy

Both hold the weights and what is computed with them, for any size of batch, and as JSON what their
user must know beside that: names of classes, how pictures are prepared.

    about = {"about.json": ""}
    torch.export.load("step.pt2", extra_files=about)
    json.loads(about["about.json"])

    json.loads(session.get_modelmeta().custom_metadata_map["about.json"])
"""

import importlib.util
import io
import json
import logging
import warnings
from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from core.base_cell import State
from core.errors import InputError
from core.files import make_folder, replace

MADE_WITH = 3  # rows of the batch that a program is traced with
MORE = 2  # how much larger the batch, and any other free size, is when it is checked
ABOUT = "about.json"
INSTALL_ONNX = 'ONNX files need other packages: install the extra "onnx"'
RTOL = 1e-3  # of ONNX Runtime, which sums in another order
ATOL = 1e-4


def require_name(path: Path) -> None:
    """Check a name before the work begins: a file of another kind must not be overwritten.

    Raises:
        InputError: the name ends in neither .pt2 nor .onnx, or packages for .onnx are missing.
    """
    if path.suffix not in (".pt2", ".onnx"):
        raise InputError(f"{path}: an exported program is named .pt2 or .onnx")
    packages = ("onnx", "onnxscript", "onnxruntime")
    if path.suffix == ".onnx" and not all(map(importlib.util.find_spec, packages)):
        raise InputError(f"{path}: {INSTALL_ONNX}")


def write(
    path: Path,
    step: nn.Module,
    inputs: Mapping[str, Tensor],
    outputs: Sequence[str],
    about: Mapping[str, Any],
    sizes: Mapping[str, Mapping[int, str]] | None = None,
) -> None:
    """Write `step(**inputs)` to `path` and print its inputs.

    It is checked first: read again and given inputs of another size, it must return the same.

    Args:
        path: the file, named .pt2 or .onnx; its folder is made.
        step: the module; its forward takes and returns tensors whose first dimension is the batch.
        inputs: an example of one row each.
        outputs: names of what the step returns, in their order.
        about: plain values to go with it.
        sizes: names of the dimensions of an input that may have any size, as the batch may.

    Raises:
        InputError: the file cannot be written, or has another suffix.
        AssertionError: the file does not compute what the module does.
    """
    require_name(path)
    step = deepcopy(step).eval().requires_grad_(False)  # a program does not learn
    for each in (*step.parameters(), *step.buffers()):
        # The format knows no other memory order, such as channels last.
        each.data = each.data.contiguous()
    free = {name: {0: "batch", **(sizes or {}).get(name, {})} for name in inputs}
    example = {name: _resized(value, {0: MADE_WITH}) for name, value in inputs.items()}
    other = {}
    shapes = {}
    for name, value in example.items():
        other[name] = _resized(value, {n: value.shape[n] + MORE for n in free[name]})
        shapes[name] = {n: torch.export.Dim(size) for n, size in free[name].items()}
    with torch.no_grad():
        program = torch.export.export(step, (), example, dynamic_shapes=shapes)
        if path.suffix == ".pt2":
            file = _torch_file(program, about)
            torch.testing.assert_close(_load(file).module()(**other), step(**other))
        else:
            file = _onnx_file(program, example, outputs, about)
            outcome = _run_onnx(file, other)
            torch.testing.assert_close(outcome, step(**other), rtol=RTOL, atol=ATOL)
    make_folder(path.parent)
    replace(path, file)
    described = []
    for name, value in inputs.items():
        shape = [free[name].get(n, str(size)) for n, size in enumerate(value.shape)]
        described.append(f"{name} [{', '.join(shape)}]")
    print(f"{path}: {', '.join(described)}")


def pack(state: State) -> Tensor:
    """A cell's state, (h,) or (h, c) [batch, hidden], as one tensor [batch, parts, hidden].

    Zeros are the first state.
    """
    return torch.stack(state, 1)


def unpack(state: Tensor) -> State:
    """The state that `pack` packed."""
    return state.unbind(1)


def _torch_file(program: torch.export.ExportedProgram, about: Mapping[str, Any]) -> io.BytesIO:
    file = io.BytesIO()
    torch.export.save(program, file, extra_files={ABOUT: json.dumps(about)})
    file.seek(0)
    return file


def _load(file: io.BytesIO) -> torch.export.ExportedProgram:
    with warnings.catch_warnings():
        # torch 2.11 warns of the buffer that it read itself.
        warnings.filterwarnings("ignore", "The given buffer is not writable")
        return torch.export.load(file)


def _onnx_file(
    program: torch.export.ExportedProgram,
    example: Mapping[str, Tensor],
    outputs: Sequence[str],
    about: Mapping[str, Any],
) -> io.BytesIO:
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the converter, about itself
        converted = torch.onnx.export(
            program,
            kwargs=dict(example),
            input_names=list(example),
            output_names=list(outputs),
            dynamo=True,
            verbose=False,
        )
    assert converted is not None
    converted.model.metadata_props[ABOUT] = json.dumps(about)
    return io.BytesIO(converted.model_proto.SerializeToString())


def _run_onnx(file: io.BytesIO, inputs: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors only
    session = onnxruntime.InferenceSession(file.getvalue(), options)
    arrays = session.run(None, {name: value.numpy() for name, value in inputs.items()})
    return tuple(torch.as_tensor(array) for array in arrays)


def _resized(example: Tensor, sizes: Mapping[int, int]) -> Tensor:
    """Return an example with other sizes of some dimensions; it begins again where it ends."""
    for dimension, size in sizes.items():
        indices = torch.arange(size) % example.shape[dimension]
        example = example.index_select(dimension, indices)
    return example
