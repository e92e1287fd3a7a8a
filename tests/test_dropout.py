"""Dropout by 16 bits a number."""

import pytest
import torch

from core.dropout import dropout


@pytest.mark.parametrize("probability", [0.001, 0.25, 0.4, 0.5, 0.9])
def test_the_share_of_zeros_and_the_mean_are_right(probability):
    torch.manual_seed(0)
    y = dropout(torch.ones(1000, 1001), probability)
    zeros = (y == 0).double()
    deviation = (probability * (1 - probability) / y.numel()) ** 0.5
    assert abs(zeros.mean() - probability) < 5 * deviation
    assert abs(y.double().mean() - 1) < 5 * deviation / (1 - probability)
    assert ((y[y != 0] - 1 / (1 - probability)).abs() < 1e-4 / (1 - probability)).all()
    for axis in (0, 1):  # no place is dropped oftener than others
        assert (zeros.mean(axis) - probability).abs().max() < 6 * deviation * 1001**0.5
    for step in (1, 2, 4, 8):  # and none depends on its neighbours
        both = (zeros[:, step:] * zeros[:, :-step]).mean()
        assert abs(both - probability**2) < 6 * (probability**2 / y.numel()) ** 0.5


def test_it_is_a_function_of_the_seed_and_the_gradient_is_that_of_what_was_kept():
    x = torch.randn(3, 5, 7, requires_grad=True)
    results = []
    for _ in range(2):
        torch.manual_seed(3)
        results.append(dropout(x, 0.4))
    assert torch.equal(*results)
    assert not torch.equal(results[0], dropout(x, 0.4))
    (gradient,) = torch.autograd.grad(results[0].sum(), x)
    torch.testing.assert_close(gradient * x, results[0])


def test_without_training_or_probability_nothing_is_dropped_and_with_probability_1_all():
    x = torch.randn(2, 3)
    assert torch.equal(dropout(x, 0.4, training=False), x)
    assert torch.equal(dropout(x, 0.0), x)
    assert not dropout(x, 1.0).any()
    assert dropout(x.bfloat16(), 0.5).dtype == torch.bfloat16


@pytest.mark.parametrize("probability", [-0.1, 1.5, float("nan")])
def test_a_probability_outside_0_to_1_is_refused(probability):
    with pytest.raises(ValueError, match="dropout probability must be within"):
        dropout(torch.ones(2, 3), probability)
