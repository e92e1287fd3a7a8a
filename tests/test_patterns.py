"""Each pattern learns a small task that it, and no simpler one, can do."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from core.losses import cross_entropy
from core.patterns import EncoderDecoder, ManyToManySynced, ManyToOne, OneToMany, OneToOne


def accuracy_after(
    model: torch.nn.Module, run: Callable[..., Tensor], task: Callable[[], tuple], steps: int
) -> float:
    """Train on fresh samples of `task`, inputs and then classes; the accuracy on one more."""
    optimiser = torch.optim.Adam(model.parameters(), 0.03)
    for _ in range(steps):
        *inputs, d = task()
        optimiser.zero_grad()
        y = run(*inputs)
        cross_entropy(y.flatten(0, -2)[None], d.flatten()[None]).backward()
        optimiser.step()
    *inputs, d = task()
    with torch.no_grad():
        return (run(*inputs).argmax(-1) == d).float().mean().item()


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def test_one_to_one_learns_exclusive_or():
    model = OneToOne("rnn", 2, 8, 2, bias=True)

    def task():
        bits = torch.randint(2, (64, 2))
        return bits.float(), bits[:, 0] ^ bits[:, 1]

    # Chance: 0.5; without a hidden layer at most 0.75.
    assert accuracy_after(model, model, task, 80) == 1


def test_one_to_one_is_one_hidden_layer():
    model, x = OneToOne("rnn", 2, 8, 3), torch.randn(5, 2)
    U = model.recurrent.layers[0][0].U
    torch.testing.assert_close(model(x), torch.tanh(x @ U.T) @ model.V.weight.T)


def test_one_to_many_learns_to_count_on():
    model = OneToMany("gru", 4, 24, 4, bias=True)

    def task():
        start = torch.randint(4, (64,))
        return F.one_hot(start, 4).float(), (start + torch.arange(6)[:, None]) % 4

    assert accuracy_after(model, lambda x: model(x, 6), task, 80) > 0.95  # chance: 0.25


@pytest.mark.parametrize("bidirectional", [False, True])
def test_many_to_one_learns_to_remember_the_first_symbol(bidirectional):
    model = ManyToOne("lstm", 4, 16, 4, bidirectional=bidirectional, bias=True, layers=2)

    def task():
        symbols = torch.randint(4, (6, 64))
        return F.one_hot(symbols, 4).float(), torch.randint(1, 7, (64,)), symbols[0]

    assert accuracy_after(model, model, task, 120) > 0.95  # chance: 0.25


def test_synced_learns_binary_addition():
    model = ManyToManySynced("rnn", 2, 8, 2, bias=True)

    def task():
        terms = torch.randint(2**8, (2, 128))
        bits = (
            terms[None] >> torch.arange(9)[:, None, None]
        ) & 1  # lowest first: [time, term, batch]
        return bits.movedim(1, 2).float(), (terms.sum(0) >> torch.arange(9)[:, None]) & 1

    assert accuracy_after(model, lambda x: model(x)[0], task, 250) > 0.95  # without the carry: 0.5


def test_encoder_decoder_learns_to_write_backwards():
    model = EncoderDecoder("gru", 3, 24, 3, bias=True)

    def task():
        symbols = torch.randint(3, (4, 128))
        d = symbols.flip(0)
        previous = F.pad(F.one_hot(d, 3).float()[:-1], (0, 0, 0, 0, 1, 0))
        return F.one_hot(symbols, 3).float(), previous, d

    assert accuracy_after(model, model, task, 150) > 0.95  # chance: 0.33


def test_encoder_decoder_starts_from_each_sequences_own_end():
    model = EncoderDecoder("lstm", 3, 5, 4)
    x, previous = torch.randn(6, 2, 3), torch.randn(3, 2, 4)
    y = model(x, previous, torch.tensor([6, 2]))
    torch.testing.assert_close(y[:, 1:], model(x[:2, 1:], previous[:, 1:]))
    with pytest.raises(ValueError, match="bidirectional"):
        EncoderDecoder("lstm", 3, 5, 4, bidirectional=True)


def test_options_of_a_tensor_reach_the_output_layer_too():
    model = ManyToOne("rnn", 3, 4, 2, dtype=torch.float64)
    assert model(torch.zeros(5, 1, 3, dtype=torch.float64)).dtype == torch.float64
