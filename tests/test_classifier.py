"""The classifier of sentences: its network, its batches and its trained form."""

import pytest
import torch

from core.training.config import LoopConfig
from datasets.text.spelling import spell
from datasets.text.vocabulary import Vocabulary
from sequences.sentiment.config import Config
from sequences.sentiment.data import Sentence, Sentences, TrainingBatches, collate, encode
from sequences.sentiment.model import Classifier
from sequences.sentiment.trained import Trained

POOLINGS = "max", "mean", "last"


def numbered(*lengths: int) -> list[Sentence]:
    """Sentences of so many words, each a number and called by its letter."""
    numbers = [torch.randint(4, 20, (length,)) for length in lengths]
    return [Sentence([f"word-{n}" for n in row.tolist()], row) for row in numbers]


@pytest.mark.parametrize("pooling", ["max", "mean", "last"])
@pytest.mark.parametrize(
    ("cell", "both", "layers", "buckets"),
    [("lstm", True, 2, 50), ("gru", False, 1, 0), ("rnn", True, 1, 50)],
)
def test_padding_has_no_influence(pooling, cell, both, layers, buckets):
    torch.manual_seed(0)
    sizes = {"embedding": 4, "hidden": 3, "layers": layers, "buckets": buckets}
    net = Classifier(Config(cell=cell, bidirectional=both, pooling=pooling, **sizes), 20, 3).eval()
    sentences = numbered(7, 1, 4)
    together = net(collate(sentences, buckets))
    torch.testing.assert_close(
        together, torch.cat([net(collate([each], buckets)) for each in sentences])
    )
    together.sum().backward()
    assert net.words.weight.grad is not None
    assert not net.words.weight.grad[Vocabulary.pad].any()


def test_pooling_is_what_it_is_called():
    torch.manual_seed(0)
    shown = collate(numbered(5, 5), 0)
    nets = {
        name: Classifier(Config(embedding=4, hidden=3, pooling=name), 20, 2).eval()
        for name in POOLINGS
    }
    x = nets["max"].embed(shown)
    outputs, state = nets["max"].recurrent(x, lengths=shown.lengths)
    torch.testing.assert_close(nets["max"](shown), nets["max"].V(outputs.amax(0)))
    torch.testing.assert_close(nets["mean"].pool(outputs, state, shown.lengths), outputs.mean(0))
    last = nets["last"]
    outputs, _ = last.recurrent(last.embed(shown), lengths=shown.lengths)
    forward, backward = outputs.chunk(2, -1)  # both sentences have 5 words
    ends = torch.cat([forward[4], backward[0]], -1)
    torch.testing.assert_close(last(shown), last.V(ends))


def test_a_word_is_its_number_and_the_mean_of_its_ngrams():
    torch.manual_seed(0)
    net = Classifier(Config(embedding=4, hidden=3, buckets=50), 20, 2).eval()
    sentences = [
        Sentence(["good", "", "good"], torch.tensor([5, 1, 6])),
        Sentence(["a"], torch.tensor([1])),
    ]
    shown = collate(sentences, 50)
    assert shown.which.tolist() == [[0, 2], [1, 0], [0, 0]]
    embedded = net.embed(shown)
    assert net.grams is not None
    good, a = (net.grams.weight[list(spell(word, 50))].mean(0) for word in ("good", "a"))
    for place, number, spelled in (
        ((0, 0), 5, good),
        ((1, 0), 1, 0.0),
        ((2, 0), 6, good),
        ((0, 1), 1, a),
    ):
        torch.testing.assert_close(embedded[place], net.words.weight[number] + spelled)


def test_words_are_hidden_in_training_only():
    config = Config(embedding=4, hidden=3, dropout=0.0, word_dropout=0.5, buckets=50)
    net, shown = Classifier(config, 20, 2), collate(numbered(6, 6, 6), 50)
    seen = net.eval().embed(shown)
    torch.testing.assert_close(net.embed(shown), seen)
    in_training = net.train().embed(shown)
    hidden = (in_training == net.words.weight[Vocabulary.unknown]).all(-1)
    assert 0 < hidden.sum() < 18
    torch.testing.assert_close(in_training[~hidden], seen[~hidden])


def test_texts_are_cut_and_none_is_without_a_word():
    vocabulary = Vocabulary.train(["one two three four !"], punctuation=True)
    sentences = encode(["one two three", "", "five", "Two !"], vocabulary, 2)
    assert [each.words for each in sentences] == [["one", "two"], [""], ["five"], ["two", "!"]]
    assert [each.numbers.tolist() for each in sentences[1:3]] == [[vocabulary.unknown]] * 2
    assert [vocabulary.decode(each.numbers.tolist()) for each in sentences] == [
        "one two",
        "<unk>",
        "<unk>",
        "two!",
    ]
    shown = collate(sentences, 0)
    assert shown.lengths.tolist() == [2, 1, 1, 2]
    assert shown.tokens[1].tolist()[1:3] == [vocabulary.pad] * 2
    assert len(shown.grams) == len(shown.offsets) == 0


def test_batches_are_functions_of_the_step_and_share_rows():
    sentences = [Sentence([str(n)] * (1 + n % 4), torch.full((1 + n % 4,), n)) for n in range(10)]
    config = Config(loop=LoopConfig(batch=6), buckets=50)
    make = TrainingBatches(sentences, torch.arange(10), config, torch.device("cpu"))
    labels, *whole = make(3, slice(0, 6))
    part_labels, *part = make(3, slice(2, 4))
    assert torch.equal(part_labels, labels[2:4])
    shown, part_of_batch = Sentences(*whole), Sentences(*part)
    assert torch.equal(part_of_batch.lengths, shown.lengths[2:4])
    assert torch.equal(part_of_batch.tokens, shown.tokens[: len(part_of_batch.tokens), 2:4])
    for row, (number, length) in enumerate(
        zip(labels.tolist(), shown.lengths.tolist(), strict=True)
    ):
        assert shown.tokens[:length, row].tolist() == sentences[number].numbers.tolist()


def test_sentences_are_classified_in_the_order_they_came():
    torch.manual_seed(0)
    vocabulary = Vocabulary.train(["a b c d e f"])
    config = Config(embedding=4, hidden=3, buckets=50)
    trained = Trained(
        config, Classifier(config, len(vocabulary), 2).train(), vocabulary, ("x", "y")
    )
    texts = [" ".join("abcdef"[: 1 + n % 6]) for n in range(70)]
    log_p = trained.classify(texts)
    torch.testing.assert_close(log_p, torch.cat([trained.classify([each]) for each in texts]))
    torch.testing.assert_close(log_p.exp().sum(1), torch.ones(70))
    assert trained.classifier.training
