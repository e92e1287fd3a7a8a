"""The command that writes a video to try the others on."""

from pathlib import Path

import numpy as np
import pytest
from labeller import call, labels_of, save_run

from datasets.videos import sprites
from video.labels.segments import to_segments
from video.streams.reader import open_source


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return save_run(tmp_path / "run")


def test_a_sample_is_labelled_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert call("sample.mp4", command="video sample") == 0
    clip = sprites.clip(0, sprites.TEST[0])
    first, *lines = capsys.readouterr().out.splitlines()
    frames = list(open_source("sample.mp4"))
    labels = clip.labels([frame.seconds for frame in frames])
    seconds = len(labels) / sprites.RATE
    assert first == f"sample.mp4: {len(labels)} frames, {seconds:.1f} s; its labels:"
    segments = to_segments(labels)
    expected = [
        f"{each.start / sprites.RATE:8.1f} s  {sprites.CLASSES[each.label]}" for each in segments
    ]
    assert lines == expected
    assert call("sample.mp4", "--csv") == 0
    right = [
        name == sprites.CLASSES[n]
        for name, n in zip(labels_of("labels/sample.frames.csv"), labels, strict=True)
    ]
    assert sum(right) > 0.85 * len(right), "by the default model"


def test_samples_are_functions_of_seed_and_number(run: Path, capsys):
    for name, flags in (
        ("a", ()),
        ("b", ("--seed", 0, "--number", 100)),
        ("c", ("--seed", 1)),
        ("d", ("--number", 5)),
    ):
        assert call(f"{name}.mp4", *flags, command="video sample") == 0
    a, b, c, d = (list(open_source(f"{name}.mp4")) for name in "abcd")
    assert all(np.array_equal(x.pixels, y.pixels) for x, y in zip(a, b, strict=True))
    assert not np.array_equal(a[0].pixels, c[0].pixels)
    assert not np.array_equal(a[0].pixels, d[0].pixels)
    capsys.readouterr()
    for flags, word in (
        (("e.avi",), ".mp4"),
        (("no/e.mp4",), "cannot write"),
        (("e.mp4", "--seed", -1), "seed must be"),
    ):
        assert call(*flags, command="video sample") == 2
        out, err = capsys.readouterr()
        assert (out, err.count("\n")) == ("", 1)
        assert word in err
