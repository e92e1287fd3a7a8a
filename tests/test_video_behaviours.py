"""Several behaviours at once: the loss, the decisions, the scores, from films to exports."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from labeller import call, rows, write
from pympi.Elan import Eaf
from sklearn.metrics import average_precision_score, f1_score, precision_score, recall_score

from core.training import checkpoint
from datasets.videos import labelled
from video.config import PRESETS
from video.labels.decisions import best_thresholds, decide
from video.labels.segments import Segment
from video.metrics.behaviours import average_precision, behaviour_metrics, lanes, mean_metrics
from video.model import behaviours_loss
from video.next import labelled_features
from video.train import behaviour_weights, continued
from video.trained import open_model

FLAGS = [
    "--encoder",
    "micro",
    "--frame-size",
    "16",
    "--hidden",
    "8",
    "--frame",
    "8",
    "--batch",
    "2",
]


def test_the_loss_is_a_binary_cross_entropy_for_each_behaviour():
    torch.manual_seed(0)
    logits = torch.randn(7, 2, 3, dtype=torch.float64)
    labels = torch.randint(-1, 2, (7, 2, 3))
    weights = torch.rand(2, 3, dtype=torch.float64) + 0.5
    total = weight = change = pairs = 0.0
    for t in range(7):
        for b in range(2):
            for c in range(3):
                y = int(labels[t, b, c])
                if y < 0:
                    continue
                p = torch.sigmoid(logits[t, b, c])
                total -= weights[y, c] * (p if y else 1 - p).log()
                weight += weights[y, c]
                if t and labels[t - 1, b, c] >= 0:
                    step = F.logsigmoid(logits[t, b, c]) - F.logsigmoid(logits[t - 1, b, c])
                    change += min(abs(float(step)), 4.0) ** 2
                    pairs += 1
    expected = total / weight + 0.3 * change / pairs
    found = behaviours_loss(logits, labels, weights, 0.3)
    assert float(found) == pytest.approx(float(expected), rel=1e-6)
    assert float(behaviours_loss(logits, torch.full_like(labels, -2), weights, 0.3)) == 0


def test_weights_balance_absence_and_occurrence():
    class Clip:
        labels = torch.tensor([[1, 0], [0, 0], [0, 0], [0, -1]])

    weights = behaviour_weights([Clip()])  # type: ignore[list-item]
    assert weights.tolist() == [[pytest.approx(4 / 6), 1], [2, 0]]


def test_average_precision_and_scores_are_those_of_scikit_learn():
    random = np.random.default_rng(0)
    truth = torch.from_numpy(random.integers(0, 2, (200, 3)))
    p = torch.from_numpy(random.random((200, 3)).round(1)).float()  # many are equal
    predicted = (p > 0.6).long()
    metrics = behaviour_metrics([p[:90], p[90:]], [predicted[:90], predicted[90:]],
                              [truth[:90], truth[90:]], "abc")  # fmt: skip
    for n, name in enumerate("abc"):
        ours = metrics[name]
        column = truth[:, n].numpy(), predicted[:, n].numpy()
        assert ours["precision"] == pytest.approx(100 * precision_score(*column))
        assert ours["recall"] == pytest.approx(100 * recall_score(*column))
        assert ours["F1"] == pytest.approx(100 * f1_score(*column))
        expected = 100 * average_precision_score(truth[:, n].numpy(), p[:, n].numpy())
        assert ours["average precision"] == pytest.approx(expected)
    means = mean_metrics([p], [predicted], [truth], "abc")
    each = [row["average precision"] for row in metrics.values()]
    assert means["mean average precision"] == pytest.approx(sum(each) / 3)


def test_what_nobody_scored_does_not_count():
    truth = torch.tensor([[1], [0], [-1], [-1]])
    p = torch.tensor([[0.9], [0.2], [0.1], [0.8]])
    metrics = behaviour_metrics([p], [(p > 0.5).long()], [truth], "a")["a"]
    assert (metrics["precision"], metrics["recall"], metrics["average precision"]) == (
        100,
        100,
        100,
    )
    assert np.isnan(average_precision(p[:, 0], torch.zeros(4, dtype=torch.int64)))
    assert lanes((p > 0.5).long(), truth) == [Segment(0, 0, 1)]


def test_the_threshold_is_the_one_with_the_best_f1():
    torch.manual_seed(1)
    truth = torch.randint(0, 2, (300, 2))
    p = (0.3 * truth + 0.5 * torch.rand(300, 2)).clamp(0.02, 0.98)
    thresholds = best_thresholds([p], [truth])
    for n in range(2):
        found = f1_score(truth[:, n], p[:, n] >= thresholds[n])
        best = max(f1_score(truth[:, n], p[:, n] >= level) for level in p[:, n])
        assert found == pytest.approx(best)
    assert best_thresholds([p], [torch.zeros_like(truth)]).tolist() == [0.5, 0.5]


@pytest.mark.parametrize("likely", [False, True])
def test_thresholds_of_rare_and_of_likely_behaviours_are_not_cut(likely: bool):
    truth = torch.tensor([[1], [1], [1], [0], [0], [0]])
    p = torch.tensor([[0.004], [0.005], [0.006], [0.0001], [0.0002], [0.0003]])
    if likely:
        p = 1 - p.flip(0)
    thresholds = best_thresholds([p], [truth])
    assert torch.equal(decide(p.log(), thresholds=thresholds), truth)


def test_a_packed_threshold_is_below_1_where_a_net_is_certain():
    p = torch.tensor([[1.0], [1.0], [1.0]])
    thresholds = best_thresholds([p], [torch.tensor([[1], [1], [0]])])
    packed = thresholds.half().float()
    assert torch.equal(decide(p.log(), thresholds=packed), torch.ones(3, 1, dtype=torch.int64))


def test_each_behaviour_is_decided_and_smoothed_by_itself():
    p = torch.tensor([[0.9, 0.2], [0.9, 0.2], [0.3, 0.35], [0.9, 0.2], [0.9, 0.2]])
    thresholds = torch.tensor([0.5, 0.3])
    plain = decide(p.log(), thresholds=thresholds)
    assert plain.T.tolist() == [[1, 1, 0, 1, 1], [0, 0, 1, 0, 0]]
    merged = decide(p.log(), shortest=2, thresholds=thresholds)
    assert merged.T.tolist() == [[1, 1, 1, 1, 1], [0, 0, 0, 0, 0]]
    smoothed = decide(p.log(), self_transition=0.99, thresholds=thresholds)
    assert smoothed[:, 1].tolist() == [0] * 5


@pytest.fixture(scope="module")
def multi_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("multi")
    lines = []
    for name in "abcd":
        write(folder / f"{name}.mp4", 40)
        lines += [f"{name}.mp4,0.5,2.0,walk", f"{name}.mp4,1.0,3.0,groom & nod"]
    (folder / "labels.csv").write_text("\n".join(["clip,start,end,label", *lines]))
    runs = ["--data", folder, *FLAGS, "--steps", "3", "--runs", folder / "runs", "--quiet"]
    assert call(*runs, "--name", "multi", command="video train") == 0
    return folder


def test_overlapping_labels_are_trained_and_measured(multi_run: Path, capsys):
    run = multi_run / "runs/video/multi"
    saved = checkpoint.open_run(run, "video")
    assert (saved["extras"]["multi"], saved["extras"]["rate"]) == (True, 10.0)
    assert saved["extras"]["classes"] == ["groom & nod", "walk"]
    log = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert any("validation/mean average precision" in row for row in log)
    assert call(run, "--json", command="video evaluate") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["scores"].keys() == {"groom & nod", "walk"}
    assert found["scores"]["walk"]["frames"] == 15
    assert call(run, "--data", multi_run, "--json", command="video evaluate") == 0
    everything = json.loads(capsys.readouterr().out)
    assert (everything["split"], everything["clips"]) == ("all", 4)
    assert everything["scores"]["walk"]["frames"] == 60


def test_what_is_written_of_several_behaviours_is_read_again(multi_run: Path, tmp_path: Path):
    run = multi_run / "runs/video/multi"
    trained, _ = open_model(run, "cpu")
    assert trained.thresholds is not None
    film = multi_run / "a.mp4"
    kinds = ("onehot", "probabilities", "boris", "eaf", "srt", "json", "segments", "csv")
    flags = [f"--{kind}" for kind in kinds]
    drawings = ["--overlay", tmp_path / "o.mp4", "--timeline", tmp_path / "t.png"]
    out = ["--out", tmp_path / "labels"]
    assert call(film, "--run", run, *flags, *drawings, *out) == 0
    labels = tmp_path / "labels"
    table = rows(labels / "a.onehot.csv")
    assert list(table[0]) == ["frame", "groom & nod", "walk"]
    truth = [[int(row[name]) for name in trained.classes] for row in table]
    p = [
        [float(row[name]) for name in trained.classes]
        for row in rows(labels / "a.probabilities.csv")
    ]
    thresholds = trained.thresholds.tolist()
    clear = [
        (y, value >= level)
        for line, values in zip(truth, p, strict=True)
        for y, value, level in zip(line, values, thresholds, strict=True)
        if abs(value - level) > 1e-3
    ]
    assert all(y == above for y, above in clear)
    assert set(Eaf(str(labels / "a.eaf")).get_tier_names()) == set(trained.classes)
    (labels / "a.mp4").symlink_to(film)
    seconds = [n / 10 for n in range(40)]
    for file in ("a.onehot.csv", "a.boris.csv", "a.eaf", "a.srt"):
        parts = labelled.read_labels(labels / file, multi=True)
        (clip,) = parts.everything().clips
        found = clip.labels(seconds)
        for n, name in enumerate(trained.classes):
            column = [row[n] for row in truth]
            if name in parts.classes:
                ours = found[:, list(parts.classes).index(name)].tolist()
            else:
                ours = [0] * 40
            assert ours == column, (file, name)


def test_going_on_with_more_labels_keeps_the_settings_and_adds_a_behaviour(multi_run: Path, capsys):
    write(multi_run / "e.mp4", 40)
    lines = ["e.mp4,0.5,2.0,walk", "e.mp4,1.0,3.0,dig"]
    more = multi_run / "more" / "more.csv"
    more.parent.mkdir()
    (more.parent / "e.mp4").symlink_to(multi_run / "e.mp4")
    more.write_text("\n".join(["clip,start,end,label", *lines]))
    start = multi_run / "runs/video/multi"
    flags = ["--start", start, "--add", more, "--steps", "2", "--runs", multi_run / "runs"]
    assert call(*flags, "--name", "on", "--quiet", command="video train") == 0
    told = capsys.readouterr()
    assert "test: 1 clip," in told.out
    assert f"behaviours that {start} lacks: dig\n" in told.err
    old, _ = open_model(start, "cpu")
    new, saved = open_model(multi_run / "runs/video/on", "cpu")
    assert new.classes == ("groom & nod", "walk", "dig")
    assert new.config.hidden == old.config.hidden == 8
    assert saved["config"]["data"] == str(multi_run)
    assert saved["config"]["loop"]["steps"] == 2
    assert saved["config"]["loop"]["batch"] == old.config.loop.batch == 2
    assert len(labelled_features(new, 1.0)) == 3 * 4, "two old films and a new one"
    change = (new.labeller.frame.weight - old.labeller.frame.weight).abs().max()
    assert float(change) < 0.1, "it goes on from the old weights"


def test_a_run_is_measured_by_the_labels_that_were_added(multi_run: Path, capsys):
    folder = multi_run / "corrected"
    folder.mkdir()
    lines = []
    for name in "abcd":
        (folder / f"{name}.mp4").symlink_to(multi_run / f"{name}.mp4")
        lines += [f"{name}.mp4,0.5,3.5,walk", f"{name}.mp4,1.0,3.0,groom & nod"]
    (folder / "labels.csv").write_text("\n".join(["clip,start,end,label", *lines]))
    flags = ["--start", multi_run / "runs/video/multi", "--add", folder, "--steps", "1", "--quiet"]
    flags += ["--runs", multi_run / "runs", "--name", "corrected"]
    assert call(*flags, command="video train") == 0
    capsys.readouterr()
    run = multi_run / "runs/video/corrected"
    for data, frames in (((), 30), (("--data", multi_run, "--split", "test"), 15)):
        assert call(run, *data, "--json", command="video evaluate") == 0
        assert json.loads(capsys.readouterr().out)["scores"]["walk"]["frames"] == frames


def test_settings_of_a_run_that_is_gone_on_from_are_not_changed(multi_run: Path, capsys):
    start = multi_run / "runs/video/multi"
    flags = ["--dropout", "0.1", "--crop", "0", "0", "8", "8", "--hidden", "8"]
    assert call("--start", start, *flags, command="video train") == 2
    told = "video train: --start takes the settings of the old run; leave out: --crop, --dropout\n"
    assert capsys.readouterr().err == told


def test_flags_of_the_loop_replace_those_of_the_run_that_is_gone_on_from():
    preset = PRESETS["videos"]
    old = replace(preset, data="films", loop=replace(preset.loop, steps=77, batch=3))
    given = replace(preset, start="run", cache="kept", loop=replace(preset.loop, steps=300))
    found = continued(replace(given, add=("more",)), old, preset)
    assert found.loop == replace(old.loop, steps=300)
    assert (found.data, found.start, found.cache, found.add) == ("films", "run", "kept", ("more",))
