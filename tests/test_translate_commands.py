"""sequences translate train, evaluate and lines at toy size; killed and resumed."""

import io
import json
import sys
from pathlib import Path

import pytest
import torch

from core.training import checkpoint, cli
from datasets.text import counting
from sequences.translate import evaluate, lines, train
from sequences.translate.data import TrainingBatches

TINY = [
    "--embedding",
    "8",
    "--hidden",
    "12",
    "--vocabulary",
    "150",
    "--batch",
    "8",
    "--quiet",
    "--device",
    "cpu",
]
FAST = [*TINY, "--steps", "4", "--log-every", "2", "--validate-every", "4"]


def run(command, *argv: object) -> int:
    return cli.script(command.__name__.replace(".", " "), [str(word) for word in argv])


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Path:
    """Eighty pairs in two files, and twenty in two others."""
    folder = tmp_path_factory.mktemp("files")
    for name, part in (("train", counting.splits()[0][:80]), ("val", counting.splits()[1][:20])):
        for suffix, side in zip(("en", "cs"), zip(*part, strict=True), strict=True):
            (folder / f"{name}.{suffix}").write_text("\n".join(side), encoding="utf8")
    return folder


@pytest.fixture(scope="module")
def trained(files, tmp_path_factory) -> Path:
    runs = tmp_path_factory.mktemp("runs")
    assert run(train, "--data", files / "train", *FAST, "--runs", runs, "--name", "first") == 0
    return runs / "translate/first"


def given(monkeypatch, content: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))


def test_train_reports_baselines_and_evaluate_agrees(files, tmp_path, capsys):
    pair = files / "val.en", files / "val.cs"
    options = (
        "--data",
        files / "train",
        "--validation",
        *pair,
        "--beam",
        2,
    )
    assert run(train, *options, *FAST, "--runs", tmp_path, "--name", "words") == 0
    printed = capsys.readouterr().out
    for expected in (
        "the source, copied",
        "the most similar training sentence",
        "BLEU nrefs:1|case:mixed",
        "20 pairs",
    ):
        assert expected in printed
    assert run(evaluate, tmp_path / "translate/words", "--json") == 0
    own = json.loads(capsys.readouterr().out)
    assert set(own["scores"]) == {
        "this translator",
        "the source, copied",
        "the most similar training sentence",
    }
    assert own["scores"]["the most similar training sentence"]["BLEU"] > 5
    assert (
        run(
            evaluate,
            tmp_path / "translate/words",
            "--json",
            "--data",
            files / "val",
            "--no-baselines",
        )
        == 0
    )
    assert json.loads(capsys.readouterr().out)["scores"] == {
        "this translator": own["scores"]["this translator"]
    }


def test_a_split_can_be_measured(trained, capsys):
    counts = {}
    for split in ("train", "validation"):
        assert run(evaluate, trained, "--json", "--split", split, "--no-baselines") == 0
        counts[split] = json.loads(capsys.readouterr().out)["pairs"]
    assert counts == {"train": 76, "validation": 4}


def test_lines(trained, monkeypatch, capsys, tmp_path):
    given(monkeypatch, "\ufeffToday Petr saw one dog.\r\n\nřeka 漢字 🐕 <end> $x$\n".encode())
    assert run(lines, trained, "--attention", tmp_path / "new/seen.png") == 0
    out = capsys.readouterr().out.split("\n")
    assert len(out) == 4
    assert out[1] == out[3] == ""
    drawn = {path.name for path in (tmp_path / "new").iterdir()}
    assert drawn <= {"seen.png", "seen-3.png"}
    given(monkeypatch, b"one\ntwo\nthree")
    assert run(lines, trained, "--n-best", 3, "--beam", 2, "--batch", 2) == 0
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [row[0] for row in rows] == ["1"] * 3 + ["2"] * 3 + ["3"] * 3
    assert float(rows[0][1]) < 0


