"""sequences sentiment at toy size: the net, its batches, its baselines, and the three commands."""

import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from videos import text

from core.patterns import ManyToOne
from core.training import checkpoint, cli
from core.training.config import LoopConfig
from datasets.spelling import spell
from datasets.text import Vocabulary
from sequences.__main__ import COMMANDS
from sequences.sentiment import baselines
from sequences.sentiment.config import Config
from sequences.sentiment.data import Sentence, Sentences, TrainingBatches, collate, encode
from sequences.sentiment.model import Classifier
from sequences.sentiment.trained import Trained, open_model

TINY = [
    "--embedding",
    "6",
    "--hidden",
    "5",
    "--batch",
    "8",
    "--log-every",
    "2",
    "--min-count",
    "1",
    "--quiet",
]
POOLINGS = "max", "mean", "last"


@pytest.fixture
def talk(tmp_path: Path) -> list[str]:
    """Two files of sentences, one for each label."""
    good = "".join(
        f"{word} , good and {word} {n}\n" for word in ("fine", "nice", "great") for n in range(10)
    )
    bad = "".join(
        f"{word} , bad or {word} {n}\n" for word in ("poor", "dire", "grim") for n in range(10)
    )
    return [str(text(tmp_path / "talk.pos", good)), str(text(tmp_path / "talk.neg", bad))]


def run(*argv: object) -> int:
    return cli.main("sequences", COMMANDS, ["sentiment", *map(str, argv)])


def train(tmp_path: Path, *argv: object) -> int:
    return run("train", *TINY, "--runs", tmp_path / "runs", *argv)


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
    pattern = ManyToOne("lstm", 4, 3, 2, bidirectional=True, bias=True)
    pattern.recurrent, pattern.V = nets["last"].recurrent, nets["last"].V
    torch.testing.assert_close(
        nets["last"](shown), pattern(nets["last"].embed(shown), shown.lengths)
    )


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
    shown, few = Sentences(*whole), Sentences(*part)
    assert torch.equal(few.lengths, shown.lengths[2:4])
    assert torch.equal(few.tokens, shown.tokens[: len(few.tokens), 2:4])
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


def test_baselines():
    train = np.array([0, 1, 1, 2])
    assert baselines.majority(train, 3).tolist() == [1, 1, 1]
    scores = baselines.scores(np.array([1, 1, 1, 1]), np.array([1, 1, 1, 0]))
    assert scores == {"accuracy": 0.75, "macro F1": pytest.approx((2 * 0.75 / 1.75 + 0) / 2)}
    vocabulary = Vocabulary.train([], punctuation=True)
    known = ["good good film", "a good one", "bad film", "a bad one"] * 3
    labels = baselines.bag_of_words(
        vocabulary, known, np.array([1, 1, 0, 0] * 3), ["Good !", "unseen bad", "film a"]
    )
    assert labels.tolist()[:2] == [1, 0]


def test_train_evaluate_classify(talk, tmp_path, capsys, monkeypatch):
    assert (
        train(
            tmp_path,
            "--data",
            *talk,
            "--steps",
            "60",
            "--learning-rate",
            "0.05",
            "--validate-every",
            "20",
        )
        == 0
    )
    assert "bag of words" in capsys.readouterr().out
    directory = tmp_path / "runs/sentiment/reviews"

    assert run("evaluate", directory, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["split"], told["sentences"]) == ("test", 6)
    assert {name: scores["accuracy"] for name, scores in told["scores"].items()} == {
        "this net": 1,
        "bag of words": 1,
        "majority class": 0.5,
    }
    assert run("evaluate", directory, "--split", "validation") == 0
    assert "validation: 6 sentences" in capsys.readouterr().out
    other = text(tmp_path / "new.csv", "text,label\nfine and nice,pos\ngrim and dire,pos\n")
    assert run("evaluate", directory, "--data", other, "--no-baselines", "--json") == 0
    assert json.loads(capsys.readouterr().out)["scores"]["this net"]["accuracy"] == 0.5

    said = b"a nice one\n\n  \r\ngrim\n" + b"dire " * 20_000 + b"\nGOOD, and no end of line"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(said)))
    assert run("classify", directory) == 0
    answers = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [answer[0] for answer in answers] == ["pos", "", "", "neg", "neg", "pos"]
    assert all(0.5 < float(answer[1]) <= 1 for answer in answers if answer[0])

    for said in (b"fine\ngrim\xff\n", b"fine\n" + "grim\n".encode("utf-16-le")):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(said)))
        assert run("classify", directory) == 2
        told = capsys.readouterr()
        assert told.out.startswith("pos\t")
        assert told.out.count("\n") == 1
        assert "standard input: line 2 is not UTF-8" in told.err


