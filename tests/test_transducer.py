"""Binary addition against Python's."""

import pytest
import torch

from datasets.transducer import (
    ADDER,
    STATES,
    add,
    every_pair,
    random_pairs,
    to_bits,
    to_numbers,
    to_symbols,
)


@pytest.mark.parametrize("bits", [1, 8, 1000])
def test_sums_of_random_numbers_are_pythons(bits):
    pairs = random_pairs(50, bits, torch.Generator().manual_seed(bits))
    assert pairs.shape == (bits + 1, 50, 2)
    a, b = to_numbers(pairs[..., 0]), to_numbers(pairs[..., 1])
    assert {n.bit_length() for n in a + b} == {bits}
    assert to_numbers(add(pairs)) == [m + n for m, n in zip(a, b, strict=True)]


def test_every_pair_occurs_once():
    pairs = every_pair(3)
    found = set(zip(to_numbers(pairs[..., 0]), to_numbers(pairs[..., 1]), strict=True))
    assert found == {(a, b) for a in range(8) for b in range(8)}
    assert pairs.shape == (4, 64, 2)


def test_bits_come_least_significant_first():
    assert to_bits(torch.tensor([6]), 4)[:, 0].tolist() == [0, 1, 1, 0]
    assert to_symbols(torch.tensor([[[1, 0]], [[0, 1]]]))[:, 0].tolist() == [2, 1]


def test_the_adder_has_four_states_already():
    assert ADDER.minimal() == ADDER
    assert len(STATES) == len(ADDER.output) == 4
    assert [STATES[n].endswith(str(prints)) for n, prints in enumerate(ADDER.output)] == [True] * 4
