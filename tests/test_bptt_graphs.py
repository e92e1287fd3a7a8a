"""The C engine under autograd: graphs, hooks, checkpoints, memory; and closed loops."""

import gc
import resource

import pytest
import torch
from compared import (
    C_CELLS,
    needs_compiler,
    pair,
)
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from core.cells import CELLS, RNNCell
from core.engines import bptt
from core.engines.c import scratch
from core.engines.tape import Tape
from core.recurrent import Recurrent


@needs_compiler
@pytest.mark.parametrize("cell", C_CELLS)
def test_a_closed_loop_equals_the_sequence(cell):
    layer = CELLS[cell](5, 23, bias=True)
    x = torch.randn(7, 4, 5)
    tape = bptt.record(layer, 4, 7)
    steps = torch.stack([tape.step(x_t) for x_t in x])
    outputs, _ = bptt.sequence(layer, [4] * 7, x.flatten(0, 1), layer.initial_state(4))
    # U x by two products, each with an order of its own.
    torch.testing.assert_close(steps.flatten(0, 1), outputs)
    leaves, weighting = list(layer.parameters()), torch.randn(28, 23)
    for _ in range(2):  # a tape may be attached twice: its values stay
        replayed = bptt.replay(layer, x, tape).flatten(0, 1)
        ours = torch.autograd.grad(replayed, leaves, weighting)
        torch.testing.assert_close(
            ours, torch.autograd.grad(outputs, leaves, weighting, retain_graph=True)
        )


@needs_compiler
@pytest.mark.parametrize("cell", C_CELLS)
def test_two_live_graphs_of_one_layer_share_no_buffers(cell):
    net, _ = pair(cell, 4, 18)
    leaves, inputs = list(net.parameters()), [torch.randn(6, 3, 4), torch.randn(6, 3, 4)]
    separate = [torch.autograd.grad(net(x)[0].square().sum(), leaves) for x in inputs]
    both = [net(x)[0].square().sum() for x in inputs]
    for total, expected in zip(both, separate, strict=True):
        torch.testing.assert_close(torch.autograd.grad(total, leaves), expected, rtol=0, atol=0)


@needs_compiler
@pytest.mark.parametrize("cell", C_CELLS)
def test_a_second_backward_pass_needs_retain_graph_and_gives_the_same(cell):
    net, _ = pair(cell, 4, 18)
    leaves, total = list(net.parameters()), net(torch.randn(6, 3, 4))[0].sum()
    first = torch.autograd.grad(total, leaves, retain_graph=True)
    torch.testing.assert_close(torch.autograd.grad(total, leaves), first, rtol=0, atol=0)
    with pytest.raises(RuntimeError, match="second time"):
        torch.autograd.grad(total, leaves)
    with pytest.raises(RuntimeError, match='engine="reference"'):
        torch.autograd.grad(net(torch.randn(6, 3, 4))[0].sum(), leaves, create_graph=True)


@needs_compiler
def test_outputs_modified_in_place_are_noticed():
    net, _ = pair("lstm", 4, 18)
    outputs, _ = net(torch.randn(6, 3, 4))
    with torch.no_grad():
        outputs.zero_()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        outputs.sum().backward()


@needs_compiler
@pytest.mark.parametrize("cell", C_CELLS)
def test_activation_checkpoints_and_saved_tensor_hooks(cell):
    net, _ = pair(cell, 4, 18, layers=2)
    leaves, x = list(net.parameters()), torch.randn(6, 3, 4)
    expected = torch.autograd.grad(net(x)[0].square().sum(), leaves)
    again = checkpoint(net, x, use_reentrant=False)
    assert isinstance(again, tuple)
    kept: list[tuple[Tensor, Tensor]] = []

    def keep(tensor: Tensor) -> Tensor:
        kept.append((tensor, tensor.clone()))
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        hooked = net(x)[0]
    for outputs in (again[0], hooked):
        torch.testing.assert_close(
            torch.autograd.grad(outputs.square().sum(), leaves), expected, rtol=0, atol=0
        )
    net(torch.randn(6, 3, 4))[
        0
    ].sum().backward()  # writes to scratch buffers, not to what a hook has kept
    for tensor, then in kept:  # between rows there may be anything, NaN too
        torch.testing.assert_close(tensor, then, rtol=0, atol=0, equal_nan=True)


@needs_compiler
def test_ten_thousand_calls_do_not_leak_memory():
    net = Recurrent("lstm", 3, 20, engine="bptt")
    parameters = list(net.parameters())

    def calls(number: int) -> int:
        for i in range(number):
            outputs, _ = net(torch.zeros(1 + i % 5, 1 + i % 3, 3))
            if i % 2:  # else the graph is dropped
                torch.autograd.grad(outputs.sum(), parameters)
        gc.collect()
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    before = calls(1000)
    assert calls(10000) - before < 2048  # KiB
    assert len(scratch.ScratchBuffer._free[net.layers[0][0]]) <= scratch.KEPT_FREE


@needs_compiler
def test_other_activations_and_precisions_use_the_tape_in_torch():
    assert type(bptt.record(RNNCell(3, 4, activation="hardtanh"), 2, 3)) is Tape
    assert type(bptt.record(CELLS["lstm"](3, 4, dtype=torch.float64), 2, 3)) is Tape
