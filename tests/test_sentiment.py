"""sequences sentiment train, evaluate and classify at toy size, and the baselines."""

import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from videos import text

from core.training import checkpoint, cli
from datasets.text.vocabulary import Vocabulary
from sequences.__main__ import COMMANDS
from sequences.sentiment import baselines
from sequences.sentiment.data import TrainingBatches
from sequences.sentiment.trained import open_model

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


def test_baselines():
    train = np.array([0, 1, 1, 2])
    assert baselines.majority(train, 3).tolist() == [1, 1, 1]
    metrics = baselines.metrics(np.array([1, 1, 1, 1]), np.array([1, 1, 1, 0]))
    assert metrics == {"accuracy": 0.75, "macro F1": pytest.approx((2 * 0.75 / 1.75 + 0) / 2)}
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
    printed = json.loads(capsys.readouterr().out)
    assert (printed["split"], printed["sentences"]) == ("test", 6)
    assert {name: scores["accuracy"] for name, scores in printed["scores"].items()} == {
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
        printed = capsys.readouterr()
        assert printed.out.startswith("pos\t")
        assert printed.out.count("\n") == 1
        assert "standard input: line 2 is not UTF-8" in printed.err


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


def test_columns_of_tables_are_named(tmp_path, capsys):
    rows = "".join(f"fine {n},up\ngrim {n},down\n" for n in range(9))
    table = text(tmp_path / "talk.csv", f"post,mood\n{rows}")
    named = ["--text-column", "post", "--label-column", "mood"]
    assert train(tmp_path, "--data", table, *named, "--steps", "1") == 0
    directory = tmp_path / "runs/sentiment/reviews"
    capsys.readouterr()
    assert run("evaluate", directory, "--json") == 0
    assert json.loads(capsys.readouterr().out)["split"] == "test"
    assert run("evaluate", directory, "--data", table, *named, "--json") == 0
    assert json.loads(capsys.readouterr().out)["sentences"] == 18
    for argv, message in (
        (("--data", table), "its first line names no columns of texts"),
        (("--data", table, "--text-column", "posts"), "no column posts; there are post, mood"),
        (named, "name columns of --data: give that too"),
    ):
        assert run("evaluate", directory, *argv) == 2
        assert message in capsys.readouterr().err


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
        printed = capsys.readouterr().err
        assert message in printed, argv
        assert printed.count("\n") == 1
