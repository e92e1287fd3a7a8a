"""Texts of other scripts and of any size, prompts, and packed models of the character model."""

import io
import json
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch

from core.training import checkpoint, cli
from core.training.config import LoopConfig
from core.training.packing import from_bytes, to_bytes
from datasets.text.alphabets import Alphabet
from datasets.text.corpora import corpus_of, open_corpus
from sequences.__main__ import COMMANDS
from sequences.charlm import data, sample, train
from sequences.charlm.config import Config
from sequences.charlm.trained import open_model

TOY = ["--hidden", "8", "--batch", "4", "--window", "10", "--quiet", "--steps", "2"]


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory and a cache of one's own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


def run(*words: object) -> int:
    """Run a command of the character model."""
    return cli.main("sequences", COMMANDS, ["charlm", *map(str, words)])


@pytest.mark.parametrize(
    ("text", "as_bytes", "first"),
    [
        ("ab\ncd e", False, "\n"),
        ("ab cde", False, " "),
        ("漢字漢", False, "漢"),
        ("ab\ncd", True, "\n"),
        ("abcd", True, "a"),
    ],
)
def test_texts_begin_after_a_character_that_they_have(text, as_bytes, first):
    corpus = corpus_of("text", text, as_bytes=as_bytes)
    assert corpus.alphabet.decode([data.first_number(corpus)]) == first


def test_a_text_of_another_script_without_spaces_is_learned_and_written(place, capsys):
    (place / "text.txt").write_text("春眠不覺曉處處聞啼鳥" * 40)
    assert run("train", "text.txt", *TOY) == 0
    capsys.readouterr()
    assert run("sample", "runs/charlm/small", "--length", 30) == 0
    written = capsys.readouterr().out.rstrip("\n")
    assert len(written) == 30
    assert set(written) <= set("春眠不覺曉處聞啼鳥")


def test_unknown_characters_of_a_prompt_are_named_and_left_out(capsys):
    assert run("train", *TOY) == 0
    capsys.readouterr()
    words = ["runs/charlm/hello", "--length", 5, "--temperature", 0]
    assert run("sample", *words, "--prompt", "heZlÿ") == 0
    printed = capsys.readouterr()
    assert "left out of the prompt, as the model has never seen it: 'Z', 'ÿ'" in printed.err
    assert printed.out.startswith("hel")
    assert run("sample", *words, "--prompt", "hel") == 0
    assert capsys.readouterr().out == printed.out
    assert run("sample", *words, "--prompt", "Z") == 0  # nothing is left of it
    assert len(capsys.readouterr().out) == 6


def test_a_text_with_the_line_ends_of_windows_is_written_without_them(place, capsys):
    (place / "text.txt").write_bytes(b"one two\r\nthree\r\n" * 40)
    assert run("train", "text.txt", *TOY) == 0
    saved = checkpoint.load(place / "runs/charlm/small/best.pt", "charlm")
    assert saved["extras"]["characters"] == "\n ehnortw"
    capsys.readouterr()
    assert run("sample", "runs/charlm/small", "--prompt", "one\n", "--length", 300) == 0
    assert set(capsys.readouterr().out) <= set("\n ehnortw")


