"""The command that labels videos, from end to end."""

import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import srt
import torch
from labeller import CLASSES, CONFIG, call, drawn, labels_of, rows, save_run, write
from PIL import Image
from pympi.Elan import Eaf
from videos import true_seconds, write_h264

from datasets.videos import sprites
from video import label, trained
from video.labels.decisions import decide
from video.labels.outputs import name_outputs
from video.labels.probabilities import label_recording
from video.labels.segments import to_segments
from video.streams.reader import open_source
from video.trained import open_model

ROOT = Path(__file__).parent.parent


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return save_run(tmp_path / "run")


@pytest.mark.parametrize("bidirectional", [False, True])
def test_everything_that_can_be_written(tmp_path: Path, run: Path, capsys, bidirectional: bool):
    if bidirectional:
        run = save_run(tmp_path / "both", replace(CONFIG, bidirectional=True))
    film, (made, _) = write("film.mp4", 40), open_model(run, "cpu")
    overlay = "drawn/o.mp4" if bidirectional else "drawn/o.webm"
    kinds = ("--csv", "--segments", "--srt", "--vtt", "--eaf", "--out", "new/folder")
    drawings = ("--overlay", overlay, "--timeline", "drawn/t.png")
    assert call(film, "--run", run, *kinds, *drawings) == 0
    out, err = capsys.readouterr()
    files = [
        f"new/folder/film.{end}" for end in ("frames.csv", "segments.csv", "srt", "vtt", "eaf")
    ]
    files += ["drawn/t.png", overlay]
    summary, written = out.splitlines()
    assert (written, err) == (f"    written: {', '.join(files)}", "")
    assert sorted(os.listdir("new/folder") + os.listdir("drawn")) == sorted(
        Path(file).name for file in files
    )

    frames = list(open_source(film))
    _, seconds, log_p = label_recording(made, frames).read()
    labels = log_p.argmax(1)
    found = rows(files[0])
    assert [row["label"] for row in found] == [CLASSES[n] for n in labels]
    assert [int(row["frame"]) for row in found] == list(range(len(frames)))
    assert [float(row["seconds"]) for row in found] == seconds
    assert [float(row["probability"]) for row in found] == pytest.approx(
        log_p.exp().amax(1).tolist(), abs=1e-4
    )
    segments = to_segments(labels)
    assert len(segments) > 3
    starts = [float(row["start"]) for row in rows(files[1])]
    assert starts == pytest.approx([seconds[each.start] for each in segments], abs=1e-3)
    assert labels_of(files[1]) == [CLASSES[segment.label] for segment in segments]
    for file in files[2:4]:
        assert Path(file).read_text(encoding="utf-8").count(" --> ") == len(segments)
    root = ElementTree.parse(files[4]).getroot()
    assert [each.text for each in root.iter("ANNOTATION_VALUE")] == labels_of(files[1])
    assert [each.get("RELATIVE_MEDIA_URL") for each in root.iter("MEDIA_DESCRIPTOR")] == [
        "./film.mp4"
    ]
    with Image.open(files[5]) as picture:
        assert picture.format == "PNG"
    overlaid = list(open_source(files[6]))
    assert len(overlaid) == len(frames)
    assert overlaid[0].pixels.shape[0] > overlaid[0].pixels.shape[1], (
        "a square with a band and a strip below"
    )

    assert summary.startswith(
        f"film.mp4: {len(frames)} frames, {len(frames) / sprites.RATE:.1f} s: "
    )
    for part in summary.partition(" s: ")[2].split(", "):
        name, share, _ = part.rsplit(" ", 2)
        true = 100 * (labels == CLASSES.index(name)).double().mean().item()
        assert int(share) == pytest.approx(true, abs=0.51)


