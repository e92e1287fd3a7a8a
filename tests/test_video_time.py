"""Films of another rate than the training's, jumps in time, and what is not overwritten."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from labeller import CLASSES, CONFIG, call, drawn, labels_of, rows, save_run, write
from videos import write_h264

from video.labels.probabilities import label_recording, nearest
from video.streams.reader import open_source
from video.streams.sampling import LONGEST_HOLD, Sampling
from video.trained import open_model

CASES = Path(__file__).parents[2] / "shared/cases"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return save_run(tmp_path / "run", rate=10.0)


@pytest.mark.parametrize("film", [29.97, 25.0, 12.5, 60.0])
def test_of_a_faster_film_the_frame_nearest_to_each_moment_is_shown(film: float):
    times = [n / film for n in range(round(600 * film))]
    count = Sampling(rate=10.0).counter(film)
    shown = [time for time in times if count(time)]
    assert len(shown) == pytest.approx(6000, abs=1), "no drift in ten minutes"
    moments = np.arange(len(shown)) / 10
    assert np.abs(np.array(shown) - moments).max() <= 0.5 / film + 1e-6


@pytest.mark.parametrize("film", [1.0, 5.0, 7.5])
def test_of_a_slower_film_frames_are_shown_several_times(film: float):
    count = Sampling(rate=10.0).counter(film)
    times = [count(n / film) for n in range(round(100 * film))]
    assert sum(times) == pytest.approx(1000, abs=10 / film)
    assert max(times) - min(times[1:]) <= 1


def test_rates_that_are_alike_show_every_frame_or_every_strideth():
    every = Sampling(rate=29.97).counter(30.0)
    assert [every(n / 30) for n in range(90)] == [1] * 90
    third = Sampling(3, 10.0).counter(29.97)
    assert [third(n / 29.97) for n in range(6)] == [1, 0, 0, 1, 0, 0]
    whatever = Sampling(3).counter(7.0)
    assert [whatever(n / 7) for n in range(4)] == [1, 0, 0, 1]


def test_a_time_that_jumps_shows_a_frame_for_some_seconds_only():
    count = Sampling(rate=10.0).counter(25.0)
    assert count(0.0) == 1
    assert count(1e9) == round(LONGEST_HOLD * 10)
    assert count(1e9 + 0.04) in (0, 1)


def test_frames_that_were_left_out_have_the_label_of_the_nearest():
    times = [0.0, 0.1, 0.24, 0.3, 0.4, 0.9]
    assert nearest([0, 3], times).tolist() == [0, 0, 1, 1, 1, 1]
    assert nearest([2], times).tolist() == [0] * 6


def test_a_film_has_the_same_labels_at_another_rate(run: Path, capsys):
    pictures = [frame.pixels.repeat(2, 0).repeat(2, 1) for frame in drawn()]
    count = len(pictures)
    write_h264(Path("ten.mp4"), pictures, [n / 10 for n in range(count)])
    numbers = [round(n / 29.97 * 10) for n in range(int((count - 0.5) * 2.997))]
    numbers = [min(n, count - 1) for n in numbers]
    seconds = [round(1000 * n / 29.97) / 1000 for n in range(len(numbers))]
    write_h264(Path("thirty.mp4"), [pictures[n] for n in numbers], seconds)
    assert call("ten.mp4", "thirty.mp4", "--run", run, "--csv", "--segments") == 0
    told = capsys.readouterr().err
    assert "thirty.mp4" in told
    assert "frames are chosen by time, 10 a second as in training" in told
    assert "ten.mp4" not in told
    slow = labels_of("labels/ten.frames.csv")
    fast = labels_of("labels/thirty.frames.csv")
    assert len(fast) == len(numbers), "every frame of the film has a label"
    same = np.mean([fast[n] == slow[number] for n, number in enumerate(numbers)])
    assert same > 0.93
    assert len(set(slow)) > 1
    ends = [float(rows(f"labels/{name}.segments.csv")[-1]["end"]) for name in ("ten", "thirty")]
    assert ends[1] == pytest.approx(ends[0], abs=0.1), "one frame of the training"


@pytest.mark.skipif(not CASES.exists(), reason="the films are not here")
def test_the_sample_at_two_rates_has_the_same_labels(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    films = [CASES / f"sample_{rate}.mp4" for rate in ("10fps", "2997fps")]
    assert call(*films, "--segments") == 0
    found = [
        [
            row
            for row in rows(f"labels/{film.stem}.segments.csv")
            if float(row["end"]) - float(row["start"]) > 0.5
        ]
        for film in films
    ]
    assert [row["label"] for row in found[0]] == [row["label"] for row in found[1]]
    for one, other in zip(*found, strict=True):
        assert float(one["start"]) == pytest.approx(float(other["start"]), abs=0.35)


def test_a_stride_of_training_holds_for_films_of_its_rate(tmp_path: Path, run: Path):
    strided = save_run(tmp_path / "strided", replace(CONFIG, stride=2), rate=5.0)
    film = write("film.mp4", 41)
    trained, _ = open_model(strided, "cpu")
    source = open_source(film, stride=2, shown_rate=trained.rate)
    numbers, _, log_p = label_recording(trained, source).read()
    assert numbers == list(range(0, 41, 2))
    assert call(film, "--run", strided, "--csv") == 0
    expected = [CLASSES[n] for n in log_p.argmax(1)]
    assert labels_of("labels/film.frames.csv")[::2] == expected


def test_time_stamps_that_jump_end_and_are_told(run: Path, capsys):
    pictures = [frame.pixels.repeat(2, 0).repeat(2, 1) for frame in drawn()[:8]]
    seconds = [0.0, 0.1, 0.2, 900_000.0, 900_000.1, 900_000.2, 900_000.3, 900_000.4]
    film = write_h264(Path("jump.mkv"), pictures, seconds)
    assert call(film, "--run", run, "--overlay", "o.mp4", "--csv", "--timeline", "t.png") == 0
    told = capsys.readouterr().err
    assert "the time stamps jump by 900000 s from one frame to the next" in told
    assert "s shorter than the film, as a frame is held for a minute at most" in told
    assert len(rows("labels/jump.frames.csv")) == 8
    assert 8 <= len(list(open_source("o.mp4"))) < 3000


def test_a_source_whose_name_looks_temporary_survives(run: Path):
    film = write("film.partial.mp4", 8)
    mine = film.read_bytes()
    assert call(film, "--run", run, "--overlay", "film.mp4") == 0
    assert film.read_bytes() == mine
    assert len(list(open_source("film.mp4"))) == 8


def test_nothing_is_written_through_a_link_or_over_an_input(run: Path, capsys):
    film = write("film.mp4", 8)
    mine = film.read_bytes()
    Path("link.mp4").symlink_to("film.mp4")
    for arguments in (("--overlay", "link.mp4"), ("--overlay", "link.mp4", "--overwrite")):
        assert call(film, "--run", run, *arguments) == 2
        assert "is an input of this command" in capsys.readouterr().err
    Path("shots").mkdir()
    shutil.copy("film.mp4", "shots/0.png")
    assert call("shots", "--run", run, "--timeline", "shots/0.png", "--overwrite") == 2
    assert film.read_bytes() == mine


@pytest.mark.parametrize("kind", ["srt", "csv", "eaf", "json"])
def test_a_file_of_the_users_is_replaced_only_if_told(run: Path, capsys, kind: str):
    film = write("film.mp4", 8)
    Path("labels").mkdir()
    name = f"labels/film.{'frames.csv' if kind == 'csv' else kind}"
    Path(name).write_text("mine")
    assert call(film, "--run", run, f"--{kind}") == 2
    assert f"{name} exists" in capsys.readouterr().err
    assert Path(name).read_text() == "mine"
    assert call(film, "--run", run, f"--{kind}", "--overwrite") == 0
    assert Path(name).read_text() != "mine"


def test_folders_of_frames_take_a_rate(run: Path, capsys):
    Path("shots").mkdir()
    from PIL import Image

    for frame in drawn()[:12]:
        Image.fromarray(frame.pixels).save(f"shots/{frame.index}.png")
    assert call("shots", "--run", run, "--csv", "--fps", 10) == 0
    assert "no times" not in capsys.readouterr().err
    times = [float(row["seconds"]) for row in rows("labels/shots.frames.csv")]
    assert times == pytest.approx([n / 10 for n in range(12)])
    assert call("shots", "--run", run, "--fps", 0) == 2
    assert "fps must be above 0" in capsys.readouterr().err


def test_help_is_answered_without_torch():
    import subprocess
    import sys

    code = """import sys, video.__main__ as m
try:
    m.cli.main("video", m.COMMANDS, ["label", "--help"])
except SystemExit:
    pass
print(sorted({"torch", "numpy", "cv2", "PIL"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert torch.is_tensor(torch.zeros(1))
