"""Live sources are labelled as they come."""

import itertools
import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from labeller import CLASSES, CONFIG, call, rows, save_run, write

from video.labels.probabilities import features_of, follow
from video.labels.segments import to_segments
from video.streams.reader import open_source
from video.trained import open_model


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return save_run(tmp_path / "run")


@pytest.mark.parametrize("rate", [40.0, 400.0])  # the second is too fast: frames are skipped
def test_a_live_source_is_labelled_as_it_comes(run: Path, rate: float, capsys):
    film = write("film.mp4", 40, rate=rate)
    made, _ = open_model(run, "cpu")
    assert call(film, "--run", run, "--live", "--csv", "--overlay", "o.mp4") == 0
    out, err = capsys.readouterr()
    found = rows("labels/film.frames.csv")
    numbers = [int(row["frame"]) for row in found]
    frames = [frame for frame in open_source(film) if frame.index in numbers]
    log_p = torch.stack([log_p for _, log_p in follow(made, frames)])
    assert [row["label"] for row in found] == [CLASSES[n] for n in log_p.argmax(1)]
    probabilities = [round(p, 4) for p in log_p.exp().amax(1).tolist()]
    assert [float(row["probability"]) for row in found] == probabilities, "the same numbers exactly"
    *lines, summary, written = out.splitlines()
    starts = [segment.start for segment in to_segments(log_p.argmax(1))]
    assert lines == [f"{frames[n].seconds:8.1f} s  {found[n]['label']}" for n in starts]
    assert summary.startswith(f"film.mp4: {len(found)} frames, ")
    assert written == "    written: labels/film.frames.csv, o.mp4"
    assert list(open_source("o.mp4"))
    if len(found) < 40:
        assert f"skipped {40 - len(found)} of 40 frames" in err
    else:
        assert err == ""


def test_who_is_too_slow_skips_and_says_so(run: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    def slow(*given):
        time.sleep(0.1)
        return features_of(*given)

    monkeypatch.setattr("video.labels.probabilities.features_of", slow)
    assert call(write("film.mp4", 30, rate=30.0), "--run", run, "--live", "--csv") == 0
    count = len(rows("labels/film.frames.csv"))
    assert 2 <= count < 20
    first, *_, last = capsys.readouterr().err.splitlines()
    assert last == f"video label: film.mp4: skipped {30 - count} of 30 frames to keep up"
    assert "skipped" in first


def test_ctrl_c_ends_a_live_source(run: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    film, looks = write("film.mp4", 3000), itertools.count()
    before = signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # a shell's background jobs ignore it

    def interrupted(*given):
        if next(looks) == 20:
            os.kill(os.getpid(), signal.SIGINT)
        return features_of(*given)

    monkeypatch.setattr("video.labels.probabilities.features_of", interrupted)
    try:
        assert (
            call(
                film,
                "--run",
                run,
                "--live",
                "--srt",
                "--csv",
                "--overlay",
                "o.webm",
                "--timeline",
                "t.png",
            )
            == 0
        )
    finally:
        signal.signal(signal.SIGINT, before)
    count = len(rows("labels/film.frames.csv"))
    assert 1 < count < 30
    summary, written = capsys.readouterr().out.splitlines()[-2:]
    assert summary.startswith(f"film.mp4: {count} frames, ")
    assert "o.webm" in written
    assert list(open_source("o.webm"))
    assert not list(Path().rglob("*.partial*"))


def test_what_looks_ahead_is_not_for_live_sources(tmp_path: Path, run: Path, capsys):
    both, film = save_run(tmp_path / "both", replace(CONFIG, bidirectional=True)), write("film.mp4")
    for arguments, reason in (
        (("--run", both), "a net of two directions must see the end first, and this is live"),
        (
            ("--run", run, "--shortest", 5),
            "--shortest and --self-transition need the whole video, and this is live",
        ),
        (
            ("--run", run, "--self-transition", 0.9),
            "--shortest and --self-transition need the whole video, and this is live",
        ),
    ):
        assert call(film, "--live", "--csv", *arguments) == 2
        assert capsys.readouterr() == ("", f"video label: film.mp4: {reason}\n")
    assert os.listdir("labels") == []