def test_readers_of_others_find_the_segments_at_the_true_times_of_variable_rate(run: Path):
    gaps = np.random.default_rng(0).integers(4, 120, len(drawn()))
    seconds = ((np.cumsum(gaps) - gaps[0]) / 1000).tolist()
    pictures = [frame.pixels.repeat(2, 0).repeat(2, 1) for frame in drawn()]
    film = write_h264(Path("film.mp4"), pictures, seconds)
    true = true_seconds(film)
    assert true == pytest.approx(seconds, abs=1e-6)
    assert call(film, "--run", run, "--csv", "--srt", "--eaf") == 0
    segments = to_segments(
        torch.tensor([CLASSES.index(each) for each in labels_of("labels/film.frames.csv")])
    )
    starts, labels = (
        [true[each.start] for each in segments],
        [CLASSES[each.label] for each in segments],
    )
    assert len(segments) > 3
    subtitles = list(
        srt.parse(Path("labels/film.srt").read_text(encoding="utf-8"), ignore_errors=False)
    )
    annotations = sorted(Eaf("labels/film.eaf").get_annotation_data_for_tier("labels"))
    for found in (
        [
            (each.start.total_seconds(), each.end.total_seconds(), each.content)
            for each in subtitles
        ],
        [(start / 1000, end / 1000, value) for start, end, value in annotations],
    ):
        begins, ends, values = zip(*found, strict=True)
        assert list(values) == labels
        assert begins == pytest.approx(starts, abs=1e-3), (
            "nearer than one frame: to the millisecond"
        )
        assert ends[:-1] == begins[1:]


def test_without_files_the_segments_are_told(run: Path, capsys):
    (made, _), film = open_model(run, "cpu"), write("film.mp4")
    assert call(film, "--run", run) == 0
    _, seconds, log_p = label_recording(made, open_source(film)).read()
    _, *lines = capsys.readouterr().out.splitlines()
    segments = to_segments(log_p.argmax(1))
    assert lines == [f"{seconds[each.start]:8.1f} s  {CLASSES[each.label]}" for each in segments]
    assert not Path("labels").exists()


def test_smoothing(run: Path, capsys):
    (made, _), film = open_model(run, "cpu"), write("film.mp4")
    _, _, log_p = label_recording(made, open_source(film)).read()
    for flags, smoothed in (
        (("--shortest", 8), decide(log_p, 8)),
        (("--self-transition", 0.9), decide(log_p, 1, 0.9)),
    ):
        assert call(film, "--run", run, *flags, "--csv", "--overwrite") == 0
        assert labels_of("labels/film.frames.csv") == [CLASSES[n] for n in smoothed]
        assert not torch.equal(smoothed, log_p.argmax(1))


def test_a_stride_is_that_of_the_training(tmp_path: Path, run: Path):
    strided = save_run(tmp_path / "strided", replace(CONFIG, stride=3))
    count = len(list(open_source(write("film.mp4"))))
    assert call("film.mp4", "--run", strided, "--csv", "--overlay", "o.mp4") == 0
    found = rows("labels/film.frames.csv")
    assert [int(row["frame"]) for row in found] == list(range(count)), "all frames have labels"
    (made, _) = open_model(strided, "cpu")
    _, _, log_p = label_recording(made, open_source("film.mp4", stride=3)).read()
    shown = [CLASSES[n] for n in log_p.argmax(1)]
    assert [row["label"] for row in found[::3]] == shown
    assert [row["label"] for row in found[1:-1:3]] == shown[: len(found[1:-1:3])], "the nearest"
    assert list(open_source("o.mp4"))[-1].seconds == pytest.approx(count / sprites.RATE, abs=0.3)


def test_a_source_that_cannot_be_labelled_does_not_stop_the_others(run: Path, capsys):
    write("good.mp4")
    Path("empty.mp4").touch()
    Path("text.mp4").write_text("no video\n" * 99)
    write("none.mp4", 0)
    sources = ("gone.mp4", "empty.mp4", "good.mp4", "text.mp4", "none.mp4", "63")
    assert call(*sources, "--run", run, "--csv") == 1
    out, err = capsys.readouterr()
    assert out.startswith("good.mp4: ")
    assert os.listdir("labels") == ["good.frames.csv"]
    for line, word in zip(
        err.splitlines(), ("no such", "empty", "not a video", "none.mp4", "camera 63"), strict=True
    ):
        assert line.startswith("video label: ")
        assert word in line
    assert call("gone.mp4", "empty.mp4", "--run", run, "--csv") == 2
    assert capsys.readouterr().err.count("\n") == 2


