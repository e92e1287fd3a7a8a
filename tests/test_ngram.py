"""The model that counts, against its definition."""

import math
from collections import Counter

import numpy as np
import pytest

from sequences.charlm.ngram import NGram


def by_definition(
    text: list[int], characters: int, order: int, context: list[int], last: int
) -> float:
    """p of `last` after `context`, from counts of slices."""
    p = 1 / characters
    for k in range(order):
        if k > len(context):
            break
        before = context[len(context) - k :]
        after = Counter(text[i + k] for i in range(len(text) - k) if text[i : i + k] == before)
        if after:
            n, d = sum(after.values()), len(after)
            p = (after[last] + d * p) / (n + d)
    return p


def test_log_p_is_that_of_the_definition():
    random = np.random.default_rng(0)
    text = random.integers(0, 4, 200)
    other = random.integers(0, 5, 30)  # 4 is never counted
    for order in (1, 3, 6):
        found = NGram(text, 5, order).log_p(other, start=7)
        listed = other.tolist()
        expected = [
            math.log(
                by_definition(text.tolist(), 5, order, listed[max(0, i - order + 1) : i], listed[i])
            )
            for i in range(7, 30)
        ]
        np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_it_writes_what_it_counted():
    text = np.array([0, 1, 2, 2, 3] * 100)
    written = np.stack(list(NGram(text, 4).write(first=3, rows=2, length=50, seed=0)), 1)
    cycle = "".join(map(str, written[0]))
    assert cycle.count("01223") >= 8
    again = np.stack(list(NGram(text, 4).write(first=3, rows=2, length=50, seed=0)), 1)
    assert (written == again).all()


def test_samples_have_the_probabilities_of_the_model():
    model = NGram(np.array([0, 0, 0, 1]), 2, order=1)
    drawn = np.concatenate(list(model.write(first=0, rows=500, length=8, seed=0)))
    expected = by_definition([0, 0, 0, 1], 2, 1, [], 1)
    assert drawn.mean() == pytest.approx(expected, abs=0.03)


@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_samples_at_a_temperature_have_powers_of_the_probabilities(temperature):
    model = NGram(np.array([0, 0, 0, 1]), 2, order=1)
    drawn = np.concatenate(
        list(model.write(first=0, rows=500, length=8, seed=0, temperature=temperature))
    )
    p = by_definition([0, 0, 0, 1], 2, 1, [], 1)
    powers = p ** (1 / temperature), (1 - p) ** (1 / temperature)
    assert drawn.mean() == pytest.approx(powers[0] / sum(powers), abs=0.03)


@pytest.mark.parametrize("temperature", [0.0, 1e-30])
def test_without_temperature_the_most_probable_character_is_written(temperature):
    model = NGram(np.array([0, 0, 0, 1]), 2, order=1)
    drawn = np.concatenate(
        list(model.write(first=1, rows=2, length=50, seed=0, temperature=temperature))
    )
    assert not drawn.any()


def test_texts_shorter_than_the_order_are_counted_too():
    assert np.isfinite(NGram(np.array([0, 1]), 2).log_p(np.array([1, 0, 1]), start=1)).all()
