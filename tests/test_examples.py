"""The scripts of examples/, run as they are or at toy size."""

import runpy
from pathlib import Path

import torch
from torch import nn

from core.cells import LSTMCell
from core.recurrent import Recurrent

EXAMPLES = Path(__file__).parent.parent / "examples"


def test_gradients_written_out_by_hand_are_those_of_autograd():
    example = runpy.run_path(str(EXAMPLES / "lstm_by_hand.py"))
    time, batch, hidden = example["TIME"], example["BATCH"], example["HIDDEN"]
    net = Recurrent("lstm", 2, hidden, bias=True, engine="reference")
    cell = net.layers[0][0]
    assert isinstance(cell, LSTMCell)
    V = nn.Parameter(torch.randn(hidden))
    x, d = torch.rand(time, batch, 2), torch.rand(batch)
    outputs, _ = net(x)
    outputs.retain_grad()
    expected = (outputs[-1] @ V - d).square().mean()
    expected.backward()
    wanted = [parameter.grad for parameter in (*cell.parameters(), V)]
    with torch.no_grad():
        error, norms = example["backpropagate"](cell, V, x, d)
    assert abs(error - expected.item()) < 1e-5
    assert len(norms) == time
    for parameter, gradient in zip((*cell.parameters(), V), wanted, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-4, atol=1e-5)


def test_the_lstm_by_hand_learns(capsys):
    example = runpy.run_path(str(EXAMPLES / "lstm_by_hand.py"))
    assert example["main"](100) < 0.4  # it has begun to answer about 1
    assert "step   100" in capsys.readouterr().out


def test_a_cell_of_ones_own_learns_digits(capsys):
    example = runpy.run_path(str(EXAMPLES / "own_cell.py"))
    assert example["main"](4) > 0.8  # one class in ten is right by chance
    assert "epoch  4" in capsys.readouterr().out


def test_a_policy_of_ones_own_is_where_the_model_looks(capsys):
    example = runpy.run_path(str(EXAMPLES / "own_policy.py"))
    errors = example["main"](200)
    assert errors["scanner"] < 85  # nine classes in ten are wrong by chance
    assert errors["scanner"] < errors["center"]
    place = example["scanner"](3, torch.zeros(5, 2))
    torch.testing.assert_close(place, torch.tensor([[-0.6, 0.45]]).expand(5, 2))
