"""Frames are encoded by several threads: the same bits, in order, and errors come through."""

import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from labeller import CONFIG, drawn, make_trained

from core.errors import InputError
from video.labels.probabilities import encode, features_of, label_recording
from video.streams.encoding import AHEAD, TASK, encoded
from video.streams.frames import Frame

FRAMES = 50


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_features_are_the_same_bits_for_any_number_of_threads(count: int, threads: None):
    made = make_trained()
    frames = drawn()[:FRAMES]
    prepare = made.preparation()
    single = [features_of(made, frame, prepare) for frame in frames]
    torch.set_num_threads(count)
    found = list(encode(made, iter(frames)))
    assert torch.get_num_threads() == count
    assert [frame.index for frame in found] == list(range(FRAMES))
    assert [frame.seconds for frame in found] == [frame.seconds for frame in frames]
    for frame, features in zip(found, single, strict=True):
        assert torch.equal(frame.features, features)


def test_several_threads_encode_and_one_decodes(threads: None):
    names = set[str]()
    two = threading.Barrier(2, timeout=60)

    def slow(picture: torch.Tensor) -> torch.Tensor:
        if threading.current_thread().name not in names:
            names.add(threading.current_thread().name)
            two.wait()  # so that both threads are at work at once
        return picture.flatten(1)

    decoders = set[str]()

    def decoded() -> Iterator[Frame]:
        for frame in drawn()[:FRAMES]:
            decoders.add(threading.current_thread().name)
            yield frame

    prepare = make_trained().preparation()
    assert len(list(encoded(decoded(), prepare, slow, threads=2))) == FRAMES
    assert len(names) == 2
    assert decoders == {threading.current_thread().name}


def test_no_more_frames_are_decoded_than_wait_for_an_encoder():
    given: list[int] = []

    def decoded() -> Iterator[Frame]:
        for frame in drawn():
            given.append(frame.index)
            yield frame

    prepare = make_trained().preparation()
    found = encoded(decoded(), prepare, lambda picture: picture.flatten(1), threads=1)
    next(found)
    assert len(given) == (AHEAD + 1) * TASK
    found.close()


def test_a_frame_that_cannot_be_decoded_ends_it_with_the_error():
    def decoded() -> Iterator[Frame]:
        yield from drawn()[:FRAMES]
        raise InputError("frame 50 is damaged")

    with pytest.raises(InputError, match="frame 50 is damaged"):
        label_recording(make_trained(), decoded())


@pytest.mark.parametrize("motion", [False, True])
def test_a_frame_that_is_shown_again_has_moved_no_more(motion: bool):
    made = make_trained(replace(CONFIG, motion=motion))
    first, second, *_ = drawn()
    held = replace(second, shown=3)
    found = list(encode(made, [first, held]))
    assert [len(frame.features) for frame in found] == [1, 3]
    once, again, last = found[1].features
    assert torch.equal(again, last)
    assert torch.equal(once, again) == (not motion)
