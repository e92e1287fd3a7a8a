"""Frames of cameras and addresses."""

import functools
import http.server
import io
import itertools
import threading
import time

import numpy as np
import pytest
import rtsp
from numbered import KINDS, number, numbered, write
from PIL import Image

from core.errors import InputError
from video.streams.reader import open_source


def test_a_camera_that_is_not_there_is_one_line():
    with pytest.raises(
        InputError, match=r"^camera 63: does not open: is it plugged in, and free\?$"
    ):
        open_source("63")


class Server(http.server.SimpleHTTPRequestHandler):
    """Files, and at /live a camera: pictures without end, one every 30 ms."""

    def do_GET(self):
        if self.path != "/live":
            super().do_GET()
            return
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        try:
            for i in range(1000):
                picture = io.BytesIO()
                Image.fromarray(numbered(i % 64)).save(picture, "JPEG")
                kind = "--frame\r\nContent-Type: image/jpeg"
                head = f"{kind}\r\nContent-Length: {picture.tell()}\r\n\r\n"
                self.wfile.write(head.encode() + picture.getvalue() + b"\r\n")
                time.sleep(0.03)
        except OSError:  # the reader has enough
            return

    def log_message(self, format, *args):
        """Say nothing."""


@pytest.fixture
def address(tmp_path):
    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Server, directory=tmp_path)
    ) as server:
        threading.Thread(target=server.serve_forever, args=[0.01], daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize(("name", "code"), KINDS)
def test_a_recording_comes_whole_over_http(tmp_path, address, name, code):
    frames = open_source(f"http://{address}/{write(tmp_path / name, code=code).name}")
    assert not frames.live
    assert [number(frame.pixels) for frame in frames] == list(range(40))


def test_a_camera_over_http_is_live_and_its_times_are_those_of_arrival(address):
    frames = open_source(f"http://me:secret@{address}/live")
    assert frames.live
    assert frames.name == f"http://{address}/live"
    start = time.monotonic()
    seen = [next(frames) for _ in range(12)]
    passed = time.monotonic() - start
    frames.close()
    assert [number(frame.pixels) for frame in seen] == list(range(12))
    assert seen[0].seconds == 0
    assert 0 < seen[-1].seconds <= passed + 0.3
    assert all(later.seconds > frame.seconds for frame, later in itertools.pairwise(seen))


def test_a_camera_over_rtsp_is_live_and_its_times_are_those_of_the_sender(tmp_path):
    intervals = np.random.default_rng(0).integers(20, 200, 39) / 1000
    with rtsp.camera(write(tmp_path / "a.mp4"), np.cumsum([7, *intervals]).tolist()) as address:
        frames = open_source(address)
        assert frames.live
        seen = list(frames)
    assert [number(frame.pixels) for frame in seen] == list(range(40))
    # FFmpeg takes the first frame for one interval of its supposed rate before the second.
    assert np.diff([frame.seconds for frame in seen])[1:] == pytest.approx(intervals[1:], abs=1e-3)


def test_an_address_without_a_video_is_one_line_without_its_password(tmp_path, address):
    (tmp_path / "text").write_text("no video\n" * 50)
    for path in ("gone.mp4", "text"):
        with pytest.raises(
            InputError, match=rf"^http://{address}/{path}: does not open: is the address right"
        ):
            open_source(f"http://me:secret@{address}/{path}")
    with pytest.raises(InputError, match=r"^rtsp://127\.0\.0\.1:9/door: does not open"):
        open_source("rtsp://me:secret@127.0.0.1:9/door")
