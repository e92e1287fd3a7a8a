"""Clips as the labeller meets them: what a step gets, what is read, kept and left out."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from fading import LENGTHS, batches_of, write, write_clips
from videos import put

from core.errors import InputError
from datasets.videos import labelled, sprites
from datasets.videos.clips import Clip, OneLabel
from video import reading
from video.config import Config
from video.data import PADDING, TrainingBatches
from video.reading import LoadedClip, read, training_rate
from video.streams.preparation import Preparation
from video.streams.reader import open_source
from vision.encoder import TINY, Encoder, make_encoder

SMALL = replace(TINY, size=16)


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    return write_clips(tmp_path / "data")


def epochs(batches: TrainingBatches, count: int) -> list[list[tuple[list[int], int]]]:
    """The places of the steps of some epochs, each known by its number of steps."""
    ends = [batches._ends(epoch)[-1] for epoch in range(count)]
    return [
        [batches.place(sum(ends[:n]) + step) for step in range(end)] for n, end in enumerate(ends)
    ]


@pytest.mark.parametrize(
    ("lengths", "batch"), [((23, 9, 16, 12, 8), 2), ((9, 4, 5, 6), 2), ((7,), 3), ((5, 13), 5)]
)
def test_every_window_of_every_clip_comes_in_each_epoch(lengths, batch):
    batches = batches_of(lengths, batch)
    whole = {(clip, start) for clip, length in enumerate(lengths) for start in range(0, length, 4)}
    orders = set()
    for places in epochs(batches, 4):
        seen = Counter(
            (clip, start)
            for chosen, start in places
            for clip in set(chosen)
            if start < lengths[clip]
        )
        assert seen.keys() == whole
        again = [window for window, count in seen.items() if count > 1]
        assert len({clip for clip, _ in again}) <= -len(lengths) % batch, (
            "only those that fill the last group up"
        )
        assert all(len(chosen) == batch for chosen, _ in places)
        orders.add(tuple(chosen[0] for chosen, _ in places))
        for (before, start), (chosen, then) in pairwise(places):
            assert then == 0 or (chosen == before and then == start + 4), (
                "the state goes on with the same clips"
            )
    assert len(lengths) == 1 or len(orders) > 1, "each epoch has an order of its own"


def test_a_step_is_a_function_of_seed_and_step():
    steps = [17, 3, 40, 0, 17]
    one, two = batches_of(LENGTHS["train"], 2), batches_of(LENGTHS["train"], 2)
    asked = {step: one(step, slice(0, 2)) for step in steps}
    for step in sorted(asked):
        for ours, theirs in zip(asked[step], two(step, slice(0, 2)), strict=True):
            assert torch.equal(ours, theirs)
    other = batches_of(LENGTHS["train"], 2, seed=1)
    assert [other.place(step) for step in range(20)] != [one.place(step) for step in range(20)]


def test_a_batch_holds_the_windows_of_its_clips_then_padding():
    batches = batches_of(LENGTHS["train"], 2)
    for step in range(30):
        chosen, start = batches.place(step)
        frames, labels, first = batches(step, slice(0, 2))
        assert first.item() == (start == 0)
        assert len(frames) == min(4, max(LENGTHS["train"][clip] for clip in chosen) - start)
        for row, clip in enumerate(chosen):
            for t in range(len(frames)):
                there = start + t < LENGTHS["train"][clip]
                assert labels[t, row] == (100 * (clip + 1) + start + t if there else PADDING)
                assert frames[t, row].tolist() == ([clip + 1, start + t + 1] if there else [0, 0])


def test_processes_share_the_rows_of_a_batch():
    batches = batches_of(LENGTHS["train"], 4)
    for step in range(12):
        frames, labels, first = batches(step, slice(0, 4))
        for rows in (slice(0, 2), slice(2, 4)):
            ours = batches(step, rows)
            for part, whole in zip(ours, (frames[:, rows], labels[:, rows], first), strict=True):
                assert torch.equal(part, whole)


def tiny(seed: int = 0) -> Encoder:
    torch.manual_seed(seed)
    return make_encoder("tiny", preprocessing=SMALL)


def keeping(tmp_path: Path, **options) -> Config:
    """A configuration whose features are kept in files."""
    return Config(encoder="lite0", cache=str(tmp_path / "cache"), **options)


def forbidden(*_, **__):
    raise AssertionError("decoded again")


def same(one: Sequence[LoadedClip], other: Sequence[LoadedClip]) -> bool:
    return all(
        torch.equal(a.frames, b.frames)
        and a.seconds == b.seconds
        and torch.equal(a.labels, b.labels)
        for a, b in zip(one, other, strict=True)
    )


def test_features_are_those_of_the_frames_and_read_from_their_files(clips, tmp_path, monkeypatch):
    config, encoder, train_clips = keeping(tmp_path), tiny(), labelled.load(clips).train
    first = read(config, encoder, train_clips)
    for clip, made in zip(train_clips, first, strict=True):
        assert isinstance(clip.source, Path)
        shown = list(Preparation(config, encoder.preprocessing).all(open_source(clip.source)))
        pixels = torch.stack(shown)
        times = [frame.seconds for frame in open_source(clip.source)]
        with torch.no_grad():
            grid = encoder(pixels)
        expected = torch.cat((grid.mean(1), grid.amax(1)), -1)
        torch.testing.assert_close(made.frames.float(), expected, rtol=1e-3, atol=1e-3)
        assert made.frames.dtype == torch.float16
        assert made.seconds == times == pytest.approx([n / 10 for n in range(len(times))])
        assert len(made.labels) == len(times)
    monkeypatch.setattr(reading, "_from_film", forbidden)
    assert same(read(config, encoder, train_clips), first)
    with pytest.raises(AssertionError, match="decoded again"):
        read(replace(config, stride=2), encoder, train_clips)
    with pytest.raises(AssertionError, match="decoded again"):
        read(config, tiny(seed=1), train_clips)


def test_another_encoder_stride_or_video_has_features_of_its_own(clips, tmp_path):
    config, (clip, *_) = keeping(tmp_path), labelled.load(clips).train
    first = read(config, tiny(), [clip])
    assert not torch.equal(read(config, tiny(seed=1), [clip])[0].frames, first[0].frames)
    (every_third,) = read(replace(config, stride=3), tiny(), [clip])
    torch.testing.assert_close(every_third.frames, first[0].frames[::3], rtol=1e-2, atol=1e-2)
    assert every_third.labels.tolist() == first[0].labels[::3].tolist()
    assert isinstance(clip.source, Path)
    write(clip.source, [255 - 9 * n for n in range(23)])
    assert not torch.equal(read(config, tiny(), [clip])[0].frames, first[0].frames)


def test_a_folder_of_frames_in_another_order_is_another_video(tmp_path):
    folder = tmp_path / "frames"
    folder.mkdir()
    for name, level in (("10", 20), ("2", 220)):
        cv2.imwrite(str(folder / f"{name}.png"), np.full((20, 20, 3), level, dtype=np.uint8))
    clip = Clip("frames", folder, OneLabel(0), "frames")
    config = keeping(tmp_path)
    (before,) = read(config, tiny(), [clip])
    (folder / "10.png").rename(
        folder / "1.png"
    )  # now it comes first, and is still the first by name
    (after,) = read(config, tiny(), [clip])
    assert torch.equal(after.frames, before.frames.flip(0))


@pytest.mark.parametrize("damage", ["empty", "garbage", "cut", "flipped", "other"])
def test_a_damaged_file_of_features_is_made_again(clips, tmp_path, damage):
    config, chosen = keeping(tmp_path), labelled.load(clips).validation
    first = read(config, tiny(), chosen)
    (file,) = (tmp_path / "cache").rglob("*.npz")
    good = file.read_bytes()
    middle = len(good) // 2
    if damage == "other":
        np.savez(file, something=np.zeros(3))
    else:
        file.write_bytes(
            {
                "empty": b"",
                "garbage": b"no archive",
                "cut": good[:middle],
                "flipped": good[:middle] + bytes([good[middle] ^ 255]) + good[middle + 1 :],
            }[damage]
        )
    assert same(read(config, tiny(), chosen), first)
    assert file.read_bytes() == good


def test_where_nothing_can_be_written_features_stay_in_memory(clips, tmp_path, capsys):
    (tmp_path / "cache").write_text("a file where the folder should be")
    chosen = labelled.load(clips).validation
    (made,) = read(keeping(tmp_path), tiny(), chosen)
    assert len(made.frames) == LENGTHS["val"][0]
    told = capsys.readouterr().err
    assert told.startswith(f"warning: cannot make the folder {tmp_path / 'cache'}")
    assert told.endswith("its features stay in memory\n")


@pytest.mark.parametrize("encoder", ["tiny", "lite0"])
def test_clips_that_disagree_with_their_labels_or_cannot_be_read_are_left_out(
    clips, tmp_path, capsys, encoder
):
    config = replace(keeping(tmp_path), encoder=encoder)
    write(clips / "clips/train_1.avi", range(8))
    (clips / "clips/train_2.avi").write_bytes(b"no video")
    found = read(config, tiny(), labelled.load(clips).train)
    assert [clip.name for clip in found] == ["train_0", "train_3", "train_4"]
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 2
    counts = f"8 frames, but 9 are labelled in {clips}/labels.csv"
    one = rf"warning: {clips}/clips/train_1.avi: {counts}; .* left out"
    assert re.fullmatch(one, told[0])
    assert re.fullmatch(rf"warning: {clips}/clips/train_2.avi: .*; this clip is left out", told[1])


def test_no_clip_at_all_is_an_error(clips, tmp_path):
    for file in (clips / "clips").glob("train_*"):
        file.write_bytes(b"no video")
    with pytest.raises(InputError, match="not one of 5 clips can be read"):
        read(keeping(tmp_path, data="mine"), tiny(), labelled.load(clips).train)


def test_drawn_clips_are_shown_at_the_side_asked_for():
    config = Config(encoder="tiny")
    clip = sprites.clip(0, 0)
    (made,) = read(config, make_encoder("tiny", preprocessing=replace(TINY, size=32)), [clip])
    assert torch.equal(made.frames, sprites.draw(0, 0).expand(-1, 3, -1, -1))
    assert made.seconds == pytest.approx([n / sprites.RATE for n in range(len(made.labels))])
    (small,) = read(replace(config, stride=2), tiny(), [clip])
    assert small.frames.shape == ((len(made.labels) + 1) // 2, 3, 16, 16)
    assert small.seconds == pytest.approx(made.seconds[::2])
    assert torch.equal(small.labels, made.labels[::2])
    (kept,) = read(replace(config, encoder="lite0", cache="/none/at/all"), tiny(), [clip])
    assert kept.frames.shape == (len(made.labels), 2 * 96)


def test_the_rate_of_training_is_one_that_a_film_has(tmp_path):
    rates = (10.0, 12.0, 25.0, 30.0)
    films = [put(tmp_path / f"{rate:g}.mp4", 6, rate) for rate in rates]
    clips = [Clip(film.name, film, OneLabel(0), film.name) for film in films]
    assert training_rate(Config(stride=2), clips) == 6.0
    assert training_rate(Config(), clips[1:]) == 25.0
