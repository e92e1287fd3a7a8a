"""Moving sprites: a function of their seed, distinguished only by motion, and written as videos."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from core.errors import InputError
from datasets.videos import labelled, sprites
from datasets.videos.clips import FrameLabels
from datasets.videos.sprites import CLASSES, SIZE, _paths, _random


def centres(frames):
    """Centre of the brightness above the ground, in pixels: x, y, and how much there is."""
    light = (
        frames[:, 0].float() - frames.flatten(1).float().median(1).values[:, None, None] - 40
    ).clamp(0)
    mass = light.sum((1, 2))
    ramp = torch.arange(SIZE) + 0.5
    return (light.sum(1) @ ramp) / mass, (light.sum(2) @ ramp) / mass, mass


def truth(seed, number):
    given = sprites.clip(seed, number).given
    assert isinstance(given, FrameLabels)
    return given.labels


def of(action, count=20):
    """Frames of several clips in which the action is shown, one run of it from each."""
    rows = {number: truth(0, number) == CLASSES.index(action) for number in range(200)}
    return [sprites.draw(0, number)[rows[number]] for number in rows if rows[number].any()][:count]


def test_a_clip_is_a_function_of_seed_and_number():
    clip = sprites.clip(3, 7)
    assert not isinstance(clip.source, Path)
    frames = clip.source()
    labels = clip.labels([0.0] * len(frames))
    assert frames.dtype == torch.uint8
    assert frames.shape == (len(labels), 1, SIZE, SIZE)
    assert torch.equal(frames, sprites.draw(3, 7))
    assert torch.equal(labels, truth(3, 7))
    for other in ((3, 8), (4, 7)):
        assert not torch.equal(frames[:72], sprites.draw(*other)[:72])
        assert sprites.clip(*other).name != clip.name


def test_three_different_actions_of_24_to_40_frames():
    seen = torch.zeros(len(CLASSES), dtype=torch.int64)
    for number in range(200):
        actions, lengths = truth(0, number).unique_consecutive(return_counts=True)
        assert len(set(actions.tolist())) == 3
        assert 24 <= lengths.min() <= lengths.max() <= 40
        seen += actions.bincount(minlength=len(CLASSES))
    assert seen.min() > 0.7 * 600 / len(CLASSES)
    assert seen.max() < 1.3 * 600 / len(CLASSES)


@pytest.mark.parametrize(
    ("action", "coordinate", "sign"),
    [("left", 0, -1), ("right", 0, 1), ("grow", 2, 1), ("shrink", 2, -1)],
)
def test_straight_actions_change_one_thing_all_the_time(action, coordinate, sign):
    for frames in of(action):
        seen = torch.stack(centres(frames))
        others = seen[[n for n in range(3 if coordinate < 2 else 2) if n != coordinate]]
        assert (sign * (seen[coordinate][4:] - seen[coordinate][:-4]) > 0).all()
        assert (others / others.mean(1, keepdim=True) - 1).abs().max() < 0.2


def test_what_is_still_stays():
    for frames in of("still"):
        x, y, _ = centres(frames)
        assert max(x.std(), y.std()) < 0.1


@pytest.mark.parametrize(("action", "sign"), [("clockwise", 1), ("anticlockwise", -1)])
def test_turns(action, sign):
    for frames in of(action):
        x, y, _ = centres(frames)
        dx, dy = x.diff(), y.diff()
        turn = dx[:-1] * dy[1:] - dy[:-1] * dx[1:]  # y points down: a clockwise turn is positive
        assert (sign * turn > 0).all()


def test_bounces_go_up_and_down_in_parabolas():
    for frames in of("bounce"):
        x, y, _ = centres(frames)
        assert x.std() < 0.1
        falling = y.diff(n=2)  # downwards, apart from the moments on the ground
        assert (falling > 0).float().mean() > 0.7
        assert y.max() - y.min() > 6


def cells(numbers):
    """In which of 6x6x6 cells x, y and size of each frame are, and the frame's action."""
    path = torch.cat([_paths(_random(0, number)) for number in numbers])
    cell = (path * 6).long().clamp(0, 5) @ torch.tensor([36, 6, 1])
    return cell, torch.cat([truth(0, number) for number in numbers])


