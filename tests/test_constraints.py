"""Step functions whose logits are biased, without repetition, or with a forced prefix."""

import torch

from captioning.concepts.inflection import inflections_of
from captioning.generation.constraints import ban_repetition, bias_logits, force_prefix
from datasets.text.vocabulary import Vocabulary


def test_a_logit_is_biased_until_the_word_is_written():
    words = torch.tensor([4, 5])
    bias = torch.tensor([[9.0, 0.0], [0.0, 0.0]])

    def step(tokens, state):
        return torch.zeros(len(tokens), 7), (state[0] + 1,)

    biased, state = bias_logits(step, (torch.zeros(2, 1),), words, bias)
    logits, after = biased(torch.tensor([2, 2]), state)
    assert logits[0].tolist() == [0, 0, 0, 0, 9, 0, 0]
    assert not logits[1].any()
    assert torch.equal(after[0], torch.ones(2, 1)), "the state of the step goes with it"
    logits, after = biased(torch.tensor([4, 6]), after)
    assert not logits.any(), "the word was written"
    rows = tuple(part.repeat_interleave(3, 0) for part in state)
    logits, _ = biased(torch.tensor([2] * 6), rows)
    assert logits[:, 4].tolist() == [9, 9, 9, 0, 0, 0], "with a beam of three"


def test_a_word_is_written_once_in_singular_or_plural():
    vocabulary = Vocabulary.train(["a dog and two dogs in the snow by a y"])
    a, dog, dogs, snow = (vocabulary.number(word) for word in ("a", "dog", "dogs", "snow"))

    def step(tokens, state):
        return torch.zeros(len(tokens), len(vocabulary)), (state[0] + 1,)

    once, state = ban_repetition(step, (torch.zeros(2, 1),), inflections_of(vocabulary))
    rows = tuple(part.repeat_interleave(2, 0) for part in state)  # a beam of two
    logits, rows = once(torch.tensor([dog, dogs, a, vocabulary.end]), rows)
    assert torch.equal(rows[0], torch.ones(4, 1)), "the state of the step goes with it"
    logits, rows = once(torch.tensor([a, a, a, snow]), rows)
    never = (logits == -torch.inf).tolist()
    for row, words in enumerate([{dog, dogs}, {dog, dogs}, set(), {snow}]):
        assert {n for n, out in enumerate(never[row]) if out} == {vocabulary.start, *words}


def test_the_prefix_comes_first():
    def step(tokens, state):
        return torch.ones(len(tokens), 7), (state[0] + tokens[:, None],)

    constrained, state = force_prefix(step, (torch.zeros(2, 1),), [(4, 5), (4, 6)])
    rows = tuple(part.repeat_interleave(2, 0) for part in state)  # a beam of two
    for forced in ([4, 4, 4, 4], [5, 5, 6, 6]):
        logits, rows = constrained(torch.tensor([2, 2, 2, 2]), rows)
        assert logits.argmax(1).tolist() == forced
        assert torch.equal(logits.softmax(1).amax(1), torch.ones(4)), "nothing else is possible"
    logits, rows = constrained(torch.tensor([5, 5, 6, 6]), rows)
    assert torch.equal(logits, torch.ones(4, 7)), "then all is as without it"
    assert rows[0].squeeze(1).tolist() == [9, 9, 10, 10], "the state of the step goes with it"
