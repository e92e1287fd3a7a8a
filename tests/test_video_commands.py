"""video train and evaluate at toy size, on small real videos: what is kept, killed and resumed."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from fading import LENGTHS, batches_of, write_clips
from PIL import Image
from torch import Tensor

from core.training import checkpoint, cli
from datasets.videos import labelled
from video import evaluate, pack, train
from video.data import TrainingBatches
from video.streams.reader import open_source
from video.trained import open_model

ROOT = Path(__file__).parent.parent
SIZES = [
    "--encoder",
    "tiny",
    "--frame-size",
    "16",
    "--frame",
    "8",
    "--hidden",
    "8",
    "--window",
    "4",
    "--batch",
    "2",
]
FAST = [
    *SIZES,
    "--steps",
    "4",
    "--log-every",
    "2",
    "--validate-every",
    "2",
    "--warm-up",
    "0",
    "--quiet",
]


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    return write_clips(tmp_path / "data")


def run(command: Any, *argv: object) -> int:
    return cli.script(command.__name__.replace(".", " "), [str(word) for word in argv])


def test_train_on_a_folder_and_evaluate(clips, tmp_path, capsys):
    directory = tmp_path / "video/first"
    assert run(train, "--data", clips, *FAST, "--runs", tmp_path, "--name", "first") == 0
    told = capsys.readouterr().out
    assert "majority class" in told
    assert "test: 2 clips" in told
    saved = checkpoint.open_run(directory, "video")
    assert {name.split(".")[0] for name in saved["weights"]} == {
        "encoder",
        "labeller",
        "weights",
        "carried",
    }
    assert saved["weights"]["carried.state0"].shape == (1, 2, 8)
    assert saved["weights"]["carried.state0"].any(), "the state that the next window starts from"
    assert saved["extras"]["classes"] == ["0", "1"]
    rows = [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]
    assert any("train/accuracy" in row for row in rows)
    assert any("validation/F1@50" in row for row in rows)

    assert run(evaluate, directory, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["split"], found["clips"]) == ("test", 2)
    assert set(found["scores"]) == {
        f"{who}{over}"
        for who in ("this net", "majority class")
        for over in ("", ", mean over clips")
    }
    assert found["scores"]["this net"]["accuracy"] == pytest.approx(by_hand(directory, clips))

    packed = tmp_path / "small.pt"
    assert run(pack, directory, packed) == 0
    kept = checkpoint.load(packed, "video")["weights"]
    assert {name.split(".")[0] for name in kept} == {"encoder", "labeller"}
    assert all(torch.equal(value, saved["weights"][name].half()) for name, value in kept.items())
    capsys.readouterr()
    assert run(evaluate, packed, "--data", clips, "--split", "test", "--json") == 0
    again = json.loads(capsys.readouterr().out)["scores"]["this net"]["accuracy"]
    assert again == pytest.approx(found["scores"]["this net"]["accuracy"], abs=100 / 17), (
        "a frame at most"
    )

    assert run(evaluate, directory, "--data", clips, "--json") == 0
    everything = json.loads(capsys.readouterr().out)
    assert (everything["split"], everything["clips"]) == ("all", 8), "whatever their splits"
    assert "majority class" in everything["scores"]
    only_test = [
        line
        for line in (clips / "labels.csv").read_text().splitlines()
        if line.endswith(("suggested_split", "test"))
    ]
    (clips / "test.csv").write_text("\n".join(only_test))
    assert run(evaluate, directory, "--data", clips / "test.csv", "--json") == 0
    alone = json.loads(capsys.readouterr().out)
    assert alone["scores"]["this net"] == found["scores"]["this net"]
    (clips / "test.csv").unlink()

    flags = ["--split", "validation", "--shortest", "3", "--self-transition", "0.9"]
    assert run(evaluate, directory, *flags) == 0
    assert "validation: 1 clip," in capsys.readouterr().out
    (clips / "labels.csv").write_text(
        (clips / "labels.csv").read_text().replace(",1,-", ",light,-")
    )
    assert run(evaluate, directory) == 2
    assert "has other labels than" in capsys.readouterr().err
    assert run(evaluate, directory, "--self-transition", "1") == 2


def by_hand(directory: Path, folder: Path) -> float:
    """The accuracy on the test clips, their frames labelled one by one."""
    trained, _ = open_model(directory, "cpu")
    right: list[Tensor] = []
    for clip in labelled.load(folder).test:
        state, labels = None, []
        for frame in open_source(clip.source):  # type: ignore[arg-type]
            shown = trained.encoder.preprocessing(Image.fromarray(frame.pixels))
            log_p, state = trained.label(trained.features(shown[None]), state)
            labels.append(log_p.argmax(-1))
        right.append(torch.cat(labels) == clip.labels([0.0] * len(labels)))
    return 100 * torch.cat(right).double().mean().item()


def test_a_frozen_encoder_is_no_part_of_the_checkpoint_and_must_be_the_same(
    clips, tmp_path, capsys
):
    flags = [
        "--data",
        clips,
        *FAST,
        "--encoder",
        "lite0",
        "--cache",
        tmp_path / "cache",
        "--stride",
        "4",
    ]
    assert run(train, *flags, "--bidirectional", "--runs", tmp_path, "--name", "both") == 0
    saved = checkpoint.open_run(tmp_path / "video/both", "video")
    assert {name.split(".")[0] for name in saved["weights"]} == {"labeller", "weights"}
    saved["extras"]["fingerprint"] = "another"
    header = ("project", "format", "app", "version")
    checkpoint.save(
        tmp_path / "other.pt", "video", {k: v for k, v in saved.items() if k not in header}
    )
    capsys.readouterr()
    assert run(evaluate, tmp_path / "other.pt") == 2
    assert "was trained with other weights of the encoder lite0" in capsys.readouterr().err


def test_a_direction_needs_a_core(clips, tmp_path, capsys):
    assert (
        run(train, "--data", clips, *FAST, "--cell", "none", "--bidirectional", "--runs", tmp_path)
        == 2
    )
    assert "leave out --bidirectional" in capsys.readouterr().err


STEPS = 40
LONG = [
    *SIZES,
    "--quiet",
    "--steps",
    STEPS,
    "--log-every",
    "5",
    "--validate-every",
    "20",
    "--save-every",
    "1",
]


@pytest.fixture
def whole(clips, tmp_path) -> Path:
    """The directory of a run that nothing happened to."""
    assert run(train, "--data", clips, *LONG, "--runs", tmp_path, "--name", "whole") == 0
    return tmp_path / "video/whole"


def bits(tree: Any) -> Any:
    """Nested values in which each tensor is replaced by its bytes, and the clock left out."""
    if isinstance(tree, dict):
        return {name: bits(value) for name, value in tree.items() if name != "seconds"}
    if isinstance(tree, list | tuple):
        return [bits(value) for value in tree]
    return tree.numpy().tobytes() if isinstance(tree, Tensor) else tree


def assert_same(one: Path, other: Path) -> None:
    assert (one / "metrics.jsonl").read_bytes() == (other / "metrics.jsonl").read_bytes()
    for name in ("last.pt", "best.pt"):
        assert bits(checkpoint.load(one / name, "video")) == bits(
            checkpoint.load(other / name, "video")
        )


def test_broken_off_among_windows_and_across_epochs_it_ends_with_the_same_bits(
    clips, tmp_path, whole, monkeypatch
):
    batches = batches_of(LENGTHS["train"], 2)
    epoch = batches._ends(0)[-1]
    amid = next(
        step for step in range(epoch + 2, STEPS) if batches.place(step)[1]
    )  # of the windows of a group
    assert epoch < amid < STEPS
    original, directory = TrainingBatches.__call__, tmp_path / "video/broken"

    def breaking(at: int) -> Callable[..., Any]:
        def call(self: TrainingBatches, step: int, rows: slice) -> Any:
            if step == at:
                raise KeyboardInterrupt
            return original(self, step, rows)

        return call

    for at in (epoch, amid, STEPS):
        monkeypatch.setattr(TrainingBatches, "__call__", breaking(at))
        start = ["--data", clips, *LONG, "--runs", tmp_path, "--name", "broken"]
        code = run(train, *(["--resume", directory, "--quiet"] if directory.exists() else start))
        assert code == (130 if at < STEPS else 0)
        assert checkpoint.load(directory / "last.pt", "video")["step"] == at
    assert_same(whole, directory)


def test_killed_and_resumed_ends_with_the_same_bits(clips, tmp_path, whole):
    directory = tmp_path / "video/killed"
    argv = ["--data", clips, *LONG, "--runs", tmp_path, "--name", "killed"]
    process = subprocess.Popen(
        [sys.executable, "-m", "video.train", *map(str, argv)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
    )
    end = time.monotonic() + 240
    while not (directory / "last.pt").exists():
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < end
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert 0 < checkpoint.load(directory / "last.pt", "video")["step"] < STEPS
    assert run(train, "--resume", directory, "--quiet") == 0
    assert_same(whole, directory)
