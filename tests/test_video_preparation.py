"""What the encoder is shown of a frame: crop, size, and what changed; and the progress."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from labeller import CONFIG, call, drawn, make_trained, rows, write

from core.errors import InputError
from video.labels.probabilities import follow, label_recording
from video.streams import progress
from video.streams.preparation import STILL, Preparation, changed
from video.trained import open_model
from vision.encoder import TINY

SMALL = replace(TINY, size=16)


def test_a_crop_is_the_part_of_the_frame():
    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[8:24, 20:36] = 200
    prepare = Preparation(replace(CONFIG, crop=(20, 8, 16, 16)), SMALL)
    assert torch.equal(prepare(pixels), torch.full((3, 16, 16), 200, dtype=torch.uint8))
    outside = Preparation(replace(CONFIG, crop=(50, 8, 16, 16)), SMALL)
    with pytest.raises(InputError, match=r"--crop 50 8 16 16 is not inside frames of 60x40"):
        outside(pixels)
    with pytest.raises(InputError, match="--crop takes x y width height"):
        replace(CONFIG, crop=(0, 0, 0, 4))


def test_motion_is_half_of_the_change():
    frames = [np.full((16, 16, 3), level, np.uint8) for level in (100, 140, 40)]
    prepare = Preparation(replace(CONFIG, motion=True), SMALL)
    shown = [prepare(frame) for frame in frames]
    assert [each.shape for each in shown] == [(6, 16, 16)] * 3
    assert [int(each[0, 0, 0]) for each in shown] == [100, 140, 40]
    assert [int(each[5, 3, 3]) for each in shown] == [STILL, STILL + 20, STILL - 50]
    black, white = (torch.full((3, 1, 1), level, dtype=torch.uint8) for level in (0, 255))
    assert changed(white, black).flatten().tolist() == [254] * 3
    assert changed(black, white).flatten().tolist() == [0] * 3


@pytest.mark.parametrize("bidirectional", [False, True])
def test_a_net_that_sees_motion_labels_streams_as_recordings(bidirectional: bool):
    trained = make_trained(replace(CONFIG, motion=True, bidirectional=bidirectional))
    frames = [replace(frame, shown=1 + frame.index % 2) for frame in drawn()[:20]]
    _, _, recorded = label_recording(trained, iter(frames)).read()
    assert len(recorded) == 20
    if not bidirectional:
        streamed = torch.stack([log_p for _, log_p in follow(trained, iter(frames))])
        assert torch.equal(streamed, recorded)
    still = make_trained(replace(CONFIG, bidirectional=bidirectional))
    assert trained.labeller.frame.in_features == 2 * still.labeller.frame.in_features


def test_motion_crop_and_size_are_learned_with_and_used_again(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines = []
    for name in "abc":
        write(f"{name}.mp4", 24)
        lines += [f"{name}.mp4,0,1.2,still", f"{name}.mp4,1.2,2.4,go"]
    Path("labels.csv").write_text("\n".join(["clip,start,end,label", *lines]))
    flags = ["--encoder", "micro", "--frame-size", "16", "--motion", "--crop", "8", "8", "40", "48"]
    toy = ["--steps", "2", "--batch", "2", "--hidden", "8", "--frame", "8", "--quiet"]
    assert call("--data", "labels.csv", *flags, *toy, command="video train") == 0
    trained, _ = open_model("runs/video/sprites", "cpu")
    assert trained.config.crop == (8, 8, 40, 48)
    assert trained.labeller.frame.in_features == 2 * 2 * 2 * 32
    assert call("a.mp4", "--run", "runs/video/sprites", "--csv") == 0
    assert len(rows("labels/a.frames.csv")) == 24
    small = write("small.avi", 5, "MJPG")
    assert call(small, "--run", "runs/video/sprites", "--csv") == 0
    too_large = ["--frame-size", "0"]
    assert call("--data", "labels.csv", *too_large, command="video train") == 2


def test_progress_is_told_while_films_are_read(tmp_path: Path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(progress, "LINE_EVERY", 0.0)
    lines = []
    for name in "abc":
        write(f"{name}.mp4", 40)
        lines += [f"{name}.mp4,0,2,still", f"{name}.mp4,2,4,go"]
    Path("labels.csv").write_text("\n".join(["clip,start,end,label", *lines]))
    toy = ["--encoder", "micro", "--frame-size", "16", "--steps", "1", "--batch", "2"]
    assert call("--data", "labels.csv", *toy, "--quiet", command="video train") == 0
    told = [line for line in capsys.readouterr().out.splitlines() if line.startswith("read ")]
    assert told[0].startswith("read 1 of about 40 frames, ")
    assert re.fullmatch(r"read 40 of about 40 frames, \d+ a second, 0:00:00 left", told[39])
    assert call("a.mp4", "--run", "runs/video/sprites") == 0
    told = capsys.readouterr().err.splitlines()
    assert told[0].startswith("labelled ")
    assert told[-1].startswith("labelled 40 of about 40 frames, ")
