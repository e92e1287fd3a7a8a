"""Written videos, read again: what is on them, when, and that they are whole or not there."""

import resource
from pathlib import Path

import numpy as np
import pytest

from core.errors import InputError
from video.labels.formats import Span
from video.pictures.drawing import palette
from video.pictures.overlay import Overlay
from video.streams.frames import Frame
from video.streams.reader import open_source

CLASSES = ("klid", "běh", "pád")
SUFFIXES = [".webm", ".mp4"]


def frames(count, rate=10.0, size=(240, 360)):
    """Grey frames, frame i of brightness 10 i."""
    return [Frame(i, i / rate, np.full((*size, 3), 10 * i % 256, np.uint8)) for i in range(count)]


def write(path, source, labels, spans=(), rate=10.0, classes=CLASSES):
    with Overlay(path, rate, classes, spans) as overlay:
        for frame, label in zip(source, labels, strict=True):
            overlay.write(frame, label)
    return list(open_source(path))


def near(pixels, colour, tolerance=30):
    return np.abs(pixels.astype(int) - colour).max() < tolerance


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_under_the_frame_are_label_and_strip(tmp_path, suffix):
    labels = [0] * 10 + [1] * 10
    spans = [Span(0.0, 1.0, "klid"), Span(1.0, 2.0, "běh")]
    seen = write(tmp_path / f"a{suffix}", frames(20), labels, spans)
    assert len(seen) == 20
    for i, frame in enumerate(seen):
        assert frame.seconds == pytest.approx(i / 10, abs=1e-3)
        height, width = frame.pixels.shape[:2]
        assert (width, height % 2) == (360, 0)
        assert near(frame.pixels[10:230, 10:-10], 10 * i)  # the frame as it was
        assert near(frame.pixels[252:256, 12:16], palette(3)[labels[i]], 60)  # the label's colour
        strip = frame.pixels[-5:-3].astype(int).mean(0)
        mark = round(359 * i / 20)
        assert strip[max(0, mark - 1) : mark + 2].max() > 180
        for x in (40, 150, 210, 330):
            if abs(x - mark) > 8:
                bright = 1 if x < mark else 0.45
                assert np.abs(strip[x] - bright * palette(3)[x // 180]).max() < 50, (i, x)


def test_names_of_labels_are_written(tmp_path):
    one, other, same = (
        write(tmp_path / "a.mp4", frames(1), [label], classes=classes)[0]
        .pixels[240:268, 30:200]
        .astype(int)
        for label, classes in ((0, ["klid"]), (0, ["běh"]), (0, ["klid"]))
    )
    assert (one > 150).sum() > 100
    assert np.abs(one - other).max() > 100
    assert np.array_equal(one, same)


def test_a_strip_of_what_is_known_shows_the_last_half_minute(tmp_path):
    source = [Frame(i, float(i), np.zeros((240, 360, 3), np.uint8)) for i in range(50)]
    seen = write(tmp_path / "a.mp4", source, [0] * 10 + [1] * 30 + [2] * 10, rate=1.0)
    row = seen[20].pixels[-4].astype(int)  # from -10 to 21 seconds
    assert near(row[40], (43, 43, 56))
    assert near(row[170], palette(3)[0])
    assert near(row[300], palette(3)[1])
    assert near(row[-4], palette(3)[1])
    row = seen[49].pixels[-4].astype(int)  # from 19 to 50 seconds: the first label is forgotten
    assert near(row[4], palette(3)[1])
    assert near(row[-4], palette(3)[2])


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_frames_of_variable_rate_are_shown_at_their_times(tmp_path, suffix):
    times = [0.0, 0.1, 0.12, 0.14, 0.9, 1.0, 2.5]
    source = [Frame(i, t, np.full((240, 360, 3), 30 * i, np.uint8)) for i, t in enumerate(times)]
    seen = write(tmp_path / f"a{suffix}", source, [0] * 7, [Span(0.0, 3.0, "klid")], rate=20.0)
    assert len(seen) == 60
    for frame in seen:
        shown = round(frame.pixels[20:200, 20:-20].mean() / 30)
        due = max(i for i in range(7) if times[i] <= frame.seconds + 0.026)  # begun, to half a tick
        assert shown == due, frame.seconds


@pytest.mark.parametrize("size", [(1, 1), (37, 51), (32, 32), (10, 2000), (1080, 1920), (2000, 10)])
def test_frames_of_any_size_are_drawn(tmp_path, size):
    (frame,) = write(tmp_path / "a.mp4", frames(1, size=size), [0], classes=["x" * 200])
    height, width = frame.pixels.shape[:2]
    assert height % 2 == width % 2 == 0
    assert 360 <= width <= 1280 or size[0] == 2000


@pytest.mark.parametrize("name", ["a.avi", "a", "a.gif", "webm"])
def test_other_suffixes_are_one_line(tmp_path, name):
    with pytest.raises(
        InputError, match=rf"{name}: an overlay can be a \.webm .* or a \.mp4"
    ) as error:
        Overlay(tmp_path / name, 25, CLASSES)
    assert "\n" not in str(error.value)


def test_what_cannot_be_written_is_one_line(tmp_path):
    with pytest.raises(InputError, match=r"cannot write .*gone/a\.mp4: No such file"):
        write(tmp_path / "gone" / "a.mp4", frames(1), [0])


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_full_disk_is_one_line_and_leaves_the_old_file(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    path.write_text("old")
    noise = np.random.default_rng(0).integers(0, 256, (25, 240, 360, 3), dtype=np.uint8)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        with pytest.raises(
            InputError, match=r"cannot write .*: it came out damaged; is the disk full\?"
        ):
            write(path, [Frame(i, i / 10, pixels) for i, pixels in enumerate(noise)], [0] * 25)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_video_is_whole_or_not_there(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    other = tmp_path / f"a.partial{suffix}"
    other.write_text("a file of the user's")

    def interrupted():
        with Overlay(path, 10, CLASSES) as overlay:
            for frame in frames(20):
                overlay.write(frame, 0)
                assert not path.exists()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == [other]
    assert other.read_text() == "a file of the user's"
    assert len(write(path, frames(20), [0] * 20)) == 20
    assert sorted(tmp_path.iterdir()) == sorted([other, path])


@pytest.mark.parametrize("rate", [0.5, 9.20730830096389, 23.976, 30000 / 1001, 59.94, 1000.0])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_rates_are_kept_up_to_sixty(tmp_path, suffix, rate):
    seen = write(tmp_path / f"a{suffix}", frames(8, rate), [0] * 8, rate=rate)
    ticks = [i / min(rate, 60) for i in range(len(seen))]
    assert [frame.seconds for frame in seen] == pytest.approx(ticks, abs=1e-3)
    assert len(seen) == (8 if rate <= 60 else 1)


def test_opencv_and_ffmpeg_keep_quiet(tmp_path, capfd):
    for suffix in SUFFIXES:
        write(tmp_path / f"a{suffix}", frames(3), [0] * 3)
    assert capfd.readouterr() == ("", "")


def test_odd_names_are_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a:b.mp4", "žluť %d.webm"):
        assert len(write(Path(name), frames(3), [0] * 3)) == 3
