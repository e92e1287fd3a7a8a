"""Beam search against exhaustive and greedy search."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from random_decoder import END, START, Model, exhaustive

from core.beam import beam_search
from core.decoding import greedy, sample


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
@pytest.mark.parametrize("penalty", [0.0, 0.7, 1.0])
def test_a_beam_wide_enough_is_exhaustive_search(cell, penalty):
    model = Model(cell=cell, seed=3)
    expected = exhaustive(model, model.state, 4, penalty)
    (found,) = beam_search(
        model, model.state, start=START, end=END, length=4, width=4**4, penalty=penalty
    )
    assert [(h.tokens, h.finished) for h in found] == [(t, f) for _, t, f in expected]
    assert [h.score for h in found] == pytest.approx([s for s, _, _ in expected], rel=1e-12)
    for h in found:
        assert h.log_probability == pytest.approx(
            h.score * (len(h.tokens) + h.finished) ** penalty, rel=1e-12
        )


def test_a_beam_wide_enough_is_exhaustive_search_without_the_forbidden():
    model = Model(vocabulary=5, seed=4)
    expected = exhaustive(model, model.state, 4, 0.7, forbidden=(START, 3))
    (found,) = beam_search(
        model, model.state, start=START, end=END, length=4, width=99, forbidden={3, START}
    )
    assert [h.tokens for h in found] == [t for _, t, _ in expected]
    assert [h.score for h in found] == pytest.approx([s for s, _, _ in expected], rel=1e-12)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    cell=st.sampled_from(["rnn", "lstm"]),
    vocabulary=st.integers(2, 12),
    width=st.integers(1, 14),
    length=st.integers(1, 8),
    penalty=st.sampled_from([0.0, 0.7, 1.3]),
)
def test_hypotheses_have_the_scores_they_state(seed, cell, vocabulary, width, length, penalty):
    model = Model(vocabulary, cell, batch=3, seed=seed)
    options = {"start": START, "end": END, "length": length, "width": width, "penalty": penalty}
    together = beam_search(model, model.state, **options)
    assert len(together) == 3
    for row, found in enumerate(together):
        (single,) = beam_search(model, model.row(row), **options)
        assert [h.tokens for h in found] == [h.tokens for h in single]
        assert 1 <= len(found) <= width
        assert [h.score for h in found] == sorted((h.score for h in found), reverse=True)
        assert len({(h.tokens, h.finished) for h in found}) == len(found)
        for h in found:
            written = (*h.tokens, END) if h.finished else h.tokens
            assert END not in h.tokens
            assert h.finished or len(h.tokens) == length
            assert h.log_probability == pytest.approx(
                model.log_p(written, model.row(row)), rel=1e-9, abs=1e-9
            )
            assert h.score == pytest.approx(
                h.log_probability / len(written) ** penalty, rel=1e-12, abs=1e-12
            )


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    width=st.integers(1, 9),
    lengths=st.lists(st.integers(1, 8), min_size=3, max_size=3),
    penalty=st.sampled_from([0.0, 0.7, 1.3]),
)
def test_each_row_has_a_length_of_its_own(seed, width, lengths, penalty):
    model = Model(6, "lstm", batch=3, seed=seed)
    options = {"start": START, "end": END, "width": width, "penalty": penalty}
    together = beam_search(model, model.state, length=torch.tensor(lengths), **options)
    for row, found in enumerate(together):
        (single,) = beam_search(model, model.row(row), length=lengths[row], **options)
        assert [(h.tokens, h.finished) for h in found] == [(h.tokens, h.finished) for h in single]
        assert [h.score for h in found] == pytest.approx([h.score for h in single], rel=1e-12)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6), length=st.integers(1, 8), penalty=st.sampled_from([0.0, 0.7, 2.0])
)
def test_width_one_is_greedy(seed, length, penalty):
    model = Model(6, "lstm", batch=4, seed=seed)
    options = {"start": START, "end": END, "length": length, "forbidden": (0,)}
    tokens, log_p = greedy(model, model.state, **options)
    assert tokens.shape == log_p.shape == (4, length)
    beams = beam_search(model, model.state, width=1, penalty=penalty, **options)
    for row, (only,) in enumerate(beams):
        assert only.tokens == tuple(
            itertools.takewhile(lambda token: token != END, tokens[row].tolist())
        )
        assert only.log_probability == pytest.approx(log_p[row].sum().item(), rel=1e-12)
        assert tokens[row, len(only.tokens) :].eq(END).all()


@pytest.mark.parametrize("width", [1, 3, 50])
def test_it_always_returns_a_hypothesis(width):
    model = Model(5, batch=2)
    options = {"start": START, "end": END, "length": 4, "width": width}
    model.bias[END] = -torch.inf  # no sentence ends
    for found in beam_search(model, model.state, **options):
        assert all(len(h.tokens) == 4 and not h.finished and h.score > -1e30 for h in found)
    model.bias[END] = 1e4  # no sentence begins
    for found in beam_search(model, model.state, **options):
        assert found[0].tokens == ()
        assert found[0].finished
        assert found[0].log_probability == pytest.approx(0, abs=1e-12)
    model.bias[:] = -torch.inf  # nothing is possible
    for found in beam_search(model, model.state, **options):
        assert [(h.tokens, h.score, h.finished) for h in found] == [((), 0.0, False)]
    tokens, log_p = sample(model, model.state, start=START, end=END, length=4)
    assert tokens.eq(END).all()
    assert log_p.eq(0).all()


def test_a_hypothesis_that_nothing_may_follow_is_kept():
    follows = torch.full((4, 4), -torch.inf)
    # 0 -> 2 -> 3, a dead end, or 0 -> end.
    follows[0, 2] = 3.0
    follows[0, 1] = 0.0
    follows[2, 3] = 0.0

    def step(tokens, state):
        return follows[tokens], state

    (found,) = beam_search(step, (torch.zeros(1, 1),), start=0, end=1, length=9, width=2)
    assert [(h.tokens, h.finished) for h in found] == [((2, 3), False), ((), True)]
    assert found[0].score == pytest.approx(F.log_softmax(follows[0], -1)[2].item() / 2**0.7)
    assert greedy(step, (torch.zeros(1, 1),), start=0, end=1, length=3).tokens.tolist() == [
        [2, 3, 1]
    ]


def test_a_finished_hypothesis_is_kept_while_a_longer_one_grows():
    """The longer has more log p a token, the shorter more log p: the penalty decides."""
    follows = torch.tensor([[0, 0, 0], [0, 0, 0], [0, 0, 0]]).float()
    follows[0] = torch.tensor([-9.0, 0.3, 0.0])  # after the start: end a little likelier than 2
    follows[2] = torch.tensor([-9.0, 0.0, 4.0])  # after 2: more of 2

    def step(tokens, state):
        return follows[tokens], state

    for penalty, first in ((0.0, ()), (1.0, (2, 2, 2, 2))):
        (found,) = beam_search(
            step, (torch.zeros(1, 1),), start=0, end=1, length=4, width=2, penalty=penalty
        )
        assert found[0].tokens == first
        assert () in [h.tokens for h in found]


def test_states_of_several_parts_follow_their_hypotheses():
    def step(tokens, state):
        """Remembers what it read in two places, and prefers tokens in rising order."""
        read, count, _ = state
        read = torch.cat((read[:, 1:], tokens[:, None]), 1)
        assert torch.equal(count + 1, (read >= 0).sum(1))
        logits = (
            -3.0 * (torch.arange(6) - read[:, -1:] - 1).abs().float()
            - 0.01 * read.clamp(min=0).sum(1)[:, None]
        )
        return logits, (read, count + 1, count)

    read, count = torch.full((2, 9), -1), torch.zeros(2, dtype=torch.int64)
    found = beam_search(step, (read, count, count), start=0, end=5, length=8, width=4)
    assert [h[0].tokens for h in found] == [(1, 2, 3, 4)] * 2


def test_half_precision_logits_are_summed_in_float32():
    model = Model(batch=2)
    exact = beam_search(model, model.state, start=START, end=END, length=5, width=3)

    def step(tokens, state):
        logits, state = model(tokens, state)
        return logits.bfloat16(), state

    coarse = beam_search(step, model.state, start=START, end=END, length=5, width=3)
    assert coarse[0][0].score == pytest.approx(exact[0][0].score, abs=0.05)
    assert (
        greedy(step, model.state, start=START, end=END, length=5).log_probabilities.dtype
        == torch.float32
    )


@pytest.mark.parametrize("options", [{"width": 0}, {"length": 0}])
def test_an_empty_beam_is_an_error(options):
    with pytest.raises(ValueError, match="at least 1, not 0"):
        beam_search(
            Model(),
            (torch.zeros(1, 6),),
            **{"start": START, "end": END, "length": 3, "width": 2, **options},
        )