def test_of_a_truncated_file_what_there_is_is_labelled(run: Path, capsys):
    content = write("film.avi", 60, "MJPG").read_bytes()
    Path("cut.avi").write_bytes(content[: len(content) // 2])
    assert call("film.avi", "cut.avi", "--run", run, "--csv") == 0
    whole, part = labels_of("labels/film.frames.csv"), labels_of("labels/cut.frames.csv")
    assert 10 < len(part) < 50
    assert part[:-1] == whole[: len(part) - 1], "half of the last frame may be there"
    err = capsys.readouterr().err
    assert err.startswith(f"video label: cut.avi: read {len(part)} of about 60 frames: ")
    assert err.count("\n") == 1


def test_a_folder_of_frames(run: Path, capsys):
    Path("shots").mkdir()
    for frame in drawn()[:12]:
        Image.fromarray(frame.pixels).save(f"shots/{frame.index}.png")
    assert call("shots", "--run", run, "--csv", "--eaf") == 0
    assert len(rows("labels/shots.frames.csv")) == 12
    assert not list(ElementTree.parse("labels/shots.eaf").getroot().iter("MEDIA_DESCRIPTOR"))
    assert "pictures have no times" in capsys.readouterr().err


def test_names_of_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a/film.mp4", "b/Film.avi", "film-2.mp4", "a.b/x.mp4"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).touch()
    assert name_outputs(
        ["a/film.mp4", "b/Film.avi", "film-2.mp4", "a/film.mp4", "a.b", "gone/film.mov"]
    ) == {
        "a/film.mp4": "film",
        "b/Film.avi": "Film-2",
        "film-2.mp4": "film-2-2",
        "a.b": "a.b",
        "gone/film.mov": "film-3",
    }
    streams = ["0", "01", "rtsp://me:secret@cam.example:554/door?token=1", "http://x/", "rtsp://"]
    names = list(name_outputs(streams).values())
    assert names == ["camera-0", "camera-1", "cam.example-554-door", "x", "stream"]


def test_bad_arguments(run: Path, tmp_path: Path, capsys):
    film = write("film.mp4")
    mine = film.read_bytes()
    write("other.mp4", 2)
    Path("taken").write_text("")
    for arguments, word in (
        (("--run", run), "nothing to label"),
        ((film, "--run", tmp_path / "none"), "none"),
        ((film, "--run", run, "--shortest", 0), "shortest must be"),
        ((film, "--run", run, "--self-transition", 1), "self_transition must be"),
        (
            (film, "--run", run, "--overlay", "o.avi"),
            "--overlay takes the name of a .webm or .mp4 file",
        ),
        ((film, "--run", run, "--overlay", "./film.mp4"), "is an input of this command"),
        ((film, "--run", run, "--timeline", "t.jpg"), "--timeline takes the name of a .png file"),
        ((film, "other.mp4", "--run", run, "--timeline", "t.png"), "one source at a time"),
        ((film, "--run", run, "--csv", "--out", "taken"), "taken"),
        ((film, "--run", run, "--overlay", "taken/o.webm"), "taken"),
        ((film, "--run", run, "--threads", 0), "threads"),
    ):
        assert call(*arguments) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert err.count("\n") == 1
        assert word in err
    assert film.read_bytes() == mine


def test_the_default_model(run: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    film = write("film.mp4", 5)
    monkeypatch.setattr(label, "DEFAULT", run / "best.pt")
    assert call(film) == 0
    assert "the included model knows moving sprites only" in capsys.readouterr().err
    monkeypatch.setattr(label, "DEFAULT", run / "none.pt")
    assert call(film) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n"), "none.pt" in err) == ("", 1, True)
    assert trained.DEFAULT.parent == Path(label.__file__).parent


def test_killed_while_labelling_files_are_whole_or_absent(run: Path):
    film = write("film.mp4", 240)
    flags = ["--run", "run", "--csv", "--eaf", "--overlay", "o.mp4", "--timeline", "t.png"]
    command = [sys.executable, "-m", "video", "label", "film.mp4", *flags]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, env=environment)
    while not list(Path().glob(".o.*.partial.mp4")):
        assert process.poll() is None
        time.sleep(0.005)
    process.kill()
    process.wait()
    assert not Path("o.mp4").exists()
    assert os.listdir("labels") == []
    assert call(film, *flags) == 0
    assert sorted(os.listdir("labels")) == ["film.eaf", "film.frames.csv"]
    assert len(list(Path().rglob(".*.partial*"))) == 1, "that of the killed one"
    assert len(list(open_source("o.mp4"))) == 240
