"""Machines, their minimal forms, and machines read off from clusters of points."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from core.automaton import Automaton, extract, read_off

# Prints the parity of the number of ones.
PARITY = Automaton(first=(0, 1), step=((0, 1), (1, 0)), output=(0, 1))


@st.composite
def machines(draw):
    count, alphabet = draw(st.integers(1, 5)), draw(st.integers(1, 3))
    row = st.tuples(*[st.integers(0, count - 1)] * alphabet)
    return Automaton(
        draw(row), draw(st.tuples(*[row] * count)), draw(st.tuples(*[st.integers(0, 1)] * count))
    )


def record(machine, batch=20, time=60):
    random = torch.Generator().manual_seed(0)
    return torch.randint(len(machine.first), (time, batch), generator=random)


def test_parity():
    symbols = torch.tensor([[1], [0], [1], [1]])
    assert PARITY.states(symbols)[:, 0].tolist() == [1, 1, 0, 1]
    assert PARITY.print(symbols)[:, 0].tolist() == [1, 1, 0, 1]


def test_like_states_are_merged_and_unreachable_ones_dropped():
    double = Automaton(
        first=(3, 1), step=((2, 1), (4, 3), (0, 4), (3, 1), (1, 0)), output=(0, 1, 0, 0, 1)
    )
    assert double.minimal() == PARITY
    assert double.roles() == (0, 1, 0, 0, 1)
    apart = Automaton(first=(0, 1), step=((0, 1), (1, 0), (2, 2)), output=(0, 1, 7))
    assert apart.minimal() == PARITY
    assert apart.roles() == (0, 1, None)


def test_another_machine_is_not_equal():
    other = Automaton(first=(0, 1), step=((0, 1), (1, 1)), output=(0, 1))  # whether there was a one
    assert other.minimal() != PARITY.minimal()


@given(machines(), st.randoms())
@settings(max_examples=40, deadline=None)
def test_a_minimal_machine_prints_the_same_and_does_not_depend_on_numbers(machine, random):
    symbols = record(machine)
    minimal = machine.minimal()
    assert torch.equal(minimal.print(symbols), machine.print(symbols))
    assert minimal.minimal() == minimal
    new = list(range(len(machine.output)))
    random.shuffle(new)  # state n becomes new[n]
    old = [new.index(n) for n in range(len(new))]
    step = tuple(tuple(new[after] for after in machine.step[old[n]]) for n in range(len(new)))
    renumbered = Automaton(
        tuple(new[s] for s in machine.first), step, tuple(machine.output[n] for n in old)
    )
    assert renumbered.minimal() == minimal


@pytest.mark.parametrize(
    "parts",
    [
        ((0,), ((0, 0),), (0,)),
        ((0, 0), ((0, 0),), (0, 1)),
        ((1, 0), ((0, 0),), (0,)),
        ((), (), (0,)),
    ],
)
def test_what_is_no_machine_is_refused(parts):
    with pytest.raises(ValueError, match=r"automaton|transition"):
        Automaton(*parts)


def test_a_machine_is_read_off_its_own_record():
    symbols = record(PARITY)
    assert read_off(PARITY.states(symbols), symbols, PARITY.print(symbols), 2, 2) == PARITY


def test_what_is_not_deterministic_or_was_not_seen_is_no_machine():
    symbols = record(PARITY)
    states, outputs = PARITY.states(symbols), PARITY.print(symbols)
    # One state prints two things.
    assert read_off(torch.zeros_like(states), symbols, outputs, 1, 2) is None
    assert read_off(torch.zeros_like(states), symbols, 0 * outputs, 1, 2) is not None
    fork = states.clone()
    fork[30, 0] = 1 - fork[30, 0]
    assert read_off(fork, symbols, fork, 2, 2) is None  # once it went another way
    assert read_off(states, symbols, outputs, 2, 3) is None  # the third symbol never came


@pytest.mark.parametrize("patterns", [1, 3])
def test_clusters_are_found_with_their_number(patterns):
    """Each state of the machine has one pattern of activity, or several that take turns."""
    symbols = record(PARITY)
    states, outputs = PARITY.states(symbols), PARITY.print(symbols)
    turns = states * patterns + torch.arange(len(symbols))[:, None] % patterns
    random = torch.Generator().manual_seed(1)
    centres = torch.randn(2 * patterns, 3, generator=random)
    hidden = centres[turns] + 0.005 * torch.randn(*symbols.shape, 3, generator=random)
    found = extract(hidden, symbols, outputs, 2)
    assert found is not None
    assert found.automaton.minimal() == PARITY
    assert len(found.automaton.output) == 2 * patterns
    assert torch.equal(found.automaton.states(symbols), found.states)
    if patterns == 1:
        roles = [role for role in found.automaton.roles() if role is not None]
        torch.testing.assert_close(found.centres.float(), centres[roles], atol=2e-3, rtol=0)
    assert extract(hidden, symbols, outputs, 2, most=1) is None


def test_noise_holds_no_machine():
    symbols = record(PARITY)
    random = torch.Generator().manual_seed(0)
    hidden = torch.rand(*symbols.shape, 3, generator=random)
    assert extract(hidden, symbols, PARITY.print(symbols), 2, most=6) is None


def test_no_more_clusters_than_points_are_tried():
    symbols = torch.tensor([[0, 0], [0, 0]])
    hidden = torch.zeros(2, 2, 3)
    assert extract(hidden, symbols, torch.tensor([[0, 1], [0, 1]]), 1) is None