def test_place_and_size_hardly_tell_the_action():
    cell, label = cells(range(1500))
    counts = torch.zeros(216, len(CLASSES)).index_put_(
        (cell, label), torch.ones(len(label)), accumulate=True
    )
    cell, label = cells(range(1500, 1800))
    assert 0.11 < (counts.argmax(1)[cell] == label).float().mean() < 0.2  # chance is 0.125


def test_the_most_similar_frame_hardly_tells_the_action():
    labels = torch.cat([truth(1, number) for number in range(100)])
    frames = torch.cat([sprites.draw(1, number) for number in range(100)]).float()
    small = torch.nn.functional.avg_pool2d(frames, 2).flatten(1)
    small = torch.nn.functional.normalize(small - small.mean(1, keepdim=True))
    nearest = (small[-1000:] @ small[:-1000].T).argmax(1)
    assert (labels[nearest] == labels[-1000:]).float().mean() < 0.3


def test_splits_are_apart_and_reached_by_name():
    splits = sprites.load(seed=2, train=5)
    names = [
        [clip.name for clip in part] for part in (splits.validation, splits.test, splits.train)
    ]
    assert [len(part) for part in names] == [100, 200, 5]
    assert [name for part in names for name in part] == [
        f"sprites-2-{number}" for number in range(305)
    ]
    assert labelled.load("sprites").classes == splits.classes == CLASSES


def test_labels_of_another_length_are_an_error():
    clip = sprites.clip(0, 0)
    with pytest.raises(
        InputError,
        match=r"^sprites-0-0: 3 frames, but \d+ are labelled; cut or complete the labels, or allow",
    ):
        clip.labels([0.0, 0.1, 0.2])


def test_a_pair_does_two_things_at_once():
    splits = sprites.load_pairs(seed=1, train=3)
    assert splits.multi
    assert [len(part) for part in (splits.train, splits.validation, splits.test)] == [3, 100, 200]
    clip = sprites.pair(1, 5)
    assert callable(clip.source)
    frames = clip.source()
    labels = clip.labels([0.0] * len(frames))
    assert labels.shape == (len(frames), len(CLASSES))
    assert set(labels.sum(1).tolist()) <= {1, 2}
    assert torch.equal(sprites.draw_pair(1, 5), frames)
    pictures = frames[:, 0].float()
    assert (pictures > 180).flatten(1).any(1).all(), "the light one is in front"
    assert (pictures < 55).flatten(1).any(1).float().mean() > 0.8
    both = [sprites.pair(1, n).labels([0.0] * len(sprites.draw_pair(1, n))) for n in range(40)]
    assert 0.7 < (torch.cat(both).sum(1) == 2).float().mean() < 0.95


def test_a_written_clip_shows_the_same(tmp_path):
    clip = sprites.write(tmp_path / "sample.mp4", seed=0, number=5)
    assert [file.name for file in tmp_path.iterdir()] == ["sample.mp4"]
    video = cv2.VideoCapture(str(tmp_path / "sample.mp4"))
    assert video.get(cv2.CAP_PROP_FPS) == sprites.RATE
    frames = []
    while (read := video.read())[0]:
        frames.append(cv2.resize(read[1][..., 1], (SIZE, SIZE), interpolation=cv2.INTER_AREA))
    drawn = sprites.draw(0, 5)[:, 0].numpy().astype(int)
    assert len(frames) == len(drawn) == len(clip.labels([0.0] * len(frames)))
    assert np.abs(np.stack(frames) - drawn).mean() < 4  # grey levels


def test_a_sample_that_cannot_be_written_is_one_line(tmp_path):
    with pytest.raises(InputError, match=r"a.webm: a sample is an MPEG-4 video; call it a.mp4$"):
        sprites.write(tmp_path / "a.webm", 0, 0)
    with pytest.raises(
        InputError, match=r"^cannot write .*missing/a.mp4: No such file or directory$"
    ):
        sprites.write(tmp_path / "missing" / "a.mp4", 0, 0)
