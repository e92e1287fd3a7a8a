"""Three units that add: a machine set by hand, the nets, and the command as a user calls it."""

import pytest
import torch
from PIL import Image

from benchmarks import addition as benchmark
from core.training import checkpoint, cli
from core.training.config import LoopConfig
from datasets.transducer import ADDER, add, random_pairs
from sequences.__main__ import COMMANDS
from sequences.addition import drawing
from sequences.addition.config import Config
from sequences.addition.data import TrainingBatches, split
from sequences.addition.evaluate import (
    agreement,
    always_1,
    count,
    find_automaton,
    measure,
)
from sequences.addition.model import Adder, FeedForward, Learner, margins
from sequences.addition.tables import tables, verdict
from sequences.addition.train import open_model

CPU = torch.device("cpu")
TOY = [
    *["--steps", "20", "--batch", "16", "--validate-every", "10", "--log-every", "10", "--quiet"],
    *[
        "--bits",
        "3",
        "--width",
        "5",
        "--feedforward",
        "8",
        "--candidates",
        "2",
        "--lengths",
        "4",
        "20",
        "--pairs",
        "30",
    ],
]


def addition(*argv):
    return cli.main("sequences", COMMANDS, ["addition", *(str(word) for word in argv)])


def set_by_hand(adder):
    """Make an adder of three sigmoid units; unit n is on if more than n ones were added."""
    cell = adder.recurrent.layers[0][0]
    with torch.no_grad():
        cell.U.fill_(20.0)
        cell.W.copy_(torch.tensor([[0.0, 20.0, 0.0]] * 3))  # more than one: that is the carry
        cell.b.copy_(-20 * torch.tensor([0.5, 1.5, 2.5]))
        adder.V.weight.copy_(20 * torch.tensor([[1.0, -1.0, 1.0]]))
        adder.V.bias.fill_(-10.0)
    return adder


@pytest.fixture(scope="module")
def ideal():
    return set_by_hand(Adder(Config(activation="sigmoid")))


def test_three_units_are_enough(ideal):
    pairs = random_pairs(50, 1000, torch.Generator().manual_seed(0))
    assert torch.equal((ideal(pairs) > 0).long(), add(pairs))


def test_the_automaton_of_that_net_is_the_adder(ideal, tmp_path):
    found = find_automaton(ideal, 0, CPU)
    assert found is not None
    assert len(found.automaton.output) == 4
    assert found.automaton.minimal() == ADDER
    assert ": the adder's automaton" in verdict(found)
    assert agreement(ideal, found, 0, CPU) == 0
    (tmp_path / "automaton.png").write_bytes(drawing.picture(ideal, found))
    with Image.open(tmp_path / "automaton.png") as picture:
        assert picture.size == (1960, 896)


def test_a_net_that_does_not_carry_is_another_machine():
    adder = set_by_hand(Adder(Config(activation="sigmoid")))
    adder.recurrent.layers[0][0].W.data.zero_()
    found = find_automaton(adder, 0, CPU)
    assert found is not None
    assert "NOT" in verdict(found)
    assert len(found.automaton.minimal().output) == 2
    assert drawing.picture(adder, found)[:4] == b"\x89PNG"
    assert verdict(None).startswith("no automaton")


def test_the_surest_candidate_is_known_by_its_margin(ideal):
    learner = Learner(Config(activation="sigmoid", candidates=2))
    set_by_hand(learner.candidates[1])
    _, held_out = split(Config(), CPU)
    found = margins(learner, held_out.pairs, held_out.sums)
    assert found[0] < 0 < found[1]
    logits = ideal(held_out.pairs)
    assert found[1] == torch.where(held_out.sums == 1, logits, -logits).min()


def test_held_out_pairs_are_never_learned_from():
    config = Config(bits=3)
    train, held_out = split(config, CPU)
    assert (len(train), len(held_out)) == (48, 16)
    pairs = {
        tuple(part.pairs[:, n].flatten().tolist())
        for part in (train, held_out)
        for n in range(len(part))
    }
    assert len(pairs) == 64
    batch = TrainingBatches(train, config)
    again = TrainingBatches(train, config)
    for step in (0, 7):
        assert torch.equal(batch(step, slice(None))[0][:, 32:], again(step, slice(32, None))[0])
        x, d = batch(step, slice(None))
        assert torch.equal(add(x), d)


def test_the_feed_forward_net_refuses_numbers_wider_than_its_input():
    net = FeedForward(Config(bits=3, width=5))
    for bits in (1, 5):
        assert net(random_pairs(4, bits, torch.Generator().manual_seed(0))).shape == (6, 4)
    with pytest.raises(ValueError, match="6 bits do not fit into 5"):
        net(random_pairs(4, 6, torch.Generator().manual_seed(0)))


