"""Cells as a user would write them: every engine computes their equations or refuses."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from compared import FAST_CELLS
from torch import Tensor, nn
from torch.nn.modules import module as torch_module
from torch.nn.utils import parametrize

from core.cell import Cell, State
from core.cells import CELLS, GRUCell, LSTMCell, RNNCell
from core.engines import bptt
from core.engines.reference import ReferenceTape
from core.recurrent import Recurrent, with_biases

TIME, BATCH, INPUT, HIDDEN = 6, 3, 5, 8


class MinimalGatedUnit(Cell):
    """Zhou et al. 2016: one gate, two rows of weights."""

    gates = 2

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        (h,) = state
        u_f, u_n = self.input_product(x).chunk(2, -1)
        W_f, W_n = self.W.chunk(2)
        f = torch.sigmoid(u_f + F.linear(h, W_f))
        n = torch.tanh(u_n + F.linear(f * h, W_n))
        h = (1 - f) * h + f * n
        return h, (h,)


class CoupledLSTM(LSTMCell):
    """Greff et al. 2017: the input gate is i = 1 - f; only `forward` is overridden."""

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        h, c = state
        _, f, g, o = (self.input_product(x) + F.linear(h, self.W)).chunk(4, -1)
        f = torch.sigmoid(f)
        c = f * c + (1 - f) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
        return h, (h, c)


class LayerNormLSTM(LSTMCell):
    """Ba et al. 2016: the preactivations are normalised, by a module of the cell's own."""

    def __init__(self, input_size: int, hidden_size: int, **options: Any):
        super().__init__(input_size, hidden_size, **options)
        self.norm = nn.LayerNorm(4 * hidden_size, dtype=self.W.dtype)

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        h, c = state
        i, f, g, o = self.norm(self.input_product(x) + F.linear(h, self.W)).chunk(4, -1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
        return h, (h, c)


class PeepholeLSTM(Cell):
    """Gers and Schmidhuber 2000: the gates see c, through a parameter of the cell's own."""

    name = "peephole"
    state_parts = ("h", "c")
    gates = 4

    def __init__(self, input_size: int, hidden_size: int, **options: Any):
        super().__init__(input_size, hidden_size, **options)
        self.p = nn.Parameter(torch.randn(3, hidden_size, dtype=self.W.dtype))

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        h, c = state
        i, f, g, o = (self.input_product(x) + F.linear(h, self.W)).chunk(4, -1)
        c_new = torch.sigmoid(f + self.p[0] * c) * c
        c_new = c_new + torch.sigmoid(i + self.p[1] * c) * torch.tanh(g)
        h = torch.sigmoid(o + self.p[2] * c_new) * torch.tanh(c_new)
        return h, (h, c_new)


class ResetBeforeGRU(GRUCell):
    """Cho et al. 2014 as printed, W (r h); only `forward` is overridden."""

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        (h,) = state
        u_r, u_z, u_n = self.input_product(x).chunk(3, -1)
        W_r, W_z, W_n = self.W.chunk(3)
        r = torch.sigmoid(u_r + F.linear(h, W_r))
        z = torch.sigmoid(u_z + F.linear(h, W_z))
        n = torch.tanh(u_n + F.linear(r * h, W_n))
        h = (1 - z) * n + z * h
        return h, (h,)


OWN = [MinimalGatedUnit, CoupledLSTM, LayerNormLSTM, PeepholeLSTM, ResetBeforeGRU]


@pytest.fixture(autouse=True)
def _others_ran_before() -> None:
    torch.manual_seed(0)
    for name in CELLS:
        Recurrent(name, INPUT, HIDDEN)(torch.randn(2, 2, INPUT))


def loop(cell: Cell, x: Tensor, state: State) -> tuple[Tensor, State]:
    outputs = []
    for x_t in x:
        output, state = cell(x_t, state)
        outputs.append(output)
    return torch.stack(outputs), state


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
    alone, alone_final = net(x[:2, 2:])
    torch.testing.assert_close(outputs[:2, 2:], alone)
    torch.testing.assert_close(tuple(part[:, 2:] for part in final), alone_final)
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


def test_a_state_that_is_no_tuple_is_named():
    class Bare(Cell):
        gates = 1

        def forward(self, x: Tensor, state: State) -> Any:
            return state[0], state[0]

    with pytest.raises(ValueError, match="forward returned a Tensor as its state"):
        Recurrent(Bare, INPUT, HIDDEN)(torch.randn(TIME, BATCH, INPUT))
    with pytest.raises(ValueError, match="neither the name of a cell nor a subclass"):
        Recurrent(nn.Linear, INPUT, HIDDEN)  # type: ignore[arg-type]


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
@pytest.mark.parametrize("cell", FAST_CELLS)
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
