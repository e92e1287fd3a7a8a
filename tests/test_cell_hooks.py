"""Hooks, activations and parametrizations that a user puts on a cell, on every engine."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from compared import FUSED_CELLS
from own_cells import (
    BATCH,
    HIDDEN,
    INPUT,
    TIME,
    loop,
)
from torch import Tensor, nn
from torch.nn.modules import module as torch_module
from torch.nn.utils import parametrize

from core.base_cell import Cell
from core.engines import bptt
from core.recurrent import Recurrent


def zeros_after(_: nn.Module, __: Any, given: Any) -> Any:
    return torch.zeros(BATCH, HIDDEN), given[1]


def twice_before(_: nn.Module, given: Any) -> Any:
    return 2 * given[0], given[1]


def twice_backward(_: nn.Module, d_in: Any, __: Any) -> Any:
    return 2 * d_in[0], *d_in[1:]


def twice_before_backward(_: nn.Module, d_out: Any) -> Any:
    return tuple(None if d is None else 2 * d for d in d_out)


HOOKS: dict[str, Callable[[Cell], Any]] = {
    "forward": lambda cell: cell.register_forward_hook(zeros_after),
    "before forward": lambda cell: cell.register_forward_pre_hook(twice_before),
    "backward": lambda cell: cell.register_full_backward_hook(twice_backward),
    "before backward": lambda cell: cell.register_full_backward_pre_hook(twice_before_backward),
}


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("engine", ["auto", "bptt", "fused"])
@pytest.mark.parametrize("cell", FUSED_CELLS)
def test_hooks_of_a_cell_run(cell, engine, hook):
    net = Recurrent(cell, INPUT, HIDDEN, engine=engine)
    x = torch.randn(TIME, BATCH, INPUT, requires_grad=True)
    before = torch.autograd.grad(net(x)[0].sum(), x)[0]
    HOOKS[hook](net.layers[0][0])
    outputs, _ = net(x)
    if not outputs.requires_grad:
        assert not outputs.any()
        return
    ours = torch.autograd.grad(outputs.sum(), x)[0]
    assert not torch.allclose(ours, before)
    net.engine = "reference"
    torch.testing.assert_close(ours, torch.autograd.grad(net(x)[0].sum(), x)[0])


def test_global_hooks_and_a_forward_on_the_instance_run():
    net, x = Recurrent("gru", INPUT, HIDDEN), torch.randn(TIME, BATCH, INPUT)
    cell: Any = net.layers[0][0]
    calls = []
    handle = torch_module.register_module_forward_hook(lambda module, *_: calls.append(module))
    try:
        net(x)
    finally:
        handle.remove()
    assert calls.count(cell) == TIME
    cell.forward = lambda x, state: (torch.ones(len(x), HIDDEN), state)
    assert (net(x)[0] == 1).all()
    tape = bptt.record(cell, BATCH, 1)
    assert (tape.step(x[0]) == 1).all()


def test_a_first_state_given_on_the_instance_is_where_it_begins():
    net, x = Recurrent("rnn", INPUT, HIDDEN), torch.randn(TIME, BATCH, INPUT)
    cell: Any = net.layers[0][0]
    start = (torch.ones(BATCH, HIDDEN),)
    expected, _ = loop(cell, x, start)
    cell.initial_state = lambda batch: start
    torch.testing.assert_close(net(x)[0], expected)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(("cell", "sigma"), [("rnn", "sigma"), ("lstm", "sigma_c")])
def test_an_activation_of_ones_own_is_computed(cell, sigma, training):
    net = Recurrent(cell, INPUT, HIDDEN)
    layer = net.layers[0][0]
    setattr(layer, sigma, torch.sin)
    x = torch.randn(TIME, BATCH, INPUT)
    with torch.set_grad_enabled(training):
        expected, _ = loop(layer, x, layer.initial_state(BATCH))
        torch.testing.assert_close(net(x)[0], expected)
        net.engine = "bptt"
        with pytest.raises(ValueError, match="its activations"):
            net(x)


def test_parametrized_weights_keep_the_fast_steps():
    class Doubled(nn.Module):
        def forward(self, W: Tensor) -> Tensor:
            return 2 * W

    net, x = Recurrent("lstm", INPUT, HIDDEN), torch.randn(TIME, BATCH, INPUT)
    plain = Recurrent("lstm", INPUT, HIDDEN)
    plain.load_state_dict(net.state_dict())
    plain.layers[0][0].W.data *= 2
    parametrize.register_parametrization(net.layers[0][0], "W", Doubled())
    for engine in ("auto", "bptt", "fused", "reference"):
        net.engine = engine
        torch.testing.assert_close(net(x), plain(x))
