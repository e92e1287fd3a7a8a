"""A training is resumed on the data that it began with, wherever they are now, and on no others."""

import json
import re
from pathlib import Path

import pytest
import torch
from PIL import Image

from core.training import checkpoint, cli
from datasets.digests import digest
from glimpse.__main__ import COMMANDS as GLIMPSE
from sequences.__main__ import COMMANDS as SEQUENCES

FAST = ["--steps", 2, "--batch", 4, "--log-every", 1, "--validate-every", 2, "--quiet"]
WORDS = ["fine", "nice", "great", "good", "kind", "poor", "dire", "grim", "bad", "dull"]


def glimpse(*argv: object) -> int:
    return cli.main("glimpse", GLIMPSE, [str(word) for word in argv])


def sequences(*argv: object) -> int:
    return cli.main("sequences", SEQUENCES, [str(word) for word in argv])


def write(file: Path, lines: list[str]) -> Path:
    file.parent.mkdir(exist_ok=True)
    file.write_text("".join(f"{line}\n" for line in lines))
    return file


def refused(capfd: pytest.CaptureFixture[str]) -> bool:
    error = capfd.readouterr().err
    line = r".*the data of .* have changed \((.*; )?examples or labels\): put them back .*\n"
    return re.fullmatch(line, error) is not None


def test_order_part_and_label_count():
    whole = digest([("a", 0), ("b", 1)], [("c", 0)])
    assert whole == digest(iter([("a", 0), ("b", 1)]), [("c", 0)])
    others = [
        digest([("b", 1), ("a", 0)], [("c", 0)]),
        digest([("a", 0)], [("b", 1), ("c", 0)]),
        digest([("a", 1), ("b", 0)], [("c", 0)]),
    ]
    assert len({whole, *others}) == 4


def test_sentences(tmp_path, capfd):
    rows = [f"{word} words {n},{int(n < 5)}" for n, word in enumerate(WORDS)]
    table = write(tmp_path / "here" / "talk.csv", ["text,label", *rows])
    size = "--embedding", 4, "--hidden", 4, "--min-count", 1
    run = tmp_path / "sentiment" / "first"
    named = "--runs", tmp_path, "--name", "first"
    assert sequences("sentiment", "train", "--data", table, *size, *FAST, *named) == 0
    moved = tmp_path / "talk.csv"
    table.rename(moved)
    capfd.readouterr()
    assert sequences("sentiment", "evaluate", run) == 2
    assert f"{run} learned from data that are not here: {table}" in capfd.readouterr().err
    assert sequences("sentiment", "evaluate", run, "--data", moved, "--json") == 0
    captured = capfd.readouterr()
    assert list(json.loads(captured.out)["scores"]) == ["this net"]
    warning = "warning: without baselines, which learn from the training texts"
    assert f"{warning}: {table}" in captured.err
    assert sequences("sentiment", "train", "--resume", run, "--data", moved, "--quiet") == 0
    exchanged = [row[:-1] + ("0" if row[-1] == "1" else "1") for row in rows]
    write(moved, ["text,label", *exchanged])
    assert sequences("sentiment", "train", "--resume", run, "--data", moved, "--quiet") == 2
    assert refused(capfd)


def test_pairs(tmp_path, capfd):
    source = write(tmp_path / "p.en", [f"{word} words" for word in WORDS])
    target = write(tmp_path / "p.cs", [f"{word[::-1]} slova" for word in WORDS])
    size = "--embedding", 4, "--hidden", 4, "--vocabulary", 80, "--min-count", 1
    named = "--runs", tmp_path, "--name", "first"
    train = "translate", "train"
    assert sequences(*train, "--data", source, target, *size, *FAST, *named) == 0
    run = tmp_path / "translate" / "first"
    target.rename(tmp_path / "q.cs")
    capfd.readouterr()
    assert sequences("translate", "evaluate", run) == 2
    assert f"{run} learned from data that are not here" in capfd.readouterr().err
    assert sequences("translate", "evaluate", run, "--data", source, tmp_path / "q.cs") == 0
    assert "warning: without baselines, which take the training pairs: " in capfd.readouterr().err
    write(target, (tmp_path / "q.cs").read_text().splitlines()[::-1])
    assert sequences(*train, "--resume", run, "--quiet") == 2
    assert refused(capfd)


def test_pictures(tmp_path, capfd):
    """Folders that exchange their names keep the names of all files and the number of labels."""
    for name, grey in (("dark", 20), ("light", 230)):
        (tmp_path / "own" / name).mkdir(parents=True)
        for n in range(6):
            Image.new("L", (12, 12), grey + n).save(tmp_path / "own" / name / f"{n}.png")
    named = "--runs", tmp_path, "--name", "first"
    own = "--preset", "images", "--data", tmp_path / "own", "--glimpses", 1, "--warm-up", 0
    assert glimpse("train", *own, *FAST, *named) == 0
    run = tmp_path / "glimpse" / "first"
    (tmp_path / "own").rename(tmp_path / "moved")
    moved = "--data", tmp_path / "moved"
    assert glimpse("train", "--resume", run, *moved, "--quiet") == 0
    (tmp_path / "moved" / "dark").rename(tmp_path / "aside")
    (tmp_path / "moved" / "light").rename(tmp_path / "moved" / "dark")
    (tmp_path / "aside").rename(tmp_path / "moved" / "light")
    capfd.readouterr()
    assert glimpse("train", "--resume", run, *moved, "--quiet") == 2
    assert refused(capfd)


def test_older_runs_have_no_digest(tmp_path):
    named = "--runs", tmp_path, "--name", "first"
    assert glimpse("train", *FAST, *named) == 0
    run = tmp_path / "glimpse" / "first"
    last = checkpoint.load(run / "last.pt", "glimpse")
    assert last["extras"].pop("digest")
    torch.save(last, run / "last.pt")
    assert glimpse("train", "--resume", run, "--quiet") == 0
