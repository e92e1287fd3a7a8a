import pytest
import torch
import torch.nn.functional as F

from core.losses import IGNORE, LOSSES, cross_entropy, projected_cross_entropy, squared_error


def test_the_derivative_of_the_squared_error_is_slide_25():
    y, d = torch.randn(4, 1, 3, requires_grad=True), torch.randn(4, 1, 3)
    squared_error(y, d).backward()
    torch.testing.assert_close(y.grad, (y - d).detach())


def test_squared_error_averages_sequences_and_leaves_padding_out():
    y, d = torch.randn(4, 2, 3, dtype=torch.float64), torch.randn(4, 2, 3, dtype=torch.float64)
    y[2:, 1] = float("nan")
    expected = ((y[:, 0] - d[:, 0]).square().sum() + (y[:2, 1] - d[:2, 1]).square().sum()) / 2 / 2
    torch.testing.assert_close(squared_error(y, d, torch.tensor([4, 2])), expected)
    y.requires_grad_()
    squared_error(y, d, torch.tensor([4, 2])).backward()
    gradient = (y - d).detach() / 2
    gradient[2:, 1] = 0
    torch.testing.assert_close(y.grad, gradient)


def test_cross_entropy_is_the_mean_over_the_steps_that_count():
    y, d = torch.randn(4, 2, 5, dtype=torch.float64), torch.randint(5, (4, 2))
    d[0, 0] = IGNORE
    log_p = y.log_softmax(-1)
    counted = [(1, 0), (2, 0), (3, 0), (0, 1), (1, 1)]
    expected = -sum(log_p[t, b, d[t, b]] for t, b in counted) / len(counted)
    torch.testing.assert_close(cross_entropy(y, d, torch.tensor([4, 2])), expected)


@pytest.mark.parametrize("shape", [(9,), (3, 4), (3, 2, 2)])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_a_smoothed_target_gives_a_share_to_every_class(shape, smoothing):
    y = torch.randn(*shape, 5, dtype=torch.float64)
    d = torch.randint(5, shape)
    target = (1 - smoothing) * F.one_hot(d, 5) + smoothing / 5
    expected = -(target * y.log_softmax(-1)).sum(-1)
    torch.testing.assert_close(cross_entropy(y, d, smoothing=smoothing), expected.mean())
    d.view(-1)[1] = IGNORE
    counted = expected[d != IGNORE]
    torch.testing.assert_close(cross_entropy(y, d, smoothing=smoothing), counted.mean())


def test_no_step_that_counts_gives_zero_and_no_gradient():
    y = torch.randn(3, 2, 5, requires_grad=True)
    error = cross_entropy(y, torch.zeros(3, 2, dtype=torch.long), torch.tensor([0, 0]))
    error.backward()
    assert error == 0
    assert y.grad is not None
    assert not y.grad.any()


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_projected_cross_entropy_and_its_gradients_are_those_of_torch(smoothing):
    """300 rows are three blocks."""
    sizes = (300, 5), (7, 5), (7,)
    h, weight, bias = ours = [
        torch.randn(size, dtype=torch.float64, requires_grad=True) for size in sizes
    ]
    theirs = [part.detach().clone().requires_grad_() for part in ours]
    d = torch.randint(7, (300,))
    error = projected_cross_entropy(h, weight, bias, d, smoothing)
    h, weight, bias = theirs
    expected = F.cross_entropy(F.linear(h, weight, bias), d, label_smoothing=smoothing)
    torch.testing.assert_close(error, expected)
    (3 * error).backward()
    (3 * expected).backward()
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine.grad, other.grad)


def test_projected_cross_entropy_is_exact_in_float32_with_large_logits():
    h, weight = torch.randn(4, 3) * 100, torch.randn(6, 3) * 100
    d = torch.randint(6, (4,))
    expected = F.cross_entropy(h.double() @ weight.double().T, d).float()
    torch.testing.assert_close(projected_cross_entropy(h, weight, torch.zeros(6), d), expected)


@pytest.mark.parametrize("name", LOSSES)
def test_by_name(name):
    y = torch.zeros(2, 1, 4)
    d = torch.zeros(2, 1, dtype=torch.long) if name == "cross_entropy" else torch.ones(2, 1, 4)
    expected = {"cross_entropy": torch.tensor(4.0).log(), "squared_error": torch.tensor(4.0)}[name]
    torch.testing.assert_close(LOSSES[name](y, d), expected)
