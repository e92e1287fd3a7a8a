"""Folders of pictures as films: their order, their times, and what is missing."""

import pytest
from numbered import number, numbered
from PIL import Image

from core.errors import InputError
from video.streams.reader import open_source


def test_a_folder_gives_its_pictures_in_the_order_of_their_numbers(tmp_path):
    for i in (0, 1, 2, 10, 11):
        Image.fromarray(numbered(i)).save(tmp_path / f"frame{i}.png")
    Image.new("L", (10, 20)).save(tmp_path / "frame9.png")  # grey, and of another size
    (tmp_path / "frame3.txt").write_text("no picture")
    (tmp_path / "other").mkdir()
    Image.fromarray(numbered(5)).save(tmp_path / "other" / "frame5.png")
    frames = open_source(tmp_path, rate=2)
    seen = list(frames)
    assert [number(frame.pixels) for frame in seen] == [0, 1, 2, 0, 10, 11]
    assert [frame.index for frame in seen] == [0, 1, 2, 3, 4, 5]
    assert [frame.seconds for frame in seen] == [0, 0.5, 1, 1.5, 2, 2.5]
    gap = f"{tmp_path}: the numbers jump from frame2.png to frame9.png: 6 frames are missing there"
    assert frames.remarks == [gap]
    (tmp_path / "even").mkdir()
    for i in (0, 5, 10, 15):
        Image.fromarray(numbered(i)).save(tmp_path / "even" / f"{i}.png")
    every_fifth = open_source(tmp_path / "even", rate=2)
    assert len(list(every_fifth)) == 4
    assert every_fifth.remarks == []

    supposed = open_source(tmp_path)
    assert [frame.seconds for frame in supposed] == pytest.approx([i / 25 for i in range(6)])
    no_times = f"{tmp_path}: pictures have no times, taken as 25 a second (--fps)"
    assert supposed.remarks == [no_times, gap]


def test_a_broken_picture_of_a_folder_is_named_in_its_turn(tmp_path):
    Image.fromarray(numbered(1)).save(tmp_path / "1.png")
    (tmp_path / "2.png").write_bytes((tmp_path / "1.png").read_bytes()[:60])
    frames = open_source(tmp_path)
    assert number(next(frames).pixels) == 1
    with pytest.raises(InputError, match=r"2\.png: the picture is broken"):
        next(frames)


@pytest.mark.parametrize(
    ("numbers", "line"),
    [
        ((1, 2, 3, 5), "the numbers jump from 3.png to 5.png: a frame is missing there"),
        (
            (0, 1, 2, 5, 6, 7, 12, 13),
            "the numbers jump 2 times, first from 2.png to 5.png: 6 frames are missing",
        ),
        (
            (0, 5, 10, 20, 25, 40, 45, 50),
            "the numbers jump 2 times, first from 10.png to 20.png: 3 frames are missing",
        ),
    ],
)
def test_all_missing_frames_of_a_folder_are_counted(tmp_path, numbers, line):
    for n in numbers:
        Image.fromarray(numbered(n)).save(tmp_path / f"{n}.png")
    frames = open_source(tmp_path, rate=10)
    assert len(list(frames)) == len(numbers)
    assert frames.remarks == [f"{tmp_path}: {line}"]