def test_a_run_that_reads_returns_as_characters_goes_on_with_them(place, monkeypatch, capsys):
    (place / "text.txt").write_bytes(b"one two\r\nthree\r\n" * 40)
    words = ["train", "text.txt", *TOY[:-1], 6, "--save-every", 2, "--validate-every", 3]
    with monkeypatch.context() as patched:
        patched.setattr(Alphabet, "without_returns", lambda alphabet: alphabet)
        assert run(*words, "--name", "whole") == 0
        patched.setattr(train, "measure", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        assert run(*words, "--name", "broken") == 130
    assert run("train", "--resume", "runs/charlm/broken", "--quiet") == 0
    whole, broken = (
        checkpoint.load(f"runs/charlm/{name}/last.pt", "charlm") for name in ("whole", "broken")
    )
    assert whole["extras"]["characters"] == "\n\r ehnortw"
    for key, value in whole["weights"].items():
        assert torch.equal(value, broken["weights"][key]), key
    capsys.readouterr()
    for text in ([], ["text.txt"]):
        assert run("evaluate", "runs/charlm/whole", *text, "--json") == 0
        scores = json.loads(capsys.readouterr().out)["scores"]
        assert scores["this model"]["nats"] == pytest.approx(whole["metrics"]["nats"], abs=1e-5)
        assert scores["uniform"]["bits"] == pytest.approx(np.log2(10))


def test_a_long_text_is_read_from_the_disk(place, monkeypatch):
    """40 MB are encoded and trained on, while at most 12 MB are allocated."""
    with (place / "long.txt").open("wb") as file:
        for _ in range(40):
            file.write(b"one line, and another.\n" * 45_590)
    monkeypatch.setattr(data, "MOST_HELD_OUT", 1000)
    config = Config(loop=LoopConfig(batch=32))
    tracemalloc.start()
    corpus = open_corpus(place / "long.txt")
    start = data.split(corpus, config)
    batches = data.TrainingBatches(corpus.numbers[:start], config, torch.device("cpu"))
    for step in (0, 1, 10_000):
        x, y, _ = batches(step, slice(0, 32))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(corpus.numbers) > 40e6
    assert start == len(corpus.numbers) - 1000
    assert torch.equal(x[1:], y[:-1])
    assert peak < 12e6


def test_a_prompt_may_be_any_bytes_and_the_terminal_lack_letters(place, monkeypatch, capsys):
    (place / "text.txt").write_text("kůň " * 100)
    assert run("train", "text.txt", "--bytes", *TOY) == 0
    terminal = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", terminal)
    prompt = b"k\xff".decode(errors="surrogateescape")  # as a command line gives it
    assert run("sample", "runs/charlm/small", "--prompt", prompt, "--length", 20) == 0
    assert terminal.buffer.getvalue().startswith(b"k?")
    assert Alphabet().encode(prompt).tolist() == [ord("k"), 255]


def test_a_packed_model_writes_with_no_run_named(place, monkeypatch, capsys):
    assert run("train", *TOY, "--layers", 2, "--averaging", 0.5) == 0
    assert run("pack", "runs/charlm/hello", "packed.pt") == 0
    capsys.readouterr()
    assert run("evaluate", "runs/charlm/hello", "--json") == 0
    whole = json.loads(capsys.readouterr().out)["scores"]["this model"]["nats"]
    assert run("evaluate", "packed.pt", "--json") == 0
    packed = json.loads(capsys.readouterr().out)["scores"]["this model"]["nats"]
    assert packed == pytest.approx(whole, abs=2e-3)
    saved = checkpoint.load("packed.pt", "charlm")
    assert "training" not in saved
    assert saved["weights"]["average.recurrent.cells.1.0.W"].dtype is torch.int8
    monkeypatch.setattr(sample, "DEFAULT", place / "packed.pt")
    assert run("sample", "--length", 5) == 0
    assert len(capsys.readouterr().out) == 6


def test_a_packed_model_is_measured_on_a_text_that_is_named(place, capsys):
    (place / "text.txt").write_text("one and two\n" * 60)
    assert run("train", "text.txt", *TOY) == 0
    assert run("pack", "runs/charlm/small", "packed.pt") == 0
    assert run("evaluate", "packed.pt") == 2
    assert "does not hold where its text lies: name one" in capsys.readouterr().err
    assert run("evaluate", "packed.pt", "text.txt") == 0


def test_a_packed_model_is_packed_again_but_not_onto_itself(place, capsys):
    assert run("train", *TOY) == 0
    assert run("pack", "runs/charlm/hello", "packed.pt") == 0
    content = (place / "packed.pt").read_bytes()
    assert run("pack", "packed.pt", "packed.pt") == 2
    assert "packed.pt is an input of this command" in capsys.readouterr().err
    assert (place / "packed.pt").read_bytes() == content
    assert run("pack", "packed.pt", "again.pt") == 0
    once, _ = open_model("packed.pt", "cpu")
    twice, _ = open_model("again.pt", "cpu")
    for name, value in once.model.state_dict().items():
        torch.testing.assert_close(twice.model.state_dict()[name], value, msg=name)


def test_a_checkpoint_without_its_configuration_is_not_packed(place, capsys):
    checkpoint.save(place / "odd.pt", "charlm", {"weights": {}, "extras": {}})
    assert run("pack", "odd.pt", "packed.pt") == 2
    assert "odd.pt holds no config: it is no whole checkpoint" in capsys.readouterr().err


def test_matrices_in_bytes_are_within_half_a_step_of_each_row():
    generator = torch.Generator().manual_seed(0)
    weights = {"W": torch.randn(5, 7, generator=generator), "b": torch.tensor([0.1, -2.0])}
    weights["W"][2] *= 100
    weights["W"][3] = 0
    packed = to_bytes(weights)
    assert packed["W"].dtype is torch.int8
    unpacked = from_bytes(packed)
    assert unpacked.keys() == weights.keys()
    steps = weights["W"].abs().amax(1, keepdim=True) / 127
    assert ((unpacked["W"] - weights["W"]).abs() <= 0.5001 * steps).all()
    torch.testing.assert_close(unpacked["b"].float(), weights["b"], rtol=1e-3, atol=0)
    np.testing.assert_array_equal(unpacked["W"][3].numpy(), 0)
