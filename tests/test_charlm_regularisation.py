"""Locked dropout, weight dropout, averaged weights and dynamic evaluation, as equations."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from core.dropout import dropout, locked_dropout
from core.recurrent import Recurrent
from core.training.config import LoopConfig
from datasets.text.alphabets import Alphabet
from sequences.charlm.config import Config
from sequences.charlm.learner import Learner
from sequences.charlm.measure import DYNAMIC_DECAY, DYNAMIC_WINDOW, measure, measure_dynamic
from sequences.charlm.model import CharacterModel
from sequences.charlm.trained import Trained

SMALL = Config(corpus="hello", hidden=6, layers=2, loop=LoopConfig(batch=3))


def model(**changes) -> CharacterModel:
    torch.manual_seed(0)
    return CharacterModel(replace(SMALL, **changes), 4)


def step_by_step(net: CharacterModel, x, weights):
    """The logits of a net of LSTM layers, written as the equations, with other W."""
    inputs = list(F.one_hot(x, 4).float())
    for layer, W in zip(net.recurrent.layers, weights, strict=True):
        cell = layer[0]
        h = c = torch.zeros(x.shape[1], 6)
        outputs = []
        for x_t in inputs:
            i, f, g, o = (x_t @ cell.U.T + h @ W.T + cell.b).chunk(4, -1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
            outputs.append(h)
        inputs = outputs
    return net.V(torch.stack(inputs))


def test_locked_dropout_drops_the_same_units_at_all_steps():
    torch.manual_seed(0)
    x = torch.rand(7, 5, 200) + 1
    dropped = locked_dropout(x, 0.25)
    kept = dropped != 0
    assert torch.equal(kept, kept[:1].expand_as(kept))
    assert kept.float().mean().item() == pytest.approx(0.75, abs=0.03)
    torch.testing.assert_close(dropped[kept], x[kept] / 0.75)
    assert locked_dropout(x, 0.25, training=False) is x
    assert not torch.equal(kept[0, 0], kept[0, 1])  # each sequence has units of its own


def test_layers_pass_on_the_same_units_at_all_steps():
    torch.manual_seed(0)
    net = Recurrent("lstm", 3, 50, layers=2, dropout=0.5, locked_dropout=True).train()
    seen = []

    def noted(x: torch.Tensor, probability: float, training: bool = True) -> torch.Tensor:
        seen.append(locked_dropout(x, probability, training))
        return seen[-1]

    net.drop = noted
    net(torch.randn(6, 2, 3))
    (between,) = seen
    kept = between != 0
    assert torch.equal(kept, kept[:1].expand_as(kept))
    assert 20 < kept[0].sum().item() < 80


@pytest.mark.parametrize("hidden_gradient", ["W", "U", "b"])
def test_dropped_weights_are_those_of_the_equations(hidden_gradient):
    net = model(weight_dropout=0.3).train()
    x = torch.randint(4, (9, 3), generator=torch.Generator().manual_seed(1))
    torch.manual_seed(5)
    logits, _ = net(x)
    torch.manual_seed(5)
    weights = [dropout(layer[0].W, 0.3) for layer in net.recurrent.layers]
    assert (weights[0] == 0).float().mean().item() == pytest.approx(0.3, abs=0.15)
    expected = step_by_step(net, x, weights)
    torch.testing.assert_close(logits, expected)
    for layer in net.recurrent.layers:
        parameter = getattr(layer[0], hidden_gradient)
        one, other = (torch.autograd.grad(y.square().sum(), parameter, retain_graph=True)[0]
                      for y in (logits, expected))  # fmt: skip
        torch.testing.assert_close(one, other)
    net.eval()
    whole = [layer[0].W for layer in net.recurrent.layers]
    torch.testing.assert_close(net(x)[0], step_by_step(net, x, whole))


def test_new_weights_are_dropped_in_each_window():
    net = model(weight_dropout=0.5).train()
    x = torch.randint(4, (9, 3))
    assert not torch.equal(net(x)[0], net(x)[0])
    net.eval()
    assert torch.equal(net(x)[0], net(x)[0])


def test_the_average_is_the_plain_mean_first_and_decays_then():
    torch.manual_seed(0)
    learner = Learner(replace(SMALL, averaging=0.75), model())
    x = torch.randint(4, (4, 3))
    zero = torch.zeros(3, dtype=torch.bool)
    history, means = [], []
    for step in range(8):
        with torch.no_grad():
            learner.model.V.bias.fill_(float(2**step))
        history.append(2.0**step)
        learner(x, x, zero)
        means.append(learner.best.V.bias[0].item())
    for step in range(4):  # 1 / (1 - 0.75) steps
        assert means[step] == pytest.approx(sum(history[: step + 1]) / (step + 1))
    expected = means[3]
    for step in range(4, 8):
        expected = 0.75 * expected + 0.25 * history[step]
        assert means[step] == pytest.approx(expected)
    assert all(not p.requires_grad for p in learner.best.parameters())
    plain = Learner(SMALL, model())
    assert plain.best is plain.model
    assert len(list(Learner(SMALL, model()).state_dict())) == len(list(model().state_dict())) + 2


def test_a_window_goes_on_where_the_last_one_ended_but_in_rows_that_reset():
    net = model()
    learner = Learner(SMALL, net)
    text = torch.randint(4, (11, 3))
    all_rows = torch.ones(3, dtype=torch.bool)
    learner(text[:5], text[1:6], all_rows)
    reset = torch.tensor([False, True, False])
    loss, _ = learner(text[5:10], text[6:], reset)
    going_on, _ = net(text[:10])
    from_zero, _ = net(text[5:10])
    logits = torch.where(reset[:, None], from_zero, going_on[5:])
    expected = F.cross_entropy(logits.flatten(0, 1), text[6:].flatten())
    torch.testing.assert_close(loss, expected)
    loss.backward()  # through its own window alone: the graph of the first one is gone
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())


def test_dynamic_evaluation_is_gradient_descent_on_what_was_read():
    net = model().eval()
    trained = Trained(SMALL, net, Alphabet("ehlo"), 1)
    numbers = np.random.default_rng(0).integers(0, 4, 70)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    rate = 0.3
    found = measure_dynamic(trained, numbers, 10, rate)["nats"]

    plain = model().eval()
    first = [p.detach().clone() for p in plain.parameters()]
    text = torch.from_numpy(numbers)
    state, total = None, 0.0
    for begin in range(10, 70, DYNAMIC_WINDOW):
        x = text[begin - 1 : begin + DYNAMIC_WINDOW - 1, None]
        y = text[begin : begin + DYNAMIC_WINDOW]
        x = x[: len(y)]
        logits, state = plain(x, state)
        state = tuple(part.detach() for part in state)
        loss = F.cross_entropy(logits[:, 0], y)
        total += loss.item() * len(y)
        plain.zero_grad()
        loss.backward()
        with torch.no_grad():
            for p, p_0 in zip(plain.parameters(), first, strict=True):
                assert p.grad is not None
                p += DYNAMIC_DECAY * (p_0 - p) - rate * p.grad
    assert found == pytest.approx(total / 60, rel=1e-5)
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
    fixed = measure_dynamic(trained, numbers, 1, 0.0)["nats"]  # without learning: plain evaluation
    assert fixed == pytest.approx(measure(trained, numbers, 1)["nats"], rel=1e-5)