def test_splits_of_other_data(talk, tmp_path, capsys):
    assert train(tmp_path, "--data", *talk, "--steps", "1") == 0
    directory = tmp_path / "runs/sentiment/reviews"
    rows = "text,label,split\nfine,pos,test\ngrim,neg,train\nnice,pos,train\n"
    other = text(tmp_path / "new.csv", rows)
    flags = ["evaluate", directory, "--data", other, "--no-baselines", "--json"]
    for split, sentences in (((), 3), (("--split", "train"), 2), (("--split", "test"), 1)):
        capsys.readouterr()
        assert run(*flags, *split) == 0
        assert json.loads(capsys.readouterr().out)["sentences"] == sentences
    assert run(*flags, "--split", "validation") == 2
    assert "new.csv: the data name no split validation" in capsys.readouterr().err


def test_interrupted_and_resumed_ends_with_the_same_bits(talk, tmp_path, monkeypatch):
    flags = [
        "--data",
        *talk,
        "--steps",
        "8",
        "--validate-every",
        "4",
        "--save-every",
        "3",
    ]
    flags += ["--buckets", "50"]
    assert train(tmp_path, *flags, "--name", "whole") == 0
    make = TrainingBatches.__call__

    def stopped(self, step, rows):
        if step == 5:
            raise KeyboardInterrupt
        return make(self, step, rows)

    with monkeypatch.context() as patch:
        patch.setattr(TrainingBatches, "__call__", stopped)
        assert train(tmp_path, *flags, "--name", "broken") == 130
    broken, whole = (tmp_path / "runs/sentiment" / name for name in ("broken", "whole"))
    assert checkpoint.load(broken / "last.pt", "sentiment")["step"] == 3
    assert run("train", "--resume", broken, "--quiet") == 0
    one, two = (
        checkpoint.load(folder / "last.pt", "sentiment")["weights"] for folder in (whole, broken)
    )
    for name, value in one.items():
        assert torch.equal(value, two[name]), name


def test_mistakes_are_one_line(talk, tmp_path, capsys):
    assert (
        train(tmp_path, "--data", *talk, "--steps", "1", "--test-share", "0", "--name", "short")
        == 0
    )
    directory = tmp_path / "runs/sentiment/short"
    assert open_model(directory, "cpu").classes == ("neg", "pos")
    other = text(tmp_path / "other.csv", "text,label\nx,good\n")
    empty = text(tmp_path / "empty.neg", "\n")
    for argv, message in (
        (("evaluate", directory, "--split", "test"), f"{directory} has no test split"),
        (
            ("evaluate", directory, "--data", other),
            "other.csv: the label 'good' is none of those trained on: neg, pos",
        ),
        (
            ("evaluate", directory, "--data", other, "--split", "test", "--no-baselines"),
            "other.csv: the data name no split test",
        ),
        (("evaluate", tmp_path), "holds neither best.pt nor last.pt"),
        (("classify", tmp_path / "none.pt"), "none.pt: No such file or directory"),
        (("train", "--data", talk[0], empty), "empty.neg: the file is empty"),
        (("train", "--data", "FILE.neg"), "FILE.neg: no such file or folder of labelled sentences"),
        (("train", "--test-share", "0.95"), "validation_share must be above 0"),
        (("train", "--dropout", "1"), "dropout must be from 0 to below 1, not 1.0"),
        (("train", "--buckets", "-1"), "buckets must be at least 0, not -1"),
        (("train", "--hidden", "0"), "hidden must be at least 1, not 0"),
    ):
        capsys.readouterr()
        assert run(*argv) == 2, argv
        told = capsys.readouterr().err
        assert message in told, argv
        assert told.count("\n") == 1
