"""A slow reader of a live source gets the newest frames, and is told how many it missed."""

import itertools
import threading
import time

import cv2
import numpy as np
import pytest

from core.errors import InputError
from video.streams.frames import Frame
from video.streams.latest import Latest
from video.streams.reader import open_source


def frames(count, changed=None):
    """Frames one after another; each waits for `changed`, if given."""
    for i in range(count):
        if changed is not None:
            changed.acquire()
        yield Frame(i, i / 25, np.zeros((2, 2, 3), np.uint8))


def wait_for(condition):
    limit = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.001)


def test_a_reader_that_is_fast_enough_gets_every_frame():
    go = threading.Semaphore(0)
    latest = Latest(frames(50, go))
    for i in range(50):
        go.release()
        assert next(latest).index == i
    assert latest.skipped == 0
    assert next(latest, None) is None


def test_a_slow_reader_gets_the_newest_frame_and_the_number_skipped():
    go = threading.Semaphore(0)
    latest = Latest(frames(20, go))
    seen, come = [], 0
    for burst in (1, 6, 1, 12):
        go.release(burst)
        come += burst
        wait_for(lambda: latest.skipped == come - len(seen) - 1)  # noqa: B023
        seen.append(next(latest).index)
    assert seen == [0, 6, 7, 19]
    assert latest.skipped == 16
    assert list(latest) == []


def test_every_frame_is_either_seen_or_skipped():
    latest = Latest(frames(3000))
    seen = [frame.index for frame in latest if time.sleep(0.0002) is None]
    assert seen[-1] == 2999
    assert seen == sorted(seen)
    assert len(seen) + latest.skipped == 3000


def test_an_error_of_the_source_comes_after_its_last_frame():
    def broken():
        yield from frames(1)
        raise InputError("camera 0: unplugged")

    latest = Latest(broken())
    assert next(latest).index == 0
    with pytest.raises(InputError, match="camera 0: unplugged"):
        next(latest)


def test_close_stops_a_source_without_end():
    latest = Latest(Frame(i, i / 25, np.zeros((2, 2, 3), np.uint8)) for i in itertools.count())
    next(latest)
    latest.close()
    assert len(list(latest)) <= 1


def test_a_recording_played_live_goes_on_while_it_is_labelled(tmp_path):
    path, rate = tmp_path / "a.avi", 50
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), rate, (32, 32))
    for _ in range(60):
        writer.write(np.zeros((32, 32, 3), np.uint8))
    writer.release()
    source = open_source(path, live=True)
    assert source.live
    latest, start, late = Latest(source), time.monotonic(), []
    count = 0
    for frame in latest:
        late.append(time.monotonic() - start - frame.seconds)
        count += 1
        time.sleep(0.1)  # five frames long
    assert time.monotonic() - start > 59 / rate
    assert count + latest.skipped == 60
    assert latest.skipped > 30
    assert min(late) > -0.02  # none before its time
