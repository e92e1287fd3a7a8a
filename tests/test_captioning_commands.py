"""captioning train and evaluate at toy size: drawn scenes, a folder, killed and resumed."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from PIL import Image

from captioning import calibrate, evaluate, pack, train
from captioning.concepts import detector
from captioning.export import Encode
from captioning.trained import open_model
from core.errors import InputError
from core.training import checkpoint, cli
from datasets.captions import captioned, scenes
from vision.encoder import make_encoder
from vision.tuning import Tail, Trunk

ROOT = Path(__file__).parent.parent
TINY = [
    "--embedding",
    "8",
    "--hidden",
    "8",
    "--visual",
    "8",
    "--scores",
    "4",
    "--batch",
    "4",
    "--captions",
    "2",
]
FAST = [
    *TINY,
    "--steps",
    "4",
    "--log-every",
    "2",
    "--validate-every",
    "2",
    "--min-count",
    "1",
    "--quiet",
]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Forty pictures with a text file each: a folder as users have them."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number, scene in enumerate(scenes.splits()["train"][:40]):
        scene.open().save(folder / f"{number:02}.png")
        (folder / f"{number:02}.txt").write_text("\n".join(scene.captions), encoding="utf8")
    return folder


def run(command, *argv: object) -> int:
    return cli.script(command.__name__.replace(".", " "), [str(word) for word in argv])


def test_train_on_a_folder_evaluate_and_learn_from_rewards(photos, tmp_path, capsys):
    runs = tmp_path / "runs"
    assert run(train, "--data", photos, *FAST, "--runs", runs, "--name", "first") == 0
    assert "nearest neighbour" in capsys.readouterr().out
    saved = checkpoint.open_run(runs / "captioning/first", "captioning")
    assert {name.split(".")[0] for name in saved["weights"]} == {"decoder", "encoder"}

    assert (
        run(evaluate, runs / "captioning/first", "--split", "validation", "--json", "--beam", "2")
        == 0
    )
    printed = json.loads(capsys.readouterr().out)
    assert set(printed["scores"]) == {"this captioner"}
    assert printed["scores"]["this captioner"].keys() >= {"BLEU-4", "CIDEr", "consensus words"}
    assert printed["images"] == len(captioned.load(str(photos)).validation)
    assert sum(row["sentences"] for row in printed["reliability"]) == printed["images"]
    trained, saved = open_model(runs / "captioning/first", "cpu")
    assert list(trained.confidence) == saved["extras"]["confidence"], "it is calibrated"

    other = ["--data", photos, photos, "--json", "--beam", "1", "--baselines"]
    assert run(evaluate, runs / "captioning/first", *other) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["split"] == "all"
    assert printed["images"] == 2 * len(list(photos.glob("*.png"))), "all images of other data"
    names = {"this captioner", str(photos), "nearest neighbour", "consensus of 30"}
    assert set(printed["scores"]) == names

    first = runs / "captioning/first"
    packed = tmp_path / "small.pt"
    for wrong in (first / "best.pt", tmp_path / "film.mp4"):
        assert run(pack, first, wrong) == 2
    assert checkpoint.open_run(first, "captioning").keys() == saved.keys(), "the run is what it was"
    capsys.readouterr()
    assert run(pack, first, packed) == 0
    weights = checkpoint.load(packed, "captioning")["weights"]
    for name, value in saved["weights"].items():
        assert torch.equal(weights[name], value.half()), name
    assert str(tmp_path) not in str(checkpoint.load(packed, "captioning")["config"]), (
        "where files lie is nobody's affair"
    )
    words = open_model(packed, "cpu")[0].decoder.words.weight
    assert words.dtype == torch.float32, "computed with in float32 all the same"

    start = ["--start", first, "--self-critical", "--runs", runs, "--name", "second"]
    assert run(train, "--data", photos, *FAST, *start) == 0
    rows = [
        json.loads(line)
        for line in (runs / "captioning/second/metrics.jsonl").read_text().splitlines()
    ]
    assert any("train/reward" in row for row in rows)
    vocabularies = {
        open_model(runs / "captioning" / name, "cpu")[0].vocabulary.to_json()
        for name in ("first", "second")
    }
    assert len(vocabularies) == 1, "the second stage speaks the words of the first"

    capsys.readouterr()
    assert (
        run(train, "--data", photos, *FAST, "--start", first, "--hidden", "9", "--runs", runs) == 2
    )
    assert "a network of other sizes" in capsys.readouterr().err


def test_a_run_is_calibrated(photos, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(detector, "MIN_PICTURES", 5)
    runs = tmp_path / "runs"
    assert run(train, "--data", photos, *FAST, "--runs", runs, "--name", "first") == 0
    first = runs / "captioning/first"
    before, saved = open_model(first, "cpu")
    assert before.detector is None
    assert run(calibrate, first, "--data", tmp_path / "none") == 2
    capsys.readouterr()
    assert run(calibrate, first) == 0
    trained, calibrated = open_model(first, "cpu")
    assert trained.detector is not None
    learned = len(trained.detector.words)
    assert learned > 0
    line = f"{first / 'best.pt'}: detects {learned} words, and is calibrated"
    assert capsys.readouterr().out.strip() == line
    assert list(trained.confidence) == calibrated["extras"]["confidence"]
    for name, value in saved["weights"].items():
        assert torch.equal(calibrated["weights"][name], value), "the captioner is what it was"
    altered = (torch.zeros(learned, 3), 1.0, torch.zeros(learned))
    calibrated["extras"]["detector"]["output"] = altered
    checkpoint.save(first / "best.pt", "captioning", calibrated)
    with pytest.raises(InputError, match="was altered"):
        open_model(first, "cpu")


def test_frozen_encoder_is_no_part_of_the_checkpoint_but_a_tuned_one_is(photos, tmp_path):
    options = [
        "--data",
        photos,
        *FAST,
        "--steps",
        "1",
        "--encoder",
        "lite0",
        "--cache",
        tmp_path / "cache",
    ]
    for name, flags, parts in (
        ("frozen", [], {"decoder"}),
        ("tuned", ["--tune"], {"decoder", "encoder"}),
    ):
        assert run(train, *options, *flags, "--runs", tmp_path, "--name", name) == 0
        weights = checkpoint.open_run(tmp_path / "captioning" / name, "captioning")["weights"]
        assert {key.split(".")[0] for key in weights} == parts
    own = make_encoder("lite0").state_dict()
    tuned = open_model(tmp_path / "captioning/tuned", "cpu")[0].encoder.state_dict()
    assert any(not torch.equal(own[key], tuned[key]) for key in own), "it learned"


def test_a_set_without_training_images_has_no_share(photos, tmp_path, capsys):
    other = tmp_path / "other"
    other.mkdir()
    images = [{"filename": "00.png", "split": "test", "sentences": [{"raw": "a dog"}]}]
    table = other / "dataset.json"
    table.write_text(json.dumps({"images": images}))
    (photos / "00.png").rename(other / "00.png")
    sets = ["--data", photos, table, "--shares", "0.7", "0.3"]
    assert run(train, *sets, *FAST, "--runs", tmp_path) == 2
    assert f"{table} has no training images: leave out it and its share" in capsys.readouterr().err


def test_the_last_blocks_are_trained_and_kept_on_later(photos, tmp_path, capsys):
    options = ["--data", photos, *FAST, "--encoder", "lite0", "--cache", tmp_path / "cache"]
    options += ["--steps", "1", "--runs", tmp_path, "--names"]
    first, then, eye = (tmp_path / "captioning" / name for name in ("first", "then", "eye"))
    assert run(train, *options, "--tune-blocks", "1", "--name", "first") == 0
    critical = ["--self-critical", "--agreed", "0.5", "--tune-rate", "0", "--start", first]
    assert run(train, *options, *critical, "--tune-blocks", "1", "--name", "then") == 0
    own = Tail(Trunk(make_encoder("lite0"), 1)).state_dict()
    one = open_model(first, "cpu")[0]
    two = open_model(then, "cpu")[0]
    assert one.tail
    assert two.tail
    learned = one.tail.state_dict()
    assert any(not torch.equal(own[key], learned[key]) for key in own)
    assert all(torch.equal(value, two.tail.state_dict()[key]) for key, value in learned.items())

    assert run(pack, then, tmp_path / "mean.pt", "--average", first) == 0
    mean = open_model(tmp_path / "mean.pt", "cpu")[0].decoder.output.weight
    halves = (one.decoder.output.weight + two.decoder.output.weight) / 2
    assert torch.equal(mean, halves.half().float())

    pixels = one.encoder.preprocessing(Image.open(photos / "00.png"))[None]
    features = one.encode(pixels)
    assert features.shape == (1, 50, 1280), "the last row is what the classifier reads"
    assert torch.allclose(features[:, -1], one.encoder(pixels).mean(1), atol=1e-5)
    cached = one.features(Trunk(one.encoder, 1)(pixels).half())
    assert torch.allclose(features, cached, atol=0.05)
    assert two.features(features) is features, "three dimensions are features"
    _, cells, *_ = Encode(one)(pixels)  # what is exported
    assert torch.equal(cells, one.decoder.project(features).cells)

    assert run(train, *options, "--name", "eye") == 0
    assert open_model(eye, "cpu")[0].tail is None, "the encoder as it was"
    assert run(pack, then, tmp_path / "none.pt", "--average", eye) == 2
    assert "none was the start of the other" in capsys.readouterr().err
    for other in ((), ("--tune-blocks", "2")):
        assert run(train, *options, "--start", first, *other) == 2
        assert "--tune-blocks 1: give that here too" in capsys.readouterr().err
    assert run(train, *options, "--tune-blocks", "16") == 2
    assert "lite0 has 16 blocks: train 1 to 15 of them" in capsys.readouterr().err


def test_broken_pictures_are_named_and_left_out(photos, tmp_path, capsys):
    (photos / "00.png").write_bytes(b"no picture")
    assert run(train, "--data", photos, *FAST, "--runs", tmp_path, "--name", "rest") == 0
    printed = capsys.readouterr().err
    assert "00.png" in printed
    assert "left out" in printed


def test_killed_and_resumed_ends_with_the_same_bits(photos, tmp_path):
    flags = [
        "--data",
        photos,
        *TINY,
        "--min-count",
        "1",
        "--quiet",
        "--steps",
        "40",
        "--log-every",
        "5",
    ]
    flags += ["--encoder", "lite0", "--mirror", "--validate-every", "20", "--save-every", "4"]
    whole = [*flags, "--runs", tmp_path, "--name", "whole", "--cache", tmp_path / "cache-1"]
    assert run(train, *whole) == 0
    directory = tmp_path / "captioning/killed"
    start = [*flags, "--runs", tmp_path, "--name", "killed", "--cache", tmp_path / "cache-2"]

    def features_begun() -> bool:
        return len(list((tmp_path / "cache-2").rglob("*.npy"))) >= 10

    def saved() -> bool:
        return (directory / "last.pt").exists()

    for attempt in range(3):
        argv = (
            start
            if not directory.exists()
            else ["--resume", directory, "--cache", tmp_path / "cache-2", "--quiet"]
        )
        process = subprocess.Popen(
            [sys.executable, "-m", "captioning.train", *map(str, argv)],
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.DEVNULL,
        )
        if attempt < 2:  # once among the features, once in training
            wait_for([features_begun, saved][attempt], process)
            process.send_signal(signal.SIGKILL)
        process.wait()
    one, two = (
        checkpoint.load(tmp_path / "captioning" / n / "last.pt", "captioning")
        for n in ("whole", "killed")
    )
    assert two["step"] == 40
    for key, value in one["weights"].items():
        assert torch.equal(value, two["weights"][key]), key


def wait_for(condition, process: subprocess.Popen) -> None:
    end = time.monotonic() + 240
    while not condition():
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < end
        time.sleep(0.02)
