"""sequences charlm train, sample and evaluate at toy size, resumed runs, and bad input."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from core import decoding
from core.training import checkpoint, cli
from core.training.config import LoopConfig
from datasets.text.alphabets import Alphabet
from sequences.__main__ import COMMANDS
from sequences.charlm import arguments, data, train, writing
from sequences.charlm import measure as measuring
from sequences.charlm.closing import counted_pieces
from sequences.charlm.config import Config
from sequences.charlm.model import CharacterModel
from sequences.charlm.trained import Trained

SMALL = ["--hidden", "8", "--batch", "4", "--window", "10", "--quiet"]
TEXT = "".join(f"line {n}: {'ab' * (n % 7)} <b>{n * n}</b>\n" for n in range(200))


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory and a cache of one's own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "text.txt").write_text(TEXT)
    return tmp_path


def run(*words: object) -> int:
    """Run a command of the character model."""
    return cli.main("sequences", COMMANDS, ["charlm", *map(str, words)])


def untrained(**changes) -> Trained:
    torch.manual_seed(0)
    config = Config(corpus="hello", hidden=8, layers=2, **changes)
    model = CharacterModel(config, 4)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.5)  # further from uniform
    return Trained(config, model.eval(), Alphabet("ehlo"), 1)


def test_hello_is_learned_written_and_measured(place, capsys):
    assert run("train", "--quiet", "--steps", 150) == 0
    assert (
        run("sample", "runs/charlm/hello", "--prompt", "hell", "--length", 11, "--temperature", 0)
        == 0
    )
    assert capsys.readouterr().out.splitlines()[-1] == "hellohellohello"
    assert run("evaluate", "runs/charlm/hello", "--json") == 0
    scores = json.loads(capsys.readouterr().out)["scores"]
    assert scores["this model"]["nats"] < 0.05
    assert scores["frequencies"]["nats"] == pytest.approx(1.332, abs=0.01)  # log 5 - 2/5 log 2
    assert scores["uniform"]["bits"] == 2
    page = (place / "runs/charlm/hello/evolution.html").read_text()
    assert page.index("100 iterations") < page.index("150 iterations")


def test_a_file_of_bytes_is_learned_from_and_another_measured(place, capsys):
    assert run("train", "text.txt", "--bytes", *SMALL, "--steps", 3, "--layers", 2, "--tied") == 0
    assert "runs/charlm/small holds the run" in capsys.readouterr().out  # the preset for files
    (place / "other.txt").write_text("žluťoučký kůň " * 9)
    assert run("evaluate", "runs/charlm/small", "other.txt", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["start"] == 1
    assert set(found["scores"]) == {"this model", "6-gram", "frequencies", "uniform"}
    assert run("sample", "runs/charlm/small", "--prompt", "kůň", "--top-p", 0.9, "--length", 5) == 0
    assert capsys.readouterr().out.startswith("kůň")


def test_structure_is_printed_beside_real_text_and_counting(capsys):
    assert run("train", "text.txt", *SMALL, "--steps", 2) == 0
    capsys.readouterr()
    options = ["--structure", "xml", "--pieces", 2, "--length", 200]
    assert run("evaluate", "runs/charlm/small", *options, "--json") == 0
    scores = json.loads(capsys.readouterr().out)["scores"]
    assert list(scores) == ["this model", "6-gram", "real text"]
    assert scores["real text"]["tags"] > 0.8
    assert run("evaluate", "runs/charlm/small", *options) == 0
    printed = capsys.readouterr().out
    assert "real text" in printed
    assert "temperature 1" in " ".join(printed.split())


def test_the_n_gram_model_writes_at_the_temperature_of_the_samples():
    numbers = np.random.default_rng(0).integers(0, 2, 200)
    common = {"pieces": 2, "length": 100, "seed": 0}
    for temperature, both in ((1.0, True), (0.0, False)):
        texts = counted_pieces(numbers, Alphabet("ab"), 0, temperature=temperature, **common)
        assert (len(set(texts)) == 2) == both


def test_a_run_that_broke_off_ends_with_the_same_bits(monkeypatch):
    words = [
        "train",
        "text.txt",
        *SMALL,
        "--steps",
        12,
        "--save-every",
        3,
        "--validate-every",
        6,
        "--dropout",
        0.3,
    ]
    monkeypatch.setattr("sequences.charlm.evolution.ITERATIONS", (2, 5, 9))
    assert run(*words, "--name", "whole") == 0
    with monkeypatch.context() as broken:
        broken.setattr(train, "measure", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        assert run(*words, "--name", "broken") == 130
    assert checkpoint.load("runs/charlm/broken/last.pt", "charlm")["step"] == 3
    torn = Path("runs/charlm/broken/samples/.000005.0a1b2c3d.partial.txt")  # of a killed process
    torn.write_text("li")
    assert run("train", "--resume", "runs/charlm/broken") == 0
    assert not torn.exists()
    ends = [
        checkpoint.load(f"runs/charlm/{name}/last.pt", "charlm") for name in ("whole", "broken")
    ]
    for key, value in ends[0]["weights"].items():
        assert torch.equal(value, ends[1]["weights"][key]), key
    pages = [
        Path(f"runs/charlm/{name}/samples/000009.txt").read_bytes() for name in ("whole", "broken")
    ]
    assert pages[0] == pages[1]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "bad.txt: the file is empty"),
        (b"x", "the whole text is 1 character, too little for a batch of 4 rows"),
        (bytes(range(128, 256)), "byte 0 of the text is not UTF-8"),
    ],
)
def test_files_that_nothing_can_be_learned_from(place, capsys, content, problem):
    (place / "bad.txt").write_bytes(content)
    assert run("train", "bad.txt", *SMALL) == 2
    error = capsys.readouterr().err
    assert problem in error
    assert error.count("\n") == 1
    assert not (place / "runs").exists()


def test_binary_junk_is_learned_as_bytes_and_a_line_of_100_000_characters_too(place):
    (place / "junk").write_bytes(np.random.default_rng(0).bytes(3000))
    assert run("train", "junk", "--bytes", *SMALL, "--steps", 2) == 0
    (place / "line").write_text("ab c" * 25_000)
    assert run("train", "line", *SMALL, "--steps", 2) == 0


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (
            ["sample", "RUN", "--temperature", "-1"],
            "temperature must be above 0 and finite, not -1.0",
        ),
        (["sample", "RUN", "--temperature", "inf"], "temperature must be above 0 and finite"),
        (["sample", "RUN", "--temperature", "1e-40"], "temperature must be at least 1e-30"),
        (["sample", "RUN", "--temperature", "nan"], "temperature must be above 0 and finite"),
        (["sample", "RUN", "--top-p", "0"], "top_p must be above 0"),
        (["sample", "RUN", "--top-p", "1.5"], "top_p must be from 0 to 1"),
        (["evaluate", "RUN", "--orders", "6", "0"], "orders must be from 1 to 10"),
        (["evaluate", "RUN", "--dynamic", "nan"], "dynamic must be above 0"),
        (["train", "--resume", "RUN", "--batch", "3"], "batch: saved 4, given 3"),
        (["sample", "RUN", "--length", "0"], "length must be at least 1, not 0"),
        (["sample", "nowhere"], "cannot read nowhere"),
        (["evaluate", "RUN", "text.txt"], "text.txt has characters that the model has never seen"),
        (["evaluate", "RUN", "--pieces", "0"], "pieces must be at least 1"),
        (["train", "--preset", "shakespeare"], "which text?"),
        (["train", ""], "the name of the text file is empty"),
        (["train", "nowhere.txt"], "cannot read nowhere.txt"),
        (["train", "text.txt", "--tied", "--embedding", "3"], "tied embeddings"),
    ],
)
def test_mistakes_are_one_line(capsys, words, problem):
    assert run("train", *SMALL, "--steps", 1) == 0
    capsys.readouterr()
    assert run(*[word.replace("RUN", "runs/charlm/hello") for word in words]) == 2
    error = capsys.readouterr().err
    assert problem in error
    assert error.count("\n") == 1


def test_a_text_that_has_changed_is_not_taken_for_that_of_the_training(place, capsys):
    assert run("train", "text.txt", *SMALL, "--steps", 1) == 0
    (place / "text.txt").write_text(TEXT[:-20])
    assert run("evaluate", "runs/charlm/small") == 2
    assert "text.txt has changed since the training" in capsys.readouterr().err
    assert run("train", "--resume", "runs/charlm/small") == 2
    assert "text.txt has changed since the run began: put back" in capsys.readouterr().err
    (place / "text.txt").rename(place / "moved.txt")
    # All of the text is measured, and no n-gram is counted.
    assert run("evaluate", "runs/charlm/small", "moved.txt", "--json") == 0
    assert list(json.loads(capsys.readouterr().out)["scores"]) == ["this model", "uniform"]


def test_a_text_that_was_renamed_is_the_same_text(place, capsys):
    assert run("train", "text.txt", *SMALL, "--steps", 1) == 0
    (place / "text.txt").rename(place / "moved.txt")
    capsys.readouterr()
    assert run("train", "moved.txt", "--quiet", "--resume", "runs/charlm/small") == 0
    assert checkpoint.load("runs/charlm/small/last.pt", "charlm")["extras"]["text"] == "text.txt"


def test_rows_read_on_where_they_stopped():
    numbers = np.arange(103)
    config = Config(window=7, reset_rate=0.25, loop=LoopConfig(batch=3))
    batches = data.TrainingBatches(numbers, config, torch.device("cpu"))
    assert batches.windows == 4  # of stretches of 34
    begun, before = [], torch.empty(0)
    for step in range(40):
        x, y, reset = batches(step, slice(0, 3))
        assert torch.equal(y, (x + 1) % 103)  # the text is a ring
        if step % 4:
            assert torch.equal(x[0], before)
            begun.append(reset)
        else:
            assert reset.all()
        before = y[-1]
        for part, whole in zip(
            batches(step, slice(1, 3)), (x[:, 1:], y[:, 1:], reset[1:]), strict=True
        ):
            assert torch.equal(part, whole)
    assert 0.1 < torch.cat(begun).float().mean() < 0.4


def test_short_texts_have_shorter_windows():
    batches = data.TrainingBatches(
        np.arange(20), Config(loop=LoopConfig(batch=4)), torch.device("cpu")
    )
    assert batches(0, slice(0, 4))[0].shape == (5, 4)


@pytest.mark.parametrize(
    "changes", [{}, {"embedding": 3}, {"tied": True}, {"cell": "gru"}, {"cell": "rnn"}]
)
def test_reading_bit_by_bit_is_reading_at_once(changes):
    trained = untrained(**changes)
    text = torch.randint(4, (12, 2))
    logits, _ = trained.model(text)
    log_p, state = trained.model.read(text[:5])
    torch.testing.assert_close(log_p, logits[4].log_softmax(-1))
    for time in range(5, 12):
        log_p, state = trained.model.read(text[time : time + 1], state)
    torch.testing.assert_close(log_p, logits[-1].log_softmax(-1))


def test_tied_embeddings_are_the_output_matrix():
    free, tied = untrained(embedding=8), untrained(tied=True)
    count = [sum(p.numel() for p in each.model.parameters()) for each in (free, tied)]
    assert count[0] - count[1] == 4 * 8


def test_measure_is_the_mean_over_all_characters(monkeypatch):
    trained, numbers = untrained(), np.random.default_rng(0).integers(0, 4, 3001)
    x = torch.from_numpy(numbers)
    logits, _ = trained.model(x[:-1, None])
    each = F.cross_entropy(logits[:, 0], x[1:], reduction="none")
    found = measuring.measure(trained, numbers[:900], 1)
    assert found["nats"] == pytest.approx(each[:899].mean().item(), rel=1e-5)
    found = measuring.measure(trained, numbers, 500)  # two rows, each reads 256 before its own
    assert found["nats"] == pytest.approx(each[499:].mean().item(), rel=1e-5)
    assert found["bits"] == found["nats"] / math.log(2)
    monkeypatch.setattr(measuring, "STRETCH", 77)  # 32 rows of which the last is shorter
    again = measuring.measure(trained, numbers, 500)
    assert again["nats"] == pytest.approx(found["nats"], rel=1e-5)


def test_the_lowest_temperature_is_that_of_the_sampling():
    assert arguments.LOWEST_TEMPERATURE == decoding.LOWEST_TEMPERATURE


def test_writing_follows_seed_temperature_and_nucleus():
    trained = untrained()

    def text(**options) -> list[int]:
        return [int(last) for last in writing.write(trained, [1], length=60, **options)]

    assert text(seed=1) == text(seed=1) != text(seed=2)
    assert text(temperature=0) == text(temperature=1e-4, seed=3) == text(top_p=1e-4, seed=4)
    greedy, state = [], None
    last = torch.tensor([[1]])
    for _ in range(60):
        log_p, state = trained.model.read(last, state)
        greedy.append(int(log_p.argmax()))
        last = torch.tensor([[greedy[-1]]])
    assert text(temperature=0) == greedy


def test_every_preset_builds_a_model_of_its_size():
    from sequences.charlm.config import PRESETS

    sizes = {}
    with torch.device("meta"):
        for name, preset in PRESETS.items():
            sizes[name] = sum(p.numel() for p in CharacterModel(replace(preset), 65).parameters())
    assert 5.2e6 < sizes["shakespeare"] < 5.6e6
    assert 9.5e6 < sizes["c"] < 1.05e7
