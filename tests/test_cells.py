"""The cells against torch.nn's, and their first values against what is promised."""

import pytest
import torch

from core.activations import ACTIVATIONS
from core.cells import CELLS, GRUCell, LSTMCell, RNNCell


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_and_their_derivatives_agree_with_autograd(name):
    sigma = ACTIVATIONS[name]
    z = torch.linspace(-4, 4, 101, dtype=torch.float64, requires_grad=True)
    y = sigma(z)
    dy = torch.randn_like(y)
    expected = torch.autograd.grad(y, z, dy)[0]
    y = y.detach()
    buffer = z.detach().clone()
    assert sigma.into(buffer, buffer) is buffer
    torch.testing.assert_close(buffer, y, rtol=1e-14, atol=1e-15)
    assert sigma.backward(dy, y, dy) is dy
    torch.testing.assert_close(dy, expected, rtol=1e-14, atol=1e-15)


def test_hard_activations_are_those_of_torch():
    z = torch.linspace(-4, 4, 101)
    torch.testing.assert_close(ACTIVATIONS["hardsigmoid"](z), torch.nn.functional.hardsigmoid(z))
    torch.testing.assert_close(ACTIVATIONS["hardtanh"](z), torch.nn.functional.hardtanh(z))


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(
    ("name", "theirs"),
    [("rnn", torch.nn.RNNCell), ("lstm", torch.nn.LSTMCell), ("gru", torch.nn.GRUCell)],
)
def test_a_step_agrees_with_torch(name, theirs, bias):
    ours = CELLS[name](3, 4, bias=bias, dtype=torch.float64)
    other = theirs(3, 4, bias=bias, dtype=torch.float64)
    with torch.no_grad():
        other.weight_ih.copy_(ours.U)
        other.weight_hh.copy_(ours.W)
        if ours.b is not None:
            other.bias_ih.copy_(ours.b)
            other.bias_hh.zero_()
            if ours.b_W is not None:
                other.bias_hh[-4:] = ours.b_W
    x = torch.randn(5, 3, dtype=torch.float64)
    state = tuple(torch.randn_like(part) for part in ours.initial_state(5))
    output, new = ours(x, state)
    expected = other(x, state) if name == "lstm" else (other(x, *state),)
    torch.testing.assert_close(new, expected, rtol=1e-12, atol=1e-12)
    assert output is new[0]


def test_the_lstm_step_is_slide_28_with_any_activations():
    cell = LSTMCell(
        2, 3, gate_activation="hardsigmoid", cell_activation="relu", output_activation="identity"
    ).double()
    x, h, c = (torch.randn(4, size, dtype=torch.float64) for size in (2, 3, 3))
    U, W = cell.U.chunk(4), cell.W.chunk(4)
    i, f, g, o = (x @ u.T + h @ w.T for u, w in zip(U, W, strict=True))
    gate = torch.nn.functional.hardsigmoid
    c_new = gate(f) * c + gate(i) * torch.relu(g)
    _, (h_ours, c_ours) = cell(x, (h, c))
    torch.testing.assert_close(c_ours, c_new)
    torch.testing.assert_close(h_ours, gate(o) * c_new)


def test_the_lecture_is_the_default_no_bias_and_zero_state():
    for cell_class in CELLS.values():
        cell = cell_class(3, 4)
        assert sorted(name for name, _ in cell.named_parameters()) == ["U", "W"]
    (h,) = RNNCell(3, 4).initial_state(2)
    assert torch.equal(h, torch.zeros(2, 4))
    h, c = LSTMCell(3, 4).initial_state(2)
    assert torch.equal(h, torch.zeros(2, 4))
    assert torch.equal(c, torch.zeros(2, 4))


@pytest.mark.parametrize("name", CELLS)
def test_uniform_is_within_the_bound_of_torch(name):
    bound = 1 / 16**0.5
    for parameter in CELLS[name](200, 16, bias=True).parameters():
        assert 0.8 * bound < parameter.abs().max() <= bound


@pytest.mark.parametrize("name", CELLS)
def test_orthogonal_makes_each_gate_orthogonal(name):
    cell = CELLS[name](3, 8, initialisation="orthogonal", bias=True, dtype=torch.float64)
    for gate in cell.W.chunk(cell.gates):
        torch.testing.assert_close(gate @ gate.T, torch.eye(8, dtype=torch.float64))
    assert cell.U.abs().max() <= (6 / (3 + 8)) ** 0.5
    assert cell.b is not None
    assert not cell.b.any()


def test_small_is_close_to_zero():
    cell = GRUCell(50, 50, initialisation="small")
    assert 0.009 < cell.W.std() < 0.011
    assert 0.009 < cell.U.std() < 0.011


def test_forget_bias_is_set_only_in_its_gate():
    cell = LSTMCell(3, 4, bias=True, initialisation="orthogonal", forget_bias=1.5)
    assert cell.b is not None
    assert cell.b.tolist() == [0.0] * 4 + [1.5] * 4 + [0.0] * 8


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="bias=True"):
        LSTMCell(3, 4, forget_bias=1.0)
    with pytest.raises(ValueError, match="unknown activation 'swish'; choose one of tanh"):
        RNNCell(3, 4, activation="swish")
    with pytest.raises(ValueError, match="unknown initialisation 'zeros'"):
        RNNCell(3, 4, initialisation="zeros")
    for sizes in ((0, 4), (3, 0)):
        with pytest.raises(ValueError, match="must be at least 1"):
            RNNCell(*sizes)