def test_a_picture_of_the_users_is_not_replaced(trained, monkeypatch, capsys, tmp_path):
    picture = tmp_path / "mine.png"
    picture.write_text("mine")
    given(monkeypatch, b"one\n")
    assert run(lines, trained, "--attention", picture) == 2
    assert "mine.png exists: remove it, choose another name, or add --overwrite" in (
        capsys.readouterr().err
    )
    assert picture.read_text() == "mine"
    given(monkeypatch, b"one\n")
    assert run(lines, trained, "--attention", picture, "--overwrite") == 0


def test_lines_are_written_as_soon_as_they_are_read(trained, monkeypatch, capsys):
    """The second line is not UTF-8; the first one is translated by then."""
    given(monkeypatch, b"one\n\xff\nthree\n")
    assert run(lines, trained) == 2
    printed = capsys.readouterr()
    assert printed.out.count("\n") == 1
    assert "standard input: line 2 is not UTF-8" in printed.err


def test_a_long_line_is_cut_and_reported(trained, monkeypatch, capsys):
    given(monkeypatch, b"a" * 100_000)
    assert run(lines, trained, "--beam", 1) == 0
    assert "line 1 has" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "flags", "message"),
    [
        (train, ["--data", "{0}/nothing"], "there is neither"),
        (train, ["--data", "{0}/train.en", "{0}/val.cs"], "train.en: line 21 has no translation"),
        (train, ["--data", "{0}/train", "--longest", "1"], "raise --longest"),
        (train, ["--hidden", "7"], "hidden must be even"),
        (train, ["--input-feeding", "--no-attention"], "it needs attention"),
        (train, ["--dropout", "1"], "dropout must be"),
        (evaluate, ["{1}", "--beam", "0"], "beam must be"),
        (evaluate, ["{1}", "--split", "train", "--data", "{0}/val"], "files have no splits"),
        (evaluate, ["{0}"], "holds neither best.pt nor last.pt"),
        (lines, ["{1}", "--n-best", "0"], "n_best must be"),
        (lines, ["{1}", "--attention", "a.txt"], "such as attention.png"),
    ],
)
def test_bad_input_is_one_line(command, flags, message, files, trained, capsys):
    assert run(command, *(flag.format(files, trained) for flag in flags)) == 2
    printed = capsys.readouterr().err
    assert message in printed
    assert printed.count("\n") == 1


def test_killed_and_resumed_ends_with_the_same_bits(files, tmp_path, monkeypatch):
    flags = [
        "--data",
        files / "train",
        *TINY,
        "--steps",
        14,
        "--validate-every",
        7,
        "--save-every",
        3,
    ]
    flags += ["--runs", tmp_path]
    assert run(train, *flags, "--name", "whole") == 0

    class PowerCutError(Exception):
        pass

    call = TrainingBatches.__call__

    def cut(self, step, rows):
        if step == 11:
            raise PowerCutError
        return call(self, step, rows)

    monkeypatch.setattr(TrainingBatches, "__call__", cut)
    with pytest.raises(PowerCutError):
        run(train, *flags, "--name", "killed")
    monkeypatch.undo()
    assert run(train, "--resume", tmp_path / "translate/killed", "--quiet", "--device", "cpu") == 0
    one, two = (
        checkpoint.load(tmp_path / "translate" / n / "last.pt", "translate")
        for n in ("whole", "killed")
    )
    assert two["step"] == 14
    for key, value in one["weights"].items():
        assert torch.equal(value, two["weights"][key]), key


def test_without_attention_there_is_nothing_to_draw(files, tmp_path, capsys, monkeypatch):
    assert (
        run(
            train,
            "--data",
            files / "train",
            "--no-attention",
            *FAST,
            "--runs",
            tmp_path,
            "--name",
            "plain",
        )
        == 0
    )
    capsys.readouterr()
    assert run(lines, tmp_path / "translate/plain", "--attention", tmp_path / "seen.png") == 2
    assert "was trained without attention" in capsys.readouterr().err
    given(monkeypatch, "three black 漢\n".encode())
    assert run(lines, tmp_path / "translate/plain") == 0
    assert "<unk>" not in capsys.readouterr().out