@pytest.mark.parametrize("error", ["cross_entropy", "squared_error"])
def test_candidates_train_independently(error):
    config = Config(bits=3, width=5, candidates=3, error=error)
    learner = Learner(config)
    batch = TrainingBatches(split(config, CPU)[0], config)(0, slice(None))
    learner(*batch)[0].backward()
    weights = list(learner.candidates[1].parameters())
    together = [weight.grad.clone() for weight in weights if weight.grad is not None]
    learner.zero_grad()
    learner._error(learner.candidates[1](batch[0]), batch[1]).backward()
    for mine, weight in zip(together, weights, strict=True):
        torch.testing.assert_close(mine, weight.grad)


def test_what_is_wrong_is_counted(ideal):
    config = Config(bits=3, width=5, lengths=(5, 6), pairs=40)
    _, held_out = split(config, CPU)
    results = measure(config, ideal, FeedForward(config), held_out, CPU)
    first, fits, does_not = results.values()
    assert (first["recurrent"].sums, first["recurrent"].bits) == (16, 64)
    assert set(fits) == {"recurrent", "feed-forward", "guess"}
    assert set(does_not) == {"recurrent", "guess"}
    assert fits["recurrent"].wrong_sums == does_not["recurrent"].wrong_bits == 0
    assert fits["guess"].wrong_bits <= fits["guess"].bits / 2
    assert len(tables(results, config)) == 2
    ones = int(held_out.sums.sum())
    assert count({"guess": always_1}, [held_out, held_out])["guess"].wrong_bits == 2 * (
        held_out.sums.numel() - ones
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    runs = tmp_path_factory.mktemp("runs")
    assert addition(*TOY, "--runs", runs) == 0
    return runs / "addition" / "three-units"


def test_the_command_leaves_a_whole_run(run, capfd):
    assert {"config.json", "metrics.jsonl", "last.pt", "best.pt"} <= {
        file.name for file in run.iterdir()
    }
    trained, config = open_model(run, CPU)
    assert config.candidates == len(trained.margins) == 2
    assert checkpoint.open_run(run, "addition")["metrics"]["margin"] == pytest.approx(
        max(trained.margins)
    )
    assert addition("--resume", run, "--quiet") == 0
    said = capfd.readouterr().out
    for words in ("wrong sums", "wrong bits", "too long", "of 2 candidates", "automaton"):
        assert words in said


def test_a_learned_automaton_is_printed_and_drawn(run, tmp_path, capfd):
    """The run's weights are replaced by those set by hand; its report is that of an adder."""
    saved = checkpoint.load(run / "best.pt", "addition")
    config = {**saved["config"], "activation": "sigmoid"}
    learner = Learner(Config(bits=3, width=5, feedforward=8, candidates=2, activation="sigmoid"))
    set_by_hand(learner.candidates[1])
    payload = {name: saved[name] for name in ("step", "seconds", "metrics", "extras")}
    checkpoint.save(
        tmp_path / "best.pt",
        "addition",
        {**payload, "config": config, "weights": learner.state_dict()},
    )
    from sequences.addition.train import report

    report(tmp_path, CPU)
    said = capfd.readouterr().out
    for words in (
        "the adder's automaton",
        "no carry, prints 0",
        "differ in 0 bits",
        "automaton.png",
    ):
        assert words in said
    assert (tmp_path / "automaton.png").stat().st_size > 1000


def test_resume_to_the_same_bits(run, tmp_path, capfd):
    class StoppedError(Exception):
        pass

    original = TrainingBatches.__call__

    def stopping(self, step, rows):
        if step == 15:
            raise StoppedError
        return original(self, step, rows)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TrainingBatches, "__call__", stopping)
        with pytest.raises(StoppedError):
            addition(*TOY, "--runs", tmp_path)
    there = tmp_path / "addition" / "three-units"
    assert checkpoint.load(there / "last.pt", "addition")["step"] == 10
    assert addition("--resume", there, "--quiet") == 0
    ends = [checkpoint.load(folder / "last.pt", "addition")["weights"] for folder in (run, there)]
    for name, weight in ends[0].items():
        assert torch.equal(weight, ends[1][name]), name


BAD_FLAGS = {
    "preset": (["--preset", "four-units"], "four-units"),
    "bits": (["--bits", "20"], "bits"),
    "width": (["--width", "4"], "width"),
    "hidden": (["--hidden", "0"], "hidden"),
    "candidates": (["--candidates", "0"], "candidates"),
    "lengths": (["--lengths", "0"], "lengths"),
    "no run": (["--resume", "nowhere"], "nowhere"),
}


@pytest.mark.parametrize("name", BAD_FLAGS)
def test_bad_flags_are_one_line(name, tmp_path, capfd):
    flags, word = BAD_FLAGS[name]
    assert addition(*flags, "--runs", tmp_path) == 2
    error = capfd.readouterr().err.strip()
    assert word in error
    assert len(error.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_the_benchmark_fails_nets_that_err(monkeypatch, capfd):
    toy = Config(bits=3, candidates=1, pairs=5, loop=LoopConfig(steps=2, batch=4))
    monkeypatch.setattr(benchmark, "PRESETS", {"toy": toy})
    assert benchmark.main(1, preset="toy") == 0
    assert benchmark.main(1, preset="toy", check=True) == 1
    assert "0 of 1 seeds" in capfd.readouterr().out
