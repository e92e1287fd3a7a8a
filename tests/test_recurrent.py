"""Every engine against the Python loop under autograd, and the loop against torch.nn."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from core.cells import CELLS, State
from core.recurrent import Recurrent, from_torch, to_torch

TORCH = {"rnn": torch.nn.RNN, "lstm": torch.nn.LSTM, "gru": torch.nn.GRU}
FAST = ("bptt", "fused", "auto")


def parts(state: State) -> list[torch.Tensor]:
    return list(state) if isinstance(state, tuple) else [state]


def everything(recurrent: Recurrent, engine: str, x, state, lengths) -> list[torch.Tensor]:
    """Outputs, final state, and the gradient of a random weighting of both to x, the state and all weights."""
    recurrent.engine = engine
    leaves = [x.clone().requires_grad_(), *(part.clone().requires_grad_() for part in parts(state))]
    start = tuple(leaves[1:]) if isinstance(state, tuple) else leaves[1]
    torch.manual_seed(1)  # dropout, and the weighting
    outputs, final = recurrent(leaves[0], start, lengths)
    values = [outputs, *parts(final)]
    grads = torch.autograd.grad(
        values, [*leaves, *recurrent.parameters()], [torch.randn_like(value) for value in values]
    )
    return [*values, *grads]


def assert_agree(ours: list[torch.Tensor], reference: list[torch.Tensor], tolerance: float) -> None:
    assert len(ours) == len(reference)
    for one, other in zip(ours, reference, strict=True):
        assert (one - other).norm() <= tolerance * (1 + other.norm())


@st.composite
def cases(draw) -> tuple[Recurrent, torch.Tensor, State, torch.Tensor | None]:
    time, batch, size, hidden = (draw(st.integers(1, most)) for most in (7, 5, 4, 5))
    torch.manual_seed(draw(st.integers(0, 1000)))
    recurrent = Recurrent(
        draw(st.sampled_from(sorted(CELLS))),
        size,
        hidden,
        layers=draw(st.integers(1, 3)),
        bidirectional=draw(st.booleans()),
        bias=draw(st.booleans()),
        dropout=draw(st.sampled_from([0.0, 0.4])),
        initialisation=draw(st.sampled_from(["uniform", "orthogonal"])),
        dtype=torch.float64,
    )
    x = torch.randn(time, batch, size, dtype=torch.float64)
    zeros = recurrent.initial_state(batch)
    state = tuple(torch.randn_like(part) for part in zeros) if isinstance(zeros, tuple) else torch.randn_like(zeros)
    lengths = draw(st.none() | st.lists(st.integers(0, time), min_size=batch, max_size=batch).map(torch.tensor))
    return recurrent, x, state, lengths


@pytest.mark.parametrize("engine", FAST)
@settings(deadline=None, max_examples=60)
@given(case=cases())
def test_engines_agree_with_the_reference_in_double_precision(engine, case):
    assert_agree(everything(case[0], engine, *case[1:]), everything(case[0], "reference", *case[1:]), 1e-10)


@pytest.mark.parametrize("engine", FAST)
@settings(deadline=None, max_examples=20)
@given(case=cases())
def test_engines_agree_with_the_reference_in_single_precision(engine, case):
    recurrent, x, state, lengths = case
    state = tuple(part.float() for part in state) if isinstance(state, tuple) else state.float()
    case = recurrent.float(), x.float(), state, lengths
    assert_agree(everything(case[0], engine, *case[1:]), everything(case[0], "reference", *case[1:]), 1e-5)
