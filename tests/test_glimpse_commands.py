"""The commands of `glimpse`, called as a user calls them."""

import json
import os
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from glimpse_command import TOY, glimpse, refused, stopped_at
from PIL import Image

from core.training import checkpoint
from glimpse.model import greedy, open_model

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    runs = tmp_path_factory.mktemp("runs")
    assert glimpse("train", *TOY, "--runs", runs) == 0
    return runs / "glimpse" / "digits"


def test_train_leaves_a_whole_run(run, capfd):
    assert {"config.json", "metrics.jsonl", "last.pt", "best.pt", "scanpaths.png"} <= {
        f.name for f in run.iterdir()
    }
    with Image.open(run / "scanpaths.png") as picture:
        assert min(picture.size) > 300
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if "validation/accuracy" in row] == [20, 40]


def test_a_checkpoint_is_all_a_user_needs(run):
    model, saved = open_model(run, "cpu")
    assert saved["extras"]["classes"] == list("0123456789")
    episode = model.rollout(
        torch.zeros(1, *saved["extras"]["image_shape"], dtype=torch.uint8), 2, greedy
    )
    assert episode.logits.shape == (2, 1, 10)


def test_evaluate(run, capfd):
    assert glimpse("evaluate", run, "--samples", 2) == 0
    text = capfd.readouterr().out
    for word in ("greedy", "random", "center", "mean of 2", "confusion"):
        assert word in text
    assert glimpse("evaluate", run, "--json", "--split", "validation") == 0
    report = json.loads(capfd.readouterr().out)
    best = checkpoint.open_run(run, "glimpse")
    assert report["accuracies"]["greedy"][report["glimpses"] - 1] == pytest.approx(
        best["metrics"]["accuracy"]
    )


def test_show(run, tmp_path, capfd):
    Image.new("L", (30, 20), 128).save(tmp_path / "grey.png")
    assert glimpse("show", run, tmp_path / "grey.png", "--out", tmp_path / "out") == 0
    assert (tmp_path / "out" / "grey.scanpath.png").exists()


def dark_and_light(folder, sizes=((14, 10),)):
    """Twelve RGB pictures of each class."""
    random = torch.Generator().manual_seed(0)
    for name, level in (("dark", 40), ("light", 200)):
        (folder / name).mkdir(parents=True)
        for n in range(12):
            pixels = (torch.rand(*sizes[n % len(sizes)], 3, generator=random) * 40 + level).byte()
            Image.fromarray(pixels.numpy()).save(folder / name / f"{n}.png")


def test_class_folder(tmp_path, capfd):
    dark_and_light(tmp_path / "pictures")
    own = ["--preset", "images", "--data", tmp_path / "pictures", "--warm-up", 0]
    assert glimpse("train", *own, *TOY, "--runs", tmp_path) == 0
    _, saved = open_model(tmp_path / "glimpse" / "images", "cpu")
    assert saved["extras"]["classes"] == ["dark", "light"]
    assert saved["extras"]["image_shape"] == [3, 14, 10]
    assert saved["metrics"]["accuracy"] == 1.0
    assert "images: used at their native size, 14x10 pixels" in capfd.readouterr().out


