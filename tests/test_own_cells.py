"""Cells as a user would write them: every engine computes their equations or refuses."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from own_cells import (
    BATCH,
    HIDDEN,
    INPUT,
    OWN,
    TIME,
    CoupledLSTM,
    LayerNormLSTM,
    MinimalGatedUnit,
    PeepholeLSTM,
    loop,
)
from torch import Tensor, nn

from core.base_cell import Cell, State
from core.cells import CELLS, GRUCell, LSTMCell, RNNCell
from core.engines import bptt
from core.engines.reference_tape import ReferenceTape
from core.recurrent import Recurrent, with_biases
from core.torch_weights import to_torch


@pytest.fixture(autouse=True)
def _others_ran_before() -> None:
    torch.manual_seed(0)
    for name in CELLS:
        Recurrent(name, INPUT, HIDDEN)(torch.randn(2, 2, INPUT))


def with_gradients(run: Callable[[Tensor], Tensor], x: Tensor, cell: nn.Module) -> list[Tensor]:
    x = x.clone().requires_grad_()
    outputs = run(x)
    weighting = torch.linspace(-1, 1, outputs.numel(), dtype=x.dtype).view_as(outputs)
    leaves = [x, *cell.parameters()]
    error = (outputs * weighting).sum()
    return [outputs, *torch.autograd.grad(error, leaves, materialize_grads=True)]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", OWN)
def test_a_class_runs_as_its_own_equations(kind, dtype, training):
    net = Recurrent(kind, INPUT, HIDDEN, bias=True, dtype=dtype)
    cell = net.layers[0][0]
    x = torch.randn(TIME, BATCH, INPUT, dtype=dtype)
    state = tuple(torch.randn_like(part) for part in cell.initial_state(BATCH))
    start = tuple(part[None] for part in state)
    if training:
        ours = with_gradients(lambda x: net(x, start)[0], x, net)
        expected = with_gradients(lambda x: loop(cell, x, state)[0], x, net)
        torch.testing.assert_close(ours, expected)
    with torch.set_grad_enabled(training):
        outputs, final = net(x, start)
        expected_outputs, expected_final = loop(cell, x, state)
    torch.testing.assert_close(outputs, expected_outputs)
    torch.testing.assert_close(tuple(part[0] for part in final), expected_final)


@pytest.mark.parametrize("kind", OWN)
def test_layers_directions_and_lengths(kind):
    net = Recurrent(kind, INPUT, HIDDEN, layers=2, bidirectional=True)
    x, lengths = torch.randn(TIME, BATCH, INPUT), torch.tensor([6, 0, 2])
    outputs, final = net(x, lengths=lengths)
    assert outputs.shape == (TIME, BATCH, 2 * HIDDEN)
    assert [part.shape for part in final] == [(4, BATCH, HIDDEN)] * len(kind.state_parts)
    single, single_final = net(x[:2, 2:])
    torch.testing.assert_close(outputs[:2, 2:], single)
    torch.testing.assert_close(tuple(part[:, 2:] for part in final), single_final)
    assert not outputs[2:, 2].any()


@pytest.mark.parametrize("engine", ["bptt", "fused"])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("kind", OWN)
def test_an_engine_that_cannot_run_a_cell_says_so(kind, training, engine):
    net = Recurrent(kind, INPUT, HIDDEN, engine=engine)
    with torch.set_grad_enabled(training), pytest.raises(ValueError, match="cannot run this"):
        net(torch.randn(TIME, BATCH, INPUT))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("kind", OWN)
def test_sequences_of_rows_and_closed_loops(kind, training):
    cell = kind(INPUT, HIDDEN)
    x = torch.randn(TIME, BATCH, INPUT)
    state = tuple(torch.randn_like(part) for part in cell.initial_state(BATCH))
    with torch.set_grad_enabled(training):
        expected, expected_final = loop(cell, x, state)
        outputs, final = bptt.sequence(cell, [BATCH] * TIME, x.flatten(0, 1), state)
        torch.testing.assert_close(outputs.unflatten(0, (TIME, BATCH)), expected)
        torch.testing.assert_close(tuple(part[0] for part in final), expected_final)
        tape = bptt.record(cell, BATCH, TIME, state)
        assert isinstance(tape, ReferenceTape)
        recorded = torch.stack([tape.step(x_t) for x_t in x])
        torch.testing.assert_close(recorded, expected)
    if training:
        ours = with_gradients(lambda x: bptt.replay(cell, x, tape), x, cell)
        torch.testing.assert_close(ours, with_gradients(lambda x: loop(cell, x, state)[0], x, cell))
        with pytest.raises(ValueError, match="other outputs than those recorded"):
            bptt.replay(cell, x + 1, tape)


@pytest.mark.parametrize("kind", OWN)
def test_a_sequence_whose_batch_shrinks(kind):
    cell, sizes = kind(INPUT, HIDDEN), [3, 2, 2, 1]
    x, (lengths, padded) = torch.randn(8, INPUT), (torch.tensor([4, 3, 1]), torch.zeros(4, 3, 5))
    for t, rows in enumerate(x.split(sizes)):
        padded[t, : len(rows)] = rows
    net = Recurrent(kind, INPUT, HIDDEN)
    net.load_state_dict({f"cells.0.0.{k}": value for k, value in cell.state_dict().items()})
    expected, expected_final = net(padded, lengths=lengths)
    outputs, final = bptt.sequence(cell, sizes, x)
    torch.testing.assert_close(outputs, torch.cat([expected[t, :n] for t, n in enumerate(sizes)]))
    torch.testing.assert_close(final, expected_final)


def test_integers_are_one_hot_vectors_of_an_own_cell():
    net, numbers = (
        Recurrent(MinimalGatedUnit, INPUT, HIDDEN),
        torch.randint(0, INPUT, (TIME, BATCH)),
    )
    one_hot = F.one_hot(numbers, INPUT).float()
    torch.testing.assert_close(net(numbers), net(one_hot))


def test_with_biases_takes_a_class():
    net = with_biases(CoupledLSTM, INPUT, HIDDEN)
    b = net.layers[0][0].b
    assert b is not None
    assert b[HIDDEN : 2 * HIDDEN].tolist() == [1.0] * HIDDEN


def test_a_state_that_is_no_tuple_is_refused():
    class Bare(Cell):
        gates = 1

        def forward(self, x: Tensor, state: State) -> Any:
            return state[0], state[0]

    with pytest.raises(ValueError, match="forward returned a Tensor as its state"):
        Recurrent(Bare, INPUT, HIDDEN)(torch.randn(TIME, BATCH, INPUT))
    with pytest.raises(ValueError, match="neither the name of a cell nor a subclass"):
        Recurrent(nn.Linear, INPUT, HIDDEN)  # type: ignore[arg-type]


def test_a_step_that_does_not_fit_its_cell_is_refused():
    class Wide(Cell):
        gates = 2

        def forward(self, x: Tensor, state: State) -> Any:
            return self.input_product(x), state

    class TwoParts(Cell):
        gates = 1

        def forward(self, x: Tensor, state: State) -> Any:
            h = self.input_product(x)
            return h, (h, h)

    class NoGates(Cell):
        pass

    x = torch.randn(TIME, BATCH, INPUT)
    with pytest.raises(ValueError, match=r"an output \[3, 16\], not \[3, 8\]"):
        Recurrent(Wide, INPUT, HIDDEN)(x)
    with pytest.raises(ValueError, match="a state of 2 tensors, but `state_parts` lists 1: h"):
        Recurrent(TwoParts, INPUT, HIDDEN)(x)
    with pytest.raises(ValueError, match="NoGates does not say how many `gates` it has"):
        Recurrent(NoGates, INPUT, HIDDEN)


@pytest.mark.parametrize(
    ("returned", "problem"),
    [
        (lambda h: None, "Odd.forward returned None, not a pair: the output and the state"),
        (lambda h: h, "Odd.forward returned a Tensor, not a pair"),
        (lambda h: (h, h, (h,)), "returned a tuple of 3, not a pair"),
        (lambda h: ((h, h), (h,)), r"a tuple of 2 as its output, not a tensor \[3, 8\]"),
        (lambda h: (h[:1], (h,)), r"an output \[1, 8\], not \[3, 8\]"),
        (lambda h: (h, [h]), "a list as its state"),
        (lambda h: (h, (h.mean(0),)), r"h of the shape \[8\], which was \[3, 8\] before"),
        (lambda h: (h, (None,)), "None as h, a part of its state, not a tensor"),
    ],
)
def test_what_a_step_returns_is_checked_where_the_loop_is_open_or_closed(returned, problem):
    class Odd(Cell):
        gates = 1

        def forward(self, x: Tensor, state: State) -> Any:
            return returned(self.input_product(x) + state[0])

    x = torch.randn(TIME, BATCH, INPUT)
    with pytest.raises(
        ValueError, match=f"Odd.forward returned .*{problem.split('returned ')[-1]}"
    ):
        Recurrent(Odd, INPUT, HIDDEN)(x)
    with pytest.raises(ValueError, match=problem):
        bptt.record(Odd(INPUT, HIDDEN), BATCH, TIME).step(x[0])


@pytest.mark.parametrize("initialisation", ["uniform", "orthogonal", "small"])
def test_new_initial_values_are_those_of_the_weights_that_all_cells_have(initialisation):
    cell = PeepholeLSTM(INPUT, HIDDEN, bias=True, initialisation=initialisation)
    before = {name: value.clone() for name, value in cell.named_parameters()}
    cell.reset_parameters()
    assert torch.equal(cell.p, before["p"])
    assert not torch.equal(cell.W, before["W"])


@pytest.mark.parametrize("kind", [LayerNormLSTM, PeepholeLSTM])
def test_weights_that_torch_nn_lacks_are_not_dropped(kind):
    with pytest.raises(ValueError, match=r"no cell of torch.nn has the weight cells.0.0.(p|norm)"):
        to_torch(Recurrent(kind, INPUT, HIDDEN).state_dict())


def same_as_reference(net: Recurrent, x: Tensor) -> None:
    for training in (True, False):
        with torch.set_grad_enabled(training):
            net.engine = "auto"
            ours = net(x)
            net.engine = "reference"
            torch.testing.assert_close(ours, net(x))
    net.engine = "auto"


@pytest.mark.parametrize(
    "other",
    [
        GRUCell(HIDDEN, HIDDEN, cell_activation="relu"),
        RNNCell(HIDDEN, HIDDEN),
        RNNCell(HIDDEN, HIDDEN, activation="sigmoid"),
        MinimalGatedUnit(HIDDEN, HIDDEN),
    ],
)
def test_layers_may_have_different_cells(other):
    net = Recurrent("gru", INPUT, HIDDEN, layers=2)
    net.cells[1] = nn.ModuleList([other])
    same_as_reference(net, torch.randn(TIME, BATCH, INPUT))


def test_layers_of_different_states_or_widths_are_refused():
    x = torch.randn(TIME, BATCH, INPUT)
    for other in (LSTMCell(HIDDEN, HIDDEN), GRUCell(HIDDEN, 4), GRUCell(4, HIDDEN)):
        net = Recurrent("gru", INPUT, HIDDEN, layers=2)
        net.cells[1] = nn.ModuleList([other])
        with pytest.raises(ValueError, match="layer"):
            net(x)
