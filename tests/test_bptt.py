"""Backpropagation through time against autograd, finite differences and its closed-loop form."""

import copy

import pytest
import torch
from compared import FAST_CELLS
from torch import Tensor

from core.base_cell import Cell, State, map_state
from core.cells import CELLS
from core.engines import bptt
from core.recurrent import Recurrent

TIME, BATCH = 7, 4


def case(name: str, bias: bool = True) -> tuple[Cell, Tensor, State, list[Tensor]]:
    """A cell, inputs, a state to start from, and everything that has a gradient."""
    cell = CELLS[name](3, 5, bias=bias, dtype=torch.float64)
    x = torch.randn(TIME, BATCH, 3, dtype=torch.float64, requires_grad=True)
    state = map_state(
        lambda part: torch.randn_like(part).requires_grad_(), cell.initial_state(BATCH)
    )
    return cell, x, state, [x, *state, *cell.parameters()]


def by_autograd(cell: Cell, x: Tensor, state: State) -> Tensor:
    outputs = []
    for x_t in x.unbind(0):
        output, state = cell(x_t, state)
        outputs.append(output)
    return torch.stack(outputs)


def recorded(cell: Cell, x: Tensor, state: State | None = None) -> bptt.Tape:
    tape = bptt.record(cell, BATCH, len(x), state)
    assert isinstance(tape, bptt.Tape)
    for x_t in x.unbind(0):
        tape.step(x_t)
    return tape


def assert_same(outputs: Tensor, expected: Tensor, leaves: list[Tensor]) -> None:
    torch.testing.assert_close(outputs, expected, rtol=1e-10, atol=1e-12)
    weighting = torch.randn_like(expected)
    ours = torch.autograd.grad(outputs, leaves, weighting)
    reference = torch.autograd.grad(expected, leaves, weighting)
    torch.testing.assert_close(ours, reference, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("name", FAST_CELLS)
def test_replay_is_the_recorded_loop_with_gradient(name, bias):
    cell, x, state, leaves = case(name, bias)
    tape = recorded(cell, x, state)
    assert not tape.recorded().buffers[-1].requires_grad
    assert_same(bptt.replay(cell, x, tape), by_autograd(cell, x, state), leaves)


def test_a_closed_loop_over_integers_is_that_over_one_hot_vectors():
    cell, _, _, _ = case("lstm")
    numbers = torch.randint(0, 3, (TIME, BATCH))
    floats = torch.nn.functional.one_hot(numbers, 3).double()
    outputs = bptt.replay(cell, numbers, recorded(cell, numbers))
    assert_same(
        outputs, by_autograd(cell, floats, cell.initial_state(BATCH)), list(cell.parameters())
    )


def test_a_closed_loop_whose_inputs_follow_from_its_outputs():
    cell = CELLS["gru"](5, 5, dtype=torch.float64)
    x_t, tape, inputs = (
        torch.randn(BATCH, 5, dtype=torch.float64),
        bptt.record(cell, BATCH, TIME),
        [],
    )
    for _ in range(TIME):
        inputs.append(x_t)
        x_t = tape.step(x_t).round(decimals=2)  # a choice without a derivative
    x = torch.stack(inputs).requires_grad_()
    assert_same(
        bptt.replay(cell, x, tape),
        by_autograd(cell, x, cell.initial_state(BATCH)),
        [x, *cell.parameters()],
    )


@pytest.mark.parametrize("name", FAST_CELLS)
def test_sequence_passes_gradcheck(name):
    cell, _, state, leaves = case(name)
    names = [name for name, _ in cell.named_parameters()]
    parts = len(state)

    def run(x, *rest):
        clone = copy.deepcopy(cell)
        for name, value in zip(names, rest[parts:], strict=True):
            delattr(clone, name)
            setattr(clone, name, value)
        rows = x.flatten(0, 1)[:-3]
        outputs, final = bptt.sequence(clone, [4] * 5 + [3, 2], rows, rest[:parts])
        return outputs, *final

    assert torch.autograd.gradcheck(run, leaves)


def test_second_derivatives_are_refused_and_the_reference_has_them():
    recurrent = Recurrent("lstm", 3, 4, engine="bptt")
    x = torch.randn(5, 2, 3, requires_grad=True)
    with pytest.raises(RuntimeError, match='engine="reference"'):
        torch.autograd.grad(recurrent(x)[0].sum(), x, create_graph=True)
    (cell,) = recurrent.layers[0]
    tape = bptt.record(cell, batch=2, steps=1)
    tape.step(x[0].detach())
    y = bptt.replay(cell, x[:1], tape)
    with pytest.raises(RuntimeError, match='engine="reference"'):
        torch.autograd.grad(y.sum(), x, create_graph=True)
    recurrent.engine = "reference"
    gradient = torch.autograd.grad(recurrent(x)[0].sum(), x, create_graph=True)[0]
    assert torch.autograd.grad(gradient.square().sum(), x)[0].any()


def test_a_graph_may_be_kept_for_a_second_backward():
    cell, x, state, leaves = case("lstm")
    total = bptt.replay(cell, x, recorded(cell, x, state)).sum()
    first = torch.autograd.grad(total, leaves, retain_graph=True)
    torch.testing.assert_close(torch.autograd.grad(total, leaves), first, rtol=0, atol=0)


def test_a_weight_changed_between_forward_and_backward_is_noticed():
    cell, x, state, _ = case("rnn")
    outputs = bptt.replay(cell, x, recorded(cell, x, state))
    with torch.no_grad():
        cell.W.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        outputs.sum().backward()


def test_frozen_parts_get_no_gradient():
    cell, x, _, _ = case("gru")
    cell.U.requires_grad_(False)
    bptt.replay(cell, x, recorded(cell, x)).sum().backward()
    assert cell.U.grad is None
    assert cell.W.grad is not None


def test_a_tape_must_be_full_and_fit():
    cell, x, _, _ = case("rnn")
    tape = bptt.record(cell, BATCH, TIME)
    tape.step(x[0])
    with pytest.raises(ValueError, match="7 inputs for a tape with 1 of 7 steps taken"):
        bptt.replay(cell, x, tape)


def test_inputs_in_half_precision_are_computed_in_that_of_the_weights():
    cell, x, _, _ = case("gru")
    half = x.detach().bfloat16().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        outputs = bptt.replay(cell, half, recorded(cell, half))
    outputs.sum().backward()
    exact = by_autograd(cell, half.double(), cell.initial_state(BATCH))
    torch.testing.assert_close(outputs, exact, rtol=1e-12, atol=1e-12)
    assert half.grad is not None
    assert half.grad.dtype == torch.bfloat16


def test_detach_keeps_values_and_cuts_the_graph():
    h = torch.randn(2, 3, requires_grad=True) * 2
    detached = bptt.detach((h, h))
    assert torch.equal(detached[1], h)
    assert not detached[0].requires_grad
