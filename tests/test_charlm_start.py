"""sequences charlm train --start: the weights of another run, on the same text or another."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from core.training import cli
from datasets.text.alphabets import Alphabet
from sequences.__main__ import COMMANDS
from sequences.charlm.config import Config
from sequences.charlm.model import CharacterModel
from sequences.charlm.starting import initialise_from
from sequences.charlm.trained import Trained

ONE_HOT = Config(corpus="hello", hidden=6, layers=2)
TEXT = "one and two\n" * 60
SIZE = ["--hidden", "24", "--batch", "4", "--window", "12", "--quiet"]


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory and a cache of one's own, with a text."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "text.txt").write_text(TEXT)
    return tmp_path


def run(*words: object) -> int:
    return cli.main("sequences", COMMANDS, ["charlm", *map(str, words)])


def untrained(config: Config, characters: str, seed: int) -> Trained:
    torch.manual_seed(seed)
    model = CharacterModel(config, len(characters)).eval()
    return Trained(config, model, Alphabet(characters), 0)


@pytest.mark.parametrize("config", [ONE_HOT, replace(ONE_HOT, embedding=3)])
def test_each_character_keeps_what_was_learned_of_it(config):
    first = untrained(config, "ehlo", 0)
    then = untrained(config, "!ehlo", 1)  # another number for each
    unseen = [rows[0].clone() for rows in then.model.rows_of_characters().values()]
    initialise_from(then, first)
    text = "hello"
    x = torch.tensor(first.alphabet.encode(text).astype(int))[:, None]
    y = torch.tensor(then.alphabet.encode(text).astype(int))[:, None]
    assert not torch.equal(x, y)
    known, _ = first.model(x)
    logits, _ = then.model(y)
    torch.testing.assert_close(logits[..., 1:], known)
    for rows, before in zip(then.model.rows_of_characters().values(), unseen, strict=True):
        assert torch.equal(rows[0], before)


def test_tied_weights_and_forgotten_characters():
    config = replace(ONE_HOT, tied=True)
    first = untrained(config, "!ehlo", 0)
    then = untrained(config, "elo", 1)
    initialise_from(then, first)
    assert torch.equal(then.model.V.weight, first.model.V.weight[[1, 3, 4]])
    assert torch.equal(then.model.recurrent.layers[1][0].W, first.model.recurrent.layers[1][0].W)


def test_a_run_goes_on_where_another_ended_and_resumes_without_it(place, capsys):
    words = ("train", "text.txt", *SIZE, "--learning-rate", 2e-2, "--warm-up", 0)
    assert run(*words, "--steps", 120, "--name", "first") == 0
    anew = ("--steps", 1, "--learning-rate", 0)
    (place / "other.txt").write_text(TEXT.replace("two", "too?"))
    capsys.readouterr()
    assert run(*words, *anew, "--start", "runs/charlm/first", "--name", "same") == 0
    assert run(*words, *anew, "--name", "nothing") == 0
    learned, unlearned = (nats(place / "runs/charlm" / name) for name in ("same", "nothing"))
    assert learned == pytest.approx(nats(place / "runs/charlm/first"), abs=1e-6)
    assert learned < unlearned / 3
    more = ("train", "other.txt", *SIZE, "--steps", 4, "--start", "runs/charlm/first")
    assert run(*more, "--averaging", 0.9, "--name", "more") == 0
    (place / "runs/charlm/first").rename(place / "away")
    assert run("train", "--resume", "runs/charlm/more") == 0


def nats(directory: Path) -> float:
    """The last validation of a run."""
    return torch.load(directory / "last.pt")["metrics"]["nats"]


@pytest.mark.parametrize(
    ("changes", "hint"),
    [
        (("--hidden", 25), "give --hidden 24 here too"),
        (("--bytes", "--cell", "gru"), "give --cell lstm --no-bytes here too"),
    ],
)
def test_a_model_of_another_size_is_refused_with_its_flags(capsys, changes, hint):
    assert run("train", "text.txt", *SIZE, "--steps", 1, "--name", "first") == 0
    words = ("train", "text.txt", *SIZE, "--steps", 1, "--start", "runs/charlm/first")
    assert run(*words, *changes) == 2
    assert hint in capsys.readouterr().err


def test_a_start_that_is_no_model_is_refused(capsys):
    assert run("train", "text.txt", *SIZE, "--start", "text.txt") == 2
    assert "text.txt" in capsys.readouterr().err
