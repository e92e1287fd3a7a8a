"""Every engine against the Python loop under autograd, and the loop against torch.nn."""

from typing import Any

import pytest
import torch
from beartype import beartype
from compared import FUSED_CELLS
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import TypeCheckError, jaxtyped

from core.base_cell import State, map_state
from core.cells import CELLS
from core.engines import bptt
from core.recurrent import Recurrent, with_biases
from core.torch_weights import from_torch, to_torch

TORCH = {"rnn": torch.nn.RNN, "lstm": torch.nn.LSTM, "gru": torch.nn.GRU}
FAST = ("bptt", "fused", "auto")


def everything(recurrent: Recurrent, engine: str, x, state, lengths) -> list[torch.Tensor]:
    """Outputs, final state, and the gradients of a random weighting of both."""
    recurrent.engine = engine
    leaves = [x.clone().requires_grad_(), *(part.clone().requires_grad_() for part in state)]
    torch.manual_seed(1)  # dropout, and the weighting
    outputs, final = recurrent(leaves[0], tuple(leaves[1:]), lengths)
    values = [outputs, *final]
    error = sum(
        torch.vdot(value.flatten(), torch.randn(value.numel()).to(value.dtype)) for value in values
    )
    assert isinstance(error, torch.Tensor)
    leaves += recurrent.parameters()
    return [*values, *torch.autograd.grad(error, leaves, materialize_grads=True)]


def assert_agree(ours: list[torch.Tensor], reference: list[torch.Tensor], tolerance: float) -> None:
    assert len(ours) == len(reference)
    for one, other in zip(ours, reference, strict=True):
        size = other.norm().clamp(min=0.1)  # a smaller one is the difference of terms of this size
        assert (one - other).norm() <= tolerance * size


@st.composite
def cases(draw) -> tuple[Recurrent, torch.Tensor, State, torch.Tensor | None]:
    time, batch, size, hidden = (draw(st.integers(1, most)) for most in (7, 5, 4, 5))
    torch.manual_seed(draw(st.integers(0, 1000)))
    recurrent = Recurrent(
        draw(st.sampled_from(sorted(FUSED_CELLS))),
        size,
        hidden,
        layers=draw(st.integers(1, 3)),
        bidirectional=draw(st.booleans()),
        bias=draw(st.booleans()),
        dropout=draw(st.sampled_from([0.0, 0.4])),
        initialisation=draw(st.sampled_from(["uniform", "orthogonal"])),
        dtype=torch.float64,
    )
    recurrent.train(draw(st.booleans()))
    x = torch.randn(time, batch, size, dtype=torch.float64)
    state = map_state(torch.randn_like, recurrent.initial_state(batch))
    lengths = draw(
        st.none() | st.lists(st.integers(0, time), min_size=batch, max_size=batch).map(torch.tensor)
    )
    return recurrent, x, state, lengths


@pytest.mark.parametrize("engine", FAST)
@settings(deadline=None, max_examples=60)
@given(case=cases())
def test_engines_agree_with_the_reference_in_double_precision(engine, case):
    assert_agree(
        everything(case[0], engine, *case[1:]), everything(case[0], "reference", *case[1:]), 1e-10
    )


@pytest.mark.parametrize("engine", FAST)
@settings(deadline=None, max_examples=20)
@given(case=cases())
def test_engines_agree_with_the_reference_in_single_precision(engine, case):
    recurrent, x, state, lengths = case
    x, state = x.float(), map_state(torch.Tensor.float, state)
    ours = everything(recurrent.float(), engine, x, state, lengths)
    exact = everything(
        recurrent.double(), "reference", x.double(), map_state(torch.Tensor.double, state), lengths
    )
    values = 1 + len(state)
    # the gradients as one vector: a single one may be a small difference of large terms
    for part in (slice(0, values), slice(values, None)):
        one, other = (torch.cat([each.flatten() for each in some[part]]) for some in (ours, exact))
        assert_agree([one], [other], 1e-5)


