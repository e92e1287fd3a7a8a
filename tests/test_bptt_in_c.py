"""The C engine against the reference in double precision."""

import pytest
import torch
from compared import (
    C_CELLS,
    assert_close,
    double,
    everything,
    needs_compiler,
    pair,
    random_state,
)

from core.recurrent import Recurrent

# time, batch, input, hidden: one vector and less, several, odd ones; batches of one and more
SHAPES = [
    (5, 1, 3, 1),
    (7, 3, 5, 13),
    (6, 8, 4, 16),
    (9, 17, 65, 100),
    (4, 33, 16, 31),
    (12, 1, 40, 128),
    (70, 1, 40, 136),
    (16, 2, 32, 48),
    (64, 1, 16, 144),
    (9, 1, 64, 192),
    (6, 1, 16, 320),
]


@needs_compiler
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("cell", C_CELLS)
def test_outputs_and_gradients_agree_with_double_precision(cell, shape):
    time, batch, size, hidden = shape
    torch.manual_seed(0)
    ours, reference = pair(cell, size, hidden, bias=True)
    for lengths in (None, torch.randint(0, time + 1, (batch,)).clamp(min=int(batch == 1))):
        x, state = torch.randn(time, batch, size), random_state(ours, batch)
        assert_close(
            everything(ours, x, state, lengths),
            everything(reference, x.double(), double(state), lengths),
            5e-6,
        )


@needs_compiler
@pytest.mark.parametrize("cell", C_CELLS)
def test_two_bidirectional_layers_with_sequences_of_length_zero(cell):
    torch.manual_seed(0)
    ours, reference = pair(cell, 5, 19, layers=2, bidirectional=True)
    x, state, lengths = torch.randn(8, 4, 5), random_state(ours, 4), torch.tensor([3, 0, 8, 0])
    assert_close(
        everything(ours, x, state, lengths),
        everything(reference, x.double(), double(state), lengths),
        5e-6,
    )


@needs_compiler
@pytest.mark.parametrize(
    ("cell", "options"),
    [
        ("rnn", {"activation": "sigmoid"}),
        ("rnn", {"activation": "relu"}),
        ("rnn", {"activation": "identity"}),
        (
            "lstm",
            {"gate_activation": "tanh", "cell_activation": "identity", "output_activation": "relu"},
        ),
        ("gru", {"gate_activation": "tanh", "cell_activation": "sigmoid"}),
    ],
)
def test_other_activations(cell, options):
    torch.manual_seed(0)
    ours, reference = pair(cell, 4, 21, **options)
    x, state = torch.randn(5, 3, 4), random_state(ours, 3)
    assert_close(
        everything(ours, x, state, None),
        everything(reference, x.double(), double(state), None),
        5e-6,
    )


@needs_compiler
@pytest.mark.parametrize(("name", "exact"), [("tanh", torch.tanh), ("sigmoid", torch.sigmoid)])
def test_activations_are_right_to_the_last_bits_from_tiny_to_huge(name, exact):
    net = Recurrent("rnn", 1, 1, activation=name, engine="bptt")
    cell = net.layers[0][0]
    torch.nn.init.ones_(cell.U)
    size = torch.logspace(-20, 1.9, 2000)
    z = torch.cat([size, -size, torch.tensor([0.0, 1e4, -1e4, torch.inf, -torch.inf])])
    y = net(z.view(1, -1, 1))[0].flatten().double()
    expected = exact(z.double())
    assert ((y - expected).abs() <= 3e-7 * expected.abs() + 2e-38).all()
    assert net(torch.full((1, 1, 1), torch.nan))[0].isnan().all()


@needs_compiler
@pytest.mark.parametrize("cell", C_CELLS)
def test_bits_depend_neither_on_threads_nor_on_the_rest_of_the_batch(cell, monkeypatch):
    ours, _ = pair(cell, 6, 40, bias=True)
    x, state, lengths = torch.randn(5, 11, 6), random_state(ours, 11), torch.randint(1, 6, (11,))
    one = everything(ours, x, state, lengths)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    torch.testing.assert_close(everything(ours, x, state, lengths), one, rtol=0, atol=0)
    monkeypatch.undo()
    assert torch.equal(ours(x)[0][:, 4:6], ours(x[:, 4:6].contiguous())[0])


@needs_compiler
@pytest.mark.parametrize("cell", C_CELLS)
@pytest.mark.parametrize(("batch", "hidden"), [(1, 272), (1, 320), (3, 272), (6, 272)])
def test_bits_do_not_depend_on_threads_that_share_units(cell, batch, hidden, monkeypatch):
    # Large enough for threads to wait for each other.
    ours, reference = pair(cell, 32, hidden, bias=True)
    x, state = torch.randn(4, batch, 32), random_state(ours, batch)
    one = everything(ours, x, state, None)
    assert_close(one, everything(reference, x.double(), double(state), None), 5e-6)
    for threads in (2, 3):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        torch.testing.assert_close(everything(ours, x, state, None), one, rtol=0, atol=0)


@needs_compiler
# Fewer rows than columns of U, gathered beforehand; and more, gathered in C.
@pytest.mark.parametrize("rows", [2, 60])
@pytest.mark.parametrize("cell", C_CELLS)
def test_integers_are_one_hot_vectors(cell, rows):
    ours, reference = pair(cell, 30, 20, bias=True)
    numbers, state = torch.randint(0, 30, (rows, 2)), random_state(ours, 2)
    one_hot = torch.nn.functional.one_hot(numbers, 30).double()
    expected = everything(reference, one_hot, double(state), None)
    values = 3 if cell == "lstm" else 2
    assert_close(
        everything(ours, numbers, state, None), expected[:values] + expected[values + 1 :], 5e-6
    )


@needs_compiler
@pytest.mark.parametrize("cell", C_CELLS)
@pytest.mark.parametrize(
    ("time", "batch", "size", "hidden"),
    [
        (5, 1, 3, 20),
        (4, 1, 30, 130),
        (70, 1, 7, 136),
        (6, 9, 33, 17),
        (3, 40, 16, 32),
        (9, 8, 20, 300),
    ],
)
def test_inference_agrees_with_double_precision(cell, time, batch, size, hidden):
    ours, reference = pair(cell, size, hidden, layers=2, bias=True)
    lengths, state = (
        torch.randint(0, time + 1, (batch,)).clamp(min=int(batch == 1)),
        random_state(ours, batch),
    )
    for x in (torch.randn(time, batch, size), torch.randint(0, size, (time, batch))):
        exact = x.double() if x.is_floating_point() else x
        for given, how_long in ((None, None), (state, None), (state, lengths)):
            with torch.no_grad():
                outputs, final = ours(x, given, how_long)
                expected, expected_final = reference(
                    exact, None if given is None else double(given), how_long
                )
            values, others = (
                [each, *end] for each, end in ((outputs, final), (expected, expected_final))
            )
            assert_close(values, others, 5e-6)
