"""Under autocast: outputs near those in float32, states and gradients in float32."""

from typing import Any

import pytest
import torch
from compared import FUSED_CELLS
from torch import Tensor

from core.cells import CELLS
from core.engines import bptt
from core.recurrent import Recurrent


def everything(
    recurrent: Recurrent, lengths: Tensor | None, *, autocast: bool
) -> tuple[Tensor, list[Tensor]]:
    """Outputs; final state and the gradients of its and the outputs' sum."""
    torch.manual_seed(1)
    x = torch.randn(6, 3, 4, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast, cache_enabled=False):
        outputs, final = recurrent(x, None, lengths)
    error = outputs.float().square().sum() + sum(each.sum() for each in final)
    return outputs, [*final, *torch.autograd.grad(error, [x, *recurrent.parameters()])]


@pytest.mark.parametrize("lengths", [None, torch.tensor([6, 2, 4])])
@pytest.mark.parametrize("engine", ["reference", "bptt", "fused", "auto"])
@pytest.mark.parametrize("cell", FUSED_CELLS)
def test_sequences(cell: str, engine: str, lengths: Tensor | None) -> None:
    torch.manual_seed(0)
    recurrent = Recurrent(cell, 4, 16, bias=True, engine=engine)
    exact, others = everything(recurrent, lengths, autocast=False)
    outputs, states_and_gradients = everything(recurrent, lengths, autocast=True)
    assert outputs.dtype in (torch.float32, torch.bfloat16)
    assert (outputs - exact).norm() <= 0.02 * exact.norm()
    for one, other in zip(states_and_gradients, others, strict=True):
        assert one.dtype == torch.float32
        assert (one - other).norm() <= 0.03 * other.norm()


@pytest.mark.parametrize("cell", FUSED_CELLS)
def test_closed_loops(cell: str) -> None:
    torch.manual_seed(0)
    made: Any = CELLS[cell](4, 16, bias=True)
    x = torch.randn(5, 3, 4)
    results = []
    for autocast in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast, cache_enabled=False):
            tape = bptt.record(made, 3, 5)
            assert isinstance(tape, bptt.Tape)
            for each in x:
                tape.step(each.bfloat16() if autocast else each)
            h = bptt.replay(made, x, tape)
            state = made.initial_state(3)
            for each in x:
                _, state = made(each, state)
        assert {part.dtype for part in tape.recorded().final} == {h.dtype} == {torch.float32}
        if cell == "lstm":
            assert state[1].dtype == torch.float32
        results.append([h, *torch.autograd.grad(h.sum(), list(made.parameters()))])
    for one, other in zip(*results, strict=True):
        assert (one - other).norm() <= 0.03 * other.norm()
