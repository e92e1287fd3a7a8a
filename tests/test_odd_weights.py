"""Replaced, freed and not finite weights, and empty sequences: as the reference, or an error."""

import copy

import pytest
import torch
from compared import C_CELLS
from torch import Tensor, nn

from core.cells import CELLS
from core.engines import bptt
from core.engines.c import build
from core.recurrent import Recurrent

TIME, BATCH, SIZE = 3, 2, 16
ENGINES = ("reference", "bptt", "fused", "auto")


def outcome(net: Recurrent, engine: str, x: Tensor, training: bool) -> Tensor | None:
    """The outputs, None for an error."""
    net.engine = engine
    try:
        with torch.set_grad_enabled(training):
            return net(x)[0].detach()
    except (ValueError, RuntimeError):
        return None


REPLACED = {
    "bias of one element": ("b", lambda: torch.zeros(1)),
    "bias too long": ("b", lambda: torch.zeros(100)),
    "recurrent bias of one element": ("b_W", lambda: torch.ones(1)),
    "short U": ("U", lambda: torch.randn(40, SIZE)),
    "wide U": ("U", lambda: torch.randn(48, 20)),
    "U of one column": ("U", lambda: torch.randn(48, 1)),
    "short W": ("W", lambda: torch.randn(16, 12)),
    "W of one row": ("W", lambda: torch.randn(1, 16)),
    "flat W": ("W", lambda: torch.randn(48 * 16)),
}


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("replaced", REPLACED)
def test_weights_of_other_shapes_are_broadcast_as_torch_does_or_refused(replaced, training):
    name, make = REPLACED[replaced]
    net, x = Recurrent("gru", SIZE, SIZE, layers=2, bias=True), torch.ones(TIME, BATCH, SIZE)
    setattr(net.layers[0][0], name, nn.Parameter(make()))
    expected = outcome(net, "reference", x, training)
    ours = outcome(net, "auto", x, training)
    assert (ours is None) == (expected is None)
    if ours is not None and expected is not None:
        torch.testing.assert_close(ours, expected)
    for engine in ("bptt", "fused"):
        net.engine = engine
        with pytest.raises(ValueError, match="shapes of its weights"):
            net(x)


def test_a_bias_only_in_the_reset_product():
    net, x = Recurrent("gru", SIZE, SIZE, bias=True), torch.randn(TIME, BATCH, SIZE)
    net.layers[0][0].b = None
    expected = outcome(net, "reference", x, True)
    for engine in ("bptt", "fused", "auto"):
        torch.testing.assert_close(outcome(net, engine, x, True), expected)


@pytest.mark.parametrize("part", ["U", "W", "b"])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("cell", C_CELLS)
@pytest.mark.skipif(build.compiler() is None, reason="there is no C compiler here")
def test_weights_whose_memory_was_freed_are_refused(cell, training, part):
    net, x = Recurrent(cell, SIZE, SIZE, bias=True), torch.ones(TIME, BATCH, SIZE)
    weight = getattr(net.layers[0][0], part)
    weight.untyped_storage().resize_(0 if part != "b" else 8)
    with torch.set_grad_enabled(training), pytest.raises(RuntimeError, match="it was freed"):
        net(x)


@pytest.mark.skipif(build.compiler() is None, reason="there is no C compiler here")
def test_weights_freed_before_backward_are_refused():
    net, x = Recurrent("lstm", SIZE, SIZE), torch.ones(TIME, BATCH, SIZE)
    total = net(x)[0].sum()
    net.layers[0][0].W.untyped_storage().resize_(0)
    with pytest.raises(RuntimeError, match="it was freed"):
        total.backward()
    cell = CELLS["rnn"](SIZE, SIZE)
    tape = bptt.record(cell, BATCH, 2)
    tape.step(x[0])
    cell.W.untyped_storage().resize_(0)
    with pytest.raises(RuntimeError, match="it was freed"):
        tape.step(x[1])


@pytest.mark.skipif(build.compiler() is None, reason="there is no C compiler here")
def test_saved_tensor_hooks_that_return_another_dtype_or_shape_are_refused():
    net, x = Recurrent("lstm", SIZE, SIZE), torch.ones(TIME, BATCH, SIZE)
    for wrong in (lambda t: t[..., :1], lambda t: t.double(), lambda t: t[:1]):
        with torch.autograd.graph.saved_tensors_hooks(lambda tensor: tensor, wrong):
            total = net(x)[0].sum()
        with pytest.raises(RuntimeError):
            total.backward()


@pytest.mark.parametrize("odd", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("hidden", [16, 160, 272])
@pytest.mark.parametrize("batch", [1, 2, 9])
@pytest.mark.parametrize("cell", C_CELLS)
def test_what_is_not_finite_in_w_shows_at_the_step_of_the_reference(cell, batch, hidden, odd):
    torch.manual_seed(0)
    net = Recurrent(cell, SIZE, hidden, bias=True)
    net.layers[0][0].W.data[hidden // 2, 3] = odd
    for time in (1, 2, 5):
        x, zeros = torch.randn(time, batch, SIZE), net.initial_state(batch)
        expected = outcome(net, "reference", x, True)
        assert expected is not None
        assert expected[0].isnan().any()
        for training in (True, False):
            for state in (None, zeros):
                with torch.set_grad_enabled(training):
                    net.engine = "auto"
                    ours, _ = net(x, state)
                torch.testing.assert_close(ours, expected, equal_nan=True)
        tape = bptt.record(net.layers[0][0], batch, time)
        steps = torch.stack([tape.step(x_t) for x_t in x])
        torch.testing.assert_close(steps, expected, equal_nan=True)


@pytest.mark.parametrize("cell", C_CELLS)
def test_a_gradient_that_is_not_finite_at_the_first_step_shows_in_w(cell):
    net, x = Recurrent(cell, SIZE, 32), torch.randn(4, 1, SIZE)
    weighting = torch.ones(4, 1, 32)
    weighting[0, 0, 5] = float("nan")
    gradients = []
    for engine in ("auto", "reference"):
        net.engine = engine
        gradients.append(torch.autograd.grad(net(x)[0], list(net.parameters()), weighting))
    torch.testing.assert_close(*gradients, equal_nan=True, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", [(0, 3), (4, 0), (0, 0)])
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("cell", C_CELLS)
@pytest.mark.parametrize("bidirectional", [True, False])
def test_without_time_or_sequences_outputs_are_empty_and_the_state_stays(
    bidirectional, cell, engine, shape
):
    time, batch = shape
    net = Recurrent(cell, 4, 5, layers=2, bidirectional=bidirectional, engine=engine)
    width = 10 if bidirectional else 5
    state = tuple(torch.randn_like(part) for part in net.initial_state(batch))
    lengths = torch.zeros(batch, dtype=torch.int64)
    for x in (torch.randn(time, batch, 4), torch.zeros(time, batch, dtype=torch.int64)):
        for given in (None, lengths):
            for training in (True, False):
                with torch.set_grad_enabled(training):
                    outputs, final = net(x, state, given)
                    _, from_zero = net(x, None, given)
                assert outputs.shape == (time, batch, width)
                torch.testing.assert_close(final, state)
                torch.testing.assert_close(from_zero, net.initial_state(batch))


def test_a_deep_copy_of_an_odd_net_is_as_odd():
    net = Recurrent("gru", SIZE, SIZE, bias=True)
    net.layers[0][0].b = nn.Parameter(torch.full((1,), 0.5))
    x = torch.randn(TIME, BATCH, SIZE)
    torch.testing.assert_close(copy.deepcopy(net)(x), net(x))