def test_pictures_of_many_sizes_from_a_cache_and_resumed(tmp_path, capfd, monkeypatch):
    """With little memory, killed and resumed, the bits are those of a run with all in memory."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    dark_and_light(tmp_path / "pictures", ((14, 10), (30, 44), (9, 70)))
    own = ["--preset", "images", "--data", tmp_path / "pictures", "--warm-up", 0, "--shift", 1]
    assert glimpse("train", *own, *TOY, "--runs", tmp_path / "a") == 0
    assert "used at their native size, 9x10 to 30x70 pixels" in capfd.readouterr().out
    run = tmp_path / "b" / "glimpse" / "images"
    little = ["--memory", 3e-5, "--workers", 3]
    with stopped_at(30):
        glimpse("train", *own, *TOY, *little, "--runs", tmp_path / "b")
    assert "decoding 24 pictures once" in capfd.readouterr().err
    assert glimpse("train", "--resume", run, "--quiet") == 0
    ends = [
        checkpoint.load(each / "last.pt", "glimpse")
        for each in (tmp_path / "a/glimpse/images", run)
    ]
    assert [end["extras"]["image_shape"] for end in ends] == [[3, None, None]] * 2
    for name, weight in ends[0]["weights"].items():
        assert torch.equal(weight, ends[1]["weights"][name]), name
    assert glimpse("evaluate", run, "--json") == 0
    capfd.readouterr()
    assert glimpse("show", run, tmp_path / "pictures" / "dark", "--out", tmp_path / "out") == 0
    assert capfd.readouterr().err == ""


def test_evaluate_measures_all_of_other_data(run, tmp_path, capfd):
    for n in range(10):
        (tmp_path / "own" / str(n)).mkdir(parents=True)
    for n in range(3):
        for name in ("1", "7"):
            Image.new("RGB", (30 + n, 20), (255, 0, 0)).save(tmp_path / "own" / name / f"{n}.png")
    assert glimpse("evaluate", run, "--data", tmp_path / "own", "--json") == 0
    report = json.loads(capfd.readouterr().out)
    assert [sum(row) for row in report["confusion"]] == [0, 3, 0, 0, 0, 0, 0, 3, 0, 0]
    assert glimpse("evaluate", run, "--data", "digits", "--json") == 0
    assert sum(map(sum, json.loads(capfd.readouterr().out)["confusion"])) == 1797
    (tmp_path / "own" / "eleven").mkdir()
    assert glimpse("evaluate", run, "--data", tmp_path / "own") == 2
    assert "eleven" in refused(capfd)


def test_a_split_of_other_data_is_brought_to_what_the_model_reads(run, tmp_path, capfd):
    """The model reads grey pixels, 20x20; the pictures are wide and red."""
    for n in range(10):
        folder = tmp_path / "own" / str(n)
        folder.mkdir(parents=True)
        for picture in range(20):
            Image.new("RGB", (30, 20 + picture), (255, n, 0)).save(folder / f"{picture}.png")
    own = "--data", tmp_path / "own", "--json"
    assert glimpse("evaluate", run, *own, "--split", "test") == 0
    assert sum(map(sum, json.loads(capfd.readouterr().out)["confusion"])) == 30


def test_resume_to_the_same_bits(run, tmp_path):
    """Stopped in the middle and resumed, the run ends with the weights of the unbroken one."""

    with stopped_at(30):
        glimpse("train", *TOY, "--runs", tmp_path)
    assert checkpoint.load(tmp_path / "glimpse" / "digits" / "last.pt", "glimpse")["step"] == 20
    assert glimpse("train", "--resume", tmp_path / "glimpse" / "digits", "--quiet") == 0
    ends = [
        checkpoint.load(r / "last.pt", "glimpse")["weights"]
        for r in (run, tmp_path / "glimpse" / "digits")
    ]
    for name, weight in ends[0].items():
        assert torch.equal(weight, ends[1][name]), name


def test_bad_numbers_of_looks_are_one_line(run, capfd):
    for flags, least in ((["--glimpses", -1], 0), (["--glimpses", 0], 1), (["--samples", 0], 1)):
        assert glimpse("evaluate", run, *flags) == 2
        assert f"at least {least}" in refused(capfd)


def test_bad_checkpoints_are_one_line(run, tmp_path, capfd):
    whole = (run / "best.pt").read_bytes()
    (tmp_path / "truncated.pt").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty.pt").write_bytes(b"")
    (tmp_path / "text.pt").write_text("weights")
    (tmp_path / "plain.pkl").write_bytes(pickle.dumps({"weights": 1}))
    checkpoint.save(tmp_path / "other.pt", "video", {"config": {}, "weights": {}})
    with zipfile.ZipFile(tmp_path / "zip.pt", "w") as archive:
        archive.writestr("hello", "hello")

    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "was-run"), "w"))

    torch.save({"weights": Evil()}, tmp_path / "code.pt")
    names = [
        "truncated.pt",
        "empty.pt",
        "text.pt",
        "plain.pkl",
        "other.pt",
        "zip.pt",
        "code.pt",
        "missing.pt",
    ]
    for name in names:
        assert glimpse("evaluate", tmp_path / name) == 2
        assert name in refused(capfd)
    assert not (tmp_path / "was-run").exists()


def test_a_run_of_another_configuration_is_not_resumed(run, capfd):
    before = (run / "last.pt").read_bytes()
    assert glimpse("train", "--resume", run, "--hidden", "64") == 2
    line = refused(capfd)
    assert "hidden" in line
    assert "64" in line
    assert (run / "last.pt").read_bytes() == before


def test_a_data_set_that_changed_is_noticed(tmp_path, capfd):
    def add(name):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for n in range(6):
            Image.new("L", (9, 9), n).save(tmp_path / "pictures" / name / f"{n}.png")

    add("cat")
    add("dog")
    own = ["--preset", "images", "--data", tmp_path / "pictures"]
    assert glimpse("train", *own, *TOY, "--runs", tmp_path) == 0
    add("bird")
    run = tmp_path / "glimpse" / "images"
    capfd.readouterr()
    assert glimpse("evaluate", run) == 2
    assert "classes" in refused(capfd)
    assert glimpse("train", "--resume", run, "--quiet") == 2
    assert "bird" in refused(capfd)


def test_a_data_set_that_moved_is_no_other_configuration(run, tmp_path):
    assert glimpse("train", "--resume", run, "--root", tmp_path, "--quiet") == 0


def test_two_processes_train_as_one(tmp_path):
    few = [*TOY, "--steps", "6", "--clutter", "2", "--clutter-size", "4", "--device", "cpu"]
    launch = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
    ]
    command = [*launch, "-m", "glimpse.train", *few, "--runs", str(tmp_path / "two")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert glimpse("train", *few, "--runs", tmp_path / "one") == 0
    one, two = (
        checkpoint.load(tmp_path / n / "glimpse/digits/last.pt", "glimpse")["weights"]
        for n in ("one", "two")
    )
    torch.testing.assert_close(two, one, rtol=1e-4, atol=1e-6)
