"""Frames become labels: files, streams and whole sequences alike."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from labeller import CLASSES, CONFIG, drawn, make_trained, save_run, write
from PIL import Image

from core.base_cell import State
from datasets.videos.clips import Clip, OneLabel
from video.config import Config
from video.labels.probabilities import features_of, follow, label_recording
from video.labels.segments import to_segments
from video.reading import read
from video.streams.reader import open_source
from video.trained import build
from vision.encoder import make_encoder


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return save_run(tmp_path / "run")


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
@pytest.mark.parametrize("layers", [1, 2])
def test_the_state_is_carried_bit_for_bit(cell: str, layers: int):
    core = make_trained(replace(CONFIG, cell=cell, layers=layers)).labeller.recurrent
    assert core is not None
    core.engine = "reference"
    a = torch.randn(50, 1, CONFIG.frame)
    with torch.no_grad():
        whole, final = core(a)
        for window in (1, 7, 32):
            state: State | None = None
            parts = []
            for part in a.split(window):
                outputs, state = core(part, state)
                parts.append(outputs)
            assert torch.equal(torch.cat(parts), whole)
            assert state is not None
            assert all(torch.equal(*parts) for parts in zip(state, final, strict=True))


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn", "none"])
def test_a_stream_is_labelled_as_the_recording_and_as_the_whole_sequence(cell: str):
    """The first two bit for bit; a whole sequence in one product is rounded otherwise."""
    made, frames = make_trained(replace(CONFIG, cell=cell)), drawn()
    streamed = torch.stack([log_p for _, log_p in follow(made, iter(frames))])
    numbers, seconds, recorded = label_recording(made, iter(frames)).read()
    assert torch.equal(streamed, recorded)
    assert (numbers, seconds) == (
        [frame.index for frame in frames],
        [frame.seconds for frame in frames],
    )
    pixels = torch.stack(
        [made.encoder.preprocessing(Image.fromarray(frame.pixels)) for frame in frames]
    )
    whole, _ = made.label(made.features(pixels))
    assert torch.equal(streamed.argmax(1), whole.argmax(1))
    assert torch.allclose(streamed, whole, atol=1e-3)
    assert len(to_segments(whole.argmax(1))) > 3, "the labels change"


def test_a_stream_is_labelled_before_its_next_frame_comes():
    frames, given = drawn(), []
    stream = (given.append(frame.index) or frame for frame in frames)
    for frame, _ in follow(make_trained(), stream):
        assert given[-1] == frame.index


def test_two_directions_see_what_comes():
    made, frames = make_trained(replace(CONFIG, bidirectional=True)), drawn()
    _, _, log_p = label_recording(made, frames).read()
    whole, _ = made.label(
        torch.cat([features_of(made, frame, made.preparation()) for frame in frames])
    )
    assert torch.equal(log_p, whole)
    _, _, part = label_recording(made, frames[:20]).read()
    assert not torch.allclose(part[-1], log_p[19], atol=1e-3)


def test_a_frozen_encoder_is_used_as_in_training(tmp_path: Path):
    config = Config(
        encoder="lite0", frame=4, hidden=4, data=str(tmp_path), cache=str(tmp_path / "cache")
    )
    made = build(config, make_encoder("lite0"), CLASSES)
    clip = Clip("a", write(tmp_path / "a.avi", 2, "MJPG"), OneLabel(0), "a")
    (seen,) = read(config, made.encoder, [clip])
    prepare = made.preparation()
    frames = open_source(tmp_path / "a.avi")
    looked = torch.cat([features_of(made, frame, prepare) for frame in frames])
    assert looked.dtype == seen.frames.dtype
    assert torch.allclose(looked.float(), seen.frames.float(), atol=2e-3, rtol=2e-3)