def torch_pair(cell: str, **options):
    ours = Recurrent(cell, 3, 4, layers=2, dtype=torch.float64, **options)
    theirs = TORCH[cell](3, 4, num_layers=2, dtype=torch.float64, **options)
    return ours, theirs


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("cell", FUSED_CELLS)
def test_state_dicts_convert_both_ways(cell, bidirectional, bias):
    x = torch.randn(6, 5, 3, dtype=torch.float64)
    lengths = torch.tensor([4, 6, 1, 2, 6])
    packed = torch.nn.utils.rnn.pack_padded_sequence(x, lengths, enforce_sorted=False)
    for to_ours in (True, False):
        ours, theirs = torch_pair(cell, bidirectional=bidirectional, bias=bias)
        if to_ours:
            ours.load_state_dict(from_torch(theirs.state_dict()))
        else:
            theirs.load_state_dict(to_torch(ours.state_dict()))
        ours.engine = "reference"
        outputs, state = ours(x, lengths=lengths)
        expected, expected_state = theirs(packed)
        expected, _ = torch.nn.utils.rnn.pad_packed_sequence(expected)
        torch.testing.assert_close(outputs, expected, rtol=1e-12, atol=1e-12)
        expected_state = expected_state if cell == "lstm" else (expected_state,)
        torch.testing.assert_close(state, expected_state, rtol=1e-12, atol=1e-12)


def test_converting_there_and_back_changes_nothing():
    state_dict = Recurrent("gru", 3, 4, layers=2, bidirectional=True, bias=True).state_dict()
    back = from_torch(to_torch(state_dict))
    assert back.keys() == state_dict.keys()
    assert all(torch.equal(back[key], value) for key, value in state_dict.items())


@pytest.mark.parametrize("engine", ["reference", "bptt", "fused"])
@pytest.mark.parametrize("cell", FUSED_CELLS)
def test_padding_is_never_read_and_outputs_there_are_zero(cell, engine):
    recurrent = Recurrent(cell, 3, 4, layers=2, bidirectional=True, engine=engine)
    lengths = torch.tensor([2, 0, 5])
    x = torch.randn(5, 3, 3)
    beyond = torch.arange(5)[:, None] >= lengths
    x[beyond] = float("nan")
    start = torch.randn(4, 3, 4)
    outputs, state = recurrent(x, (start, start) if cell == "lstm" else (start,), lengths)
    outputs.sum().backward()
    assert not outputs[beyond].any()
    for parameter in recurrent.parameters():
        assert parameter.grad is not None
        assert parameter.grad.isfinite().all()
    assert torch.equal(state[0][:, 1], start[:, 1])  # length 0 keeps the state


@pytest.mark.parametrize("engine", ["reference", *FAST])
def test_a_sequence_may_be_cut_and_carried_on(engine):
    recurrent = Recurrent("lstm", 3, 4, layers=2, engine=engine, dtype=torch.float64)
    x = torch.randn(7, 2, 3, dtype=torch.float64)
    whole, final = recurrent(x)
    first, state = recurrent(x[:3])
    second, state = recurrent(x[3:], state)
    torch.testing.assert_close(torch.cat([first, second]), whole)
    torch.testing.assert_close(state, final)


@pytest.mark.parametrize("cell", FUSED_CELLS)
def test_other_activations_run_by_hand_and_agree(cell):
    options: Any = {
        "rnn": {"activation": "hardtanh"},
        "lstm": {
            "gate_activation": "hardsigmoid",
            "cell_activation": "identity",
            "output_activation": "relu",
        },
        "gru": {"gate_activation": "hardsigmoid", "cell_activation": "relu"},
    }[cell]
    recurrent = Recurrent(cell, 3, 4, bias=True, dtype=torch.float64, **options)
    x, state = torch.randn(6, 2, 3, dtype=torch.float64), recurrent.initial_state(2)
    reference = everything(recurrent, "reference", x, state, None)
    for engine in ("bptt", "auto"):
        assert_agree(everything(recurrent, engine, x, state, None), reference, 1e-10)
    with pytest.raises(ValueError, match='engine="bptt"'):
        everything(recurrent, "fused", x, state, None)


def test_auto_without_gradient_agrees_too():
    recurrent = Recurrent("gru", 3, 4, bidirectional=True, bias=True, dtype=torch.float64)
    x, lengths = torch.randn(6, 3, 3, dtype=torch.float64), torch.tensor([6, 0, 3])
    with torch.no_grad():
        ours = recurrent(x, lengths=lengths)
        recurrent.engine = "reference"
        torch.testing.assert_close(ours, recurrent(x, lengths=lengths))


