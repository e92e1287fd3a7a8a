"""Exact facts of gradient flow, and the command."""

from typing import Any

import pytest
import torch
from compared import FAST_CELLS
from torch import Tensor

from core.cells import GRUCell, LSTMCell, RNNCell
from core.diagnostics import gradient_flow, run
from core.recurrent import Recurrent
from core.training import cli

DOUBLE: Any = {"dtype": torch.float64}


def close(ours: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(ours, expected, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("name", FAST_CELLS)
def test_norms_from_the_c_engine_equal_those_autograd_retains(name):
    recurrent = Recurrent(name, 3, 4, engine="bptt", **DOUBLE)
    x = torch.randn(9, 2, 3, **DOUBLE)
    cell = recurrent.layers[0][0]
    state, outputs = cell.initial_state(2), []
    for x_t in x.unbind(0):
        output, state = cell(x_t, state)
        output.retain_grad()
        outputs.append(output)

    def error(outputs: Tensor) -> Tensor:
        return outputs.square().sum()

    error(torch.stack(outputs)).backward()
    expected = torch.stack([output.grad.norm() for output in outputs])
    close(gradient_flow(recurrent, x, error=error).norms, expected)
    close(gradient_flow(cell, x, error=error).norms, expected)


def test_a_linear_network_with_a_scaled_rotation_decays_exactly():
    rho = 0.8
    cell = RNNCell(3, 5, activation="identity", initialisation="orthogonal", **DOUBLE)
    cell.W.data *= rho
    flow = gradient_flow(cell, torch.randn(30, 2, 3, **DOUBLE))
    close(flow.norms / flow.norms[-1], rho ** torch.arange(29, -1, -1, **DOUBLE))
    close(flow.factors, torch.full((30,), rho, **DOUBLE))


def test_the_factor_of_a_plain_network_is_w_times_sigma_prime():
    cell = RNNCell(3, 5, **DOUBLE)
    x, h = torch.randn(6, 1, 3, **DOUBLE), torch.randn(1, 5, **DOUBLE)
    flow = gradient_flow(cell, x, (h,))
    for x_t, factor in zip(x, flow.factors, strict=True):
        h, _ = cell(x_t, (h,))
        close(torch.linalg.matrix_norm((1 - h.T**2) * cell.W, 2), factor)


def test_a_sigmoid_network_obeys_the_bound_of_a_quarter():
    cell = RNNCell(3, 5, activation="sigmoid", **DOUBLE)
    cell.W.data *= 10
    flow = gradient_flow(cell, torch.randn(30, 4, 3, **DOUBLE))
    assert (flow.factors <= torch.linalg.matrix_norm(cell.W, 2) / 4).all()
    assert flow.factors.min() > 0


@pytest.mark.parametrize("engine", ["reference", "bptt", "fused"])
def test_an_lstm_that_forgets_and_writes_nothing_carries_the_gradient_whole(engine):
    recurrent = Recurrent("lstm", 3, 5, bias=True, engine=engine, initialisation="small", **DOUBLE)
    cell = recurrent.layers[0][0]
    assert isinstance(cell, LSTMCell)
    assert cell.b is not None
    torch.nn.init.zeros_(cell.U)
    torch.nn.init.zeros_(cell.W)
    cell.b.data[:5], cell.b.data[5:10] = -1e4, 1e4  # i = 0, f = 1
    h, c = torch.randn(2, 1, 2, 5, **DOUBLE).requires_grad_()
    _, (_, c_T) = recurrent(torch.randn(50, 2, 3, **DOUBLE), (h, c))
    close(torch.autograd.grad(c_T.sum(), c)[0], torch.ones_like(c))


def test_the_state_of_an_lstm_is_h_and_c():
    cell = LSTMCell(3, 4, **DOUBLE)
    x, state = (
        torch.randn(1, 1, 3, **DOUBLE),
        (torch.randn(1, 4, **DOUBLE), torch.randn(1, 4, **DOUBLE)),
    )

    def step(both: Tensor) -> Tensor:
        h, c = both.chunk(2)
        return torch.cat([part[0] for part in cell(x[0], (h[None], c[None]))[1]])

    jacobian = torch.autograd.functional.jacobian(step, torch.cat([part[0] for part in state]))
    assert isinstance(jacobian, Tensor)
    close(gradient_flow(cell, x, state).factors[0], torch.linalg.matrix_norm(jacobian, 2))


def test_layers_are_taken_together_and_two_directions_refused():
    x = torch.randn(5, 2, 3, **DOUBLE)
    flow = gradient_flow(Recurrent("gru", 3, 4, layers=2, **DOUBLE), x)
    assert flow.norms.shape == flow.factors.shape == (5,)
    assert (flow.norms > 0).all()
    with pytest.raises(ValueError, match="one direction"):
        gradient_flow(Recurrent("gru", 3, 4, bidirectional=True, **DOUBLE), x)


def test_frozen_networks_can_be_diagnosed():
    cell = GRUCell(3, 4).requires_grad_(False)
    assert (gradient_flow(cell, torch.randn(5, 2, 3)).norms > 0).all()


def test_the_command_writes_its_table_and_picture(tmp_path, capsys):
    assert cli.guard("diagnostics", run, ["--hidden", "4", "--out", f"{tmp_path}/flow.png"]) == 0
    assert "LSTM, forget bias 5" in capsys.readouterr().out
    assert (tmp_path / "flow.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize(
    "wrong", [["--hidden", "0"], ["--hidden", "2", "--out", "no/such/folder/flow.png"]]
)
def test_bad_input_to_the_command_is_one_line(wrong, capsys):
    assert cli.guard("diagnostics", run, wrong) == 2
    assert capsys.readouterr().err.count("\n") == 1
