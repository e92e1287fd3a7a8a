"""The Triton kernel in Triton's interpreter, against the reference; started by tests/test_triton.py.

TRITON_INTERPRET=1 python -m pytest tests/interpreted_triton.py
"""

from typing import Any

import pytest
import torch

from core import triton_kernels
from core.recurrent import Recurrent


def everything(recurrent: Recurrent, engine: str, x: torch.Tensor, cell: str) -> list[torch.Tensor]:
    """Outputs, final state, and all gradients of a random weighting of both."""
    recurrent.engine = engine
    torch.manual_seed(1)
    leaves = [x.clone().requires_grad_(x.is_floating_point())] if x.is_floating_point() else []
    size = len(recurrent.cells) * recurrent.directions, x.shape[1], recurrent.layers[0][0].hidden_size
    start = [torch.randn(size).requires_grad_() for _ in range(2 if cell == "lstm" else 1)]
    leaves += start
    outputs, final = recurrent(
        leaves[0] if x.is_floating_point() else x, tuple(start) if len(start) > 1 else start[0]
    )
    values = [outputs, *(final if isinstance(final, tuple) else (final,))]
    error = sum((value.float() * torch.randn(value.shape)).sum() for value in values)
    assert isinstance(error, torch.Tensor)
    leaves += list(recurrent.parameters())
    return [*values, *torch.autograd.grad(error, leaves)]


def assert_near(ours: list[torch.Tensor], reference: list[torch.Tensor], tolerance: float) -> None:
    for one, other in zip(ours, reference, strict=True):
        assert one.shape == other.shape
        assert (one - other).norm() <= tolerance * other.norm().clamp(min=0.1)


CASES: list[tuple[str, dict[str, Any], bool]] = [
    ("rnn", {}, True),
    ("rnn", {"activation": "relu", "bias": True, "bidirectional": True}, False),
    ("lstm", {"bidirectional": True}, True),
    ("lstm", {"bias": True}, False),
    ("gru", {"bias": True}, True),
    ("gru", {"bidirectional": True, "bias": True}, False),
]


@pytest.mark.parametrize(("cell", "options", "chip"), CASES)
def test_it_agrees_with_the_reference(cell, options, chip, monkeypatch) -> None:
    if not chip:
        monkeypatch.setattr(triton_kernels, "ON_CHIP", 0)
    torch.manual_seed(0)
    recurrent = Recurrent(cell, 4, 17, **options)
    x = torch.randn(2, 18, 4)  # more than one block of rows, and of units
    assert_near(everything(recurrent, "triton", x, cell), everything(recurrent, "reference", x, cell), 1e-5)


def test_integers_are_one_hot_vectors() -> None:
    recurrent, x = Recurrent("rnn", 4, 5), torch.randint(4, (3, 2))
    assert_near(everything(recurrent, "triton", x, "rnn"), everything(recurrent, "reference", x, "rnn"), 1e-5)


@pytest.mark.parametrize(("cell", "chip"), [("lstm", True), ("gru", False)])
def test_in_bf16_states_are_float32(cell, chip, monkeypatch) -> None:
    if not chip:
        monkeypatch.setattr(triton_kernels, "ON_CHIP", 0)
    torch.manual_seed(0)
    recurrent, x = Recurrent(cell, 4, 12, bias=True), torch.randn(6, 3, 4)
    with torch.autocast("cpu", torch.bfloat16):
        outputs, *rest = everything(recurrent, "triton", x, cell)
    assert outputs.dtype == torch.bfloat16
    assert {each.dtype for each in rest} == {torch.float32}
    exact = everything(recurrent, "reference", x, cell)
    assert_near([outputs.float(), *rest], exact, 0.02)