@pytest.mark.parametrize("cell", FUSED_CELLS)
def test_auto_takes_single_steps_without_gradient(cell):
    recurrent = Recurrent(cell, 3, 4, layers=2, bias=True, dtype=torch.float64)
    x, state = torch.randn(6, 2, 3, dtype=torch.float64), None
    whole, _ = recurrent(x)
    with torch.no_grad():
        for time in range(6):
            output, state = recurrent(x[time : time + 1], state)
            torch.testing.assert_close(output[0], whole[time])


@pytest.mark.parametrize("engine", ["reference", *FAST])
@pytest.mark.parametrize("cell", FUSED_CELLS)
def test_integers_are_one_hot_vectors(cell, engine):
    recurrent = Recurrent(
        cell, 6, 4, layers=2, bidirectional=True, bias=True, engine=engine, dtype=torch.float64
    )
    numbers, lengths = torch.randint(0, 6, (7, 3)), torch.tensor([7, 0, 4])
    one_hot = torch.nn.functional.one_hot(numbers, 6).double()
    start = torch.randn(4, 3, 4, dtype=torch.float64)
    state = (start, start.flip(0)) if cell == "lstm" else (start,)
    small_batch = numbers[:1, :1].to(torch.uint8), one_hot[:1, :1], recurrent.initial_state(1), None
    for integers, floats, begin, ends in (
        (numbers, one_hot, state, None),
        (numbers, one_hot, state, lengths),
        small_batch,
    ):
        ours = [weighted(recurrent, x, begin, ends) for x in (integers, floats)]
        torch.testing.assert_close(*ours, rtol=1e-10, atol=1e-12)


def weighted(recurrent: Recurrent, x, state, lengths) -> list[torch.Tensor]:
    """Outputs, and the gradients of a weighting of them to the weights."""
    outputs, _ = recurrent(x, state, lengths)
    weighting = torch.linspace(-1, 1, outputs.numel(), dtype=outputs.dtype)
    return [
        outputs,
        *torch.autograd.grad(
            torch.vdot(outputs.flatten(), weighting), list(recurrent.parameters())
        ),
    ]


@pytest.mark.parametrize("engine", ["reference", *FAST])
def test_integers_must_be_within_the_width_but_padding_may_be_anything(engine):
    recurrent, lengths = Recurrent("lstm", 5, 4, engine=engine), torch.tensor([3, 2])
    x = torch.tensor([[0, 4], [1, 2], [2, -100]])
    outputs, _ = recurrent(x, lengths=lengths)
    assert torch.equal(outputs, recurrent(x.clamp(min=0), lengths=lengths)[0])
    for wrong in (-100, 5):
        x[2, 1] = wrong
        with pytest.raises(ValueError, match=r"outside the range 0\.\.4"):
            recurrent(x)


def test_shapes_are_as_annotated():
    checked = jaxtyped(typechecker=beartype)
    x = torch.randn(5, 2, 3)
    checked(Recurrent.forward)(
        Recurrent("lstm", 3, 4, bidirectional=True), x, None, torch.tensor([5, 1])
    )
    checked(Recurrent.forward)(Recurrent("lstm", 3, 4), torch.ones(5, 2, dtype=torch.uint8))
    for name in FUSED_CELLS:
        cell_class = CELLS[name]
        cell = cell_class(3, 4)
        checked(cell_class.forward)(cell, x[0], cell.initial_state(2))
        tape = bptt.record(cell, 2, 5)
        assert isinstance(tape, bptt.Tape)
        for x_t in x:
            checked(bptt.Tape.step)(tape, x_t)
        checked(bptt.replay)(cell, x, tape)
        checked(bptt.sequence)(cell, [2] * 5, x.flatten(0, 1), cell.initial_state(2))
    with pytest.raises(TypeCheckError):
        checked(Recurrent.forward)(Recurrent("rnn", 3, 4), x[0])


@pytest.mark.parametrize("cell", FUSED_CELLS)
def test_with_biases_an_lstm_remembers_in_the_beginning(cell):
    recurrent = with_biases(cell, 3, 4, layers=2, bidirectional=True)
    assert recurrent.output_size == 8
    for layer in recurrent.layers:
        for each in layer:
            assert each.b is not None
            assert (each.b[4:8].tolist() == [1.0] * 4) == (cell == "lstm")
