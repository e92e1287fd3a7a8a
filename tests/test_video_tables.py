"""Segments and frames in tables: labels frame by frame, units and splits."""

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from videos import load_table, put, text

from core.errors import InputError
from datasets.videos import labelled
from datasets.videos.clips import SegmentLabels
from video.labels.formats import frames_csv, segments_csv, spans
from video.streams.reader import open_source

TENTHS = [i / 10 for i in range(12)]  # the times of the frames of a video of 12 at 10 a second


def names(splits, number, seconds=TENTHS):
    """The labels of clip `number`, as one word of initials."""
    clips = {
        clip.name: clip for part in (splits.train, splits.validation, splits.test) for clip in part
    }
    labels = clips[f"clip{number}"].labels(seconds)
    assert labels.dtype == torch.int64
    return "".join(splits.classes[label][0] for label in labels)


def rows(*lines, clips=3, filler="{clip},0,1,walk"):
    """A table of segments: `lines`, then one segment for each clip but the first."""
    return "\n".join([*lines, *(filler.format(clip=f"clip{number}") for number in range(1, clips))])


def test_segments_in_seconds_hold_the_frames_from_their_start_to_before_their_end(tmp_path):
    splits = load_table(
        tmp_path,
        rows(
            "clip,start,end,label",
            "clip0,0.2,0.5,walk",
            "clip0,0.5,0.75,run",
            filler="{clip},0.0,1.0,run",
        ),
    )
    assert splits.classes == ("background", "run", "walk")
    assert names(splits, 0) == "bbwwwrrrbbbb"
    assert names(splits, 0, [0, 0.19, 0.21, 0.49, 0.74, 0.76]) == "bbwwrb"  # of a variable rate
    assert names(splits, 1) == "rrrrrrrrrrbb"


@pytest.mark.parametrize("places", [2, 3, 6])
def test_rounded_seconds_hold_the_frames_that_they_are_those_of(tmp_path, places):
    seconds = [n * 1001 / 30000 for n in range(40)]
    bouts = [
        f"clip0,{seconds[n]:.{places}f},{seconds[n + 2]:.{places}f},walk" for n in range(0, 38, 4)
    ]
    splits = load_table(tmp_path, rows("clip,start,end,label", *bouts, filler="{clip},0.0,0.1,run"))
    assert names(splits, 0, seconds) == "wwbb" * 10


def test_segments_in_frames(tmp_path):
    splits = load_table(tmp_path, rows("clip,start,end,label", "clip0,2,5,walk", "clip0,5,8,run"))
    assert names(splits, 0) == "bbwwwrrrbbbb"
    assert names(splits, 0, [9.0] * 12) == "bbwwwrrrbbbb"  # whatever their times
    assert names(splits, 1) == "wbbbbbbbbbbb"


def test_an_end_that_is_the_last_frame_shows_from_what_follows(tmp_path):
    splits = load_table(
        tmp_path, rows("clip,start,end,label", "clip0,2,4,walk", "clip0,5,7,run", "clip0,10,10,run")
    )
    assert names(splits, 0) == "bbwwwrrrbbrb"


@pytest.mark.parametrize(
    ("heading", "row", "expected"),
    [
        ("file;Start (s);End (s);label", "clip0.mp4;0,2;0,5;walk", "bbwwwbbbbbbb"),
        (
            "video\tstart_time\tend_time\tlabel",
            "videos/clip0.mp4\t0:00:00.2\t0:0.5\twalk",
            "bbwwwbbbbbbb",
        ),
        (
            "start_seconds,end_seconds,clip,label",
            "0,1,clip0,walk",
            "wwwwwwwwwwbb",
        ),  # whole, but seconds
        (
            "clip,start_frame,stop_frame,label",
            "clip0,2.0,5.0,walk",
            "bbwwwbbbbbbb",
        ),  # decimals, but frames
        ("clip,start_frame,end_frame,start,end,label", "clip0,2,5,0.9,0.9,walk", "bbwwwbbbbbbb"),
    ],
)
def test_columns_tell_the_unit(tmp_path, heading, row, expected):
    again = [row.replace("clip0", f"clip{number}") for number in (1, 2)]
    splits = load_table(tmp_path, "\ufeff" + "\r\n".join([heading, row, *again]))
    clips = [*splits.train, *splits.validation, *splits.test]
    clip = next(clip for clip in clips if "clip0" in clip.name)
    assert clip.source == tmp_path / "videos" / "clip0.mp4"
    assert "".join(splits.classes[label][0] for label in clip.labels(TENTHS)) == expected


@given(
    cuts=st.lists(st.integers(0, 40), min_size=2, max_size=8, unique=True),
    frames=st.integers(0, 30),
    in_frames=st.booleans(),
    data=st.data(),
)
@settings(deadline=None)
def test_segments_agree_with_looking_for_each_frame(cuts, frames, in_frames, data):
    cuts = sorted(cuts)[: len(cuts) // 2 * 2]
    starts, ends = cuts[::2], cuts[1::2]
    labels = data.draw(st.lists(st.integers(1, 3), min_size=len(starts), max_size=len(starts)))
    early = 0 if in_frames else 0.0005  # tables are rounded to milliseconds
    seconds = sorted(data.draw(st.lists(st.floats(0, 50), min_size=frames, max_size=frames)))
    segments = SegmentLabels(starts, ends, labels, 0, in_frames, Path("labels.csv"))
    times = range(frames) if in_frames else seconds
    stop = frames if in_frames else max(seconds, default=0) + 1
    if ends[-1] > stop:
        with pytest.raises(InputError):
            segments.at(seconds)
    else:
        found = (
            [
                each
                for start, end, each in zip(starts, ends, labels, strict=True)
                if start <= t + early < end
            ]
            for t in times
        )
        assert segments.at(seconds).tolist() == [each[0] if each else 0 for each in found]


def test_the_background_has_the_name_that_is_asked_for(tmp_path):
    splits = load_table(
        tmp_path,
        rows("clip,start,end,label", "clip0,0,2,walk", "clip0,4,6,idle"),
        background="idle",
    )
    assert splits.classes == ("idle", "walk")
    assert names(splits, 0) == "wwiiiiiiiiii"


def test_frames(tmp_path):
    lines = [f"clip{number},{frame},{frame // 4 + 8}" for number in range(3) for frame in range(12)]
    splits = load_table(tmp_path, "\n".join(["clip,frame,label", *lines]))
    assert splits.classes == ("8", "9", "10")  # as numbers
    assert names(splits, 0) == "888899991111"


def test_given_splits(tmp_path):
    parts = ["train", "train", "val", "test", "validation"]
    lines = [
        f"clip{number},{frame},{frame % 2},{part}"
        for number, part in enumerate(parts)
        for frame in range(4)
    ]
    splits = load_table(tmp_path, "\n".join(["clip,frame,label,suggested_split", *lines]), clips=5)
    assert [
        [clip.name for clip in part] for part in (splits.train, splits.validation, splits.test)
    ] == [
        ["clip0", "clip1"],
        ["clip2", "clip4"],
        ["clip3"],
    ]


def test_exported_labels_are_read_again(tmp_path):
    labels = torch.tensor([0, 0, 0, 1, 1, 1, 1, 0, 0, 2, 2, 2])
    classes = ("background", "run", "walk")
    video = put(tmp_path / "clip0.mp4")
    seconds = [frame.seconds for frame in open_source(str(video))]
    for number in range(3):
        put(tmp_path / f"clip{number}.mp4")
        text(tmp_path / f"clip{number}.csv", segments_csv(spans(labels, seconds, classes)))
    splits = labelled.load(tmp_path)
    assert splits.classes == classes
    assert names(splits, 2, seconds) == "bbbrrrrbbwww"
    for number in range(3):
        exported = frames_csv(labels, seconds, classes, torch.zeros(12, 3))
        text(tmp_path / f"clip{number}.csv", exported)
    assert names(labelled.load(tmp_path), 2, seconds) == "bbbrrrrbbwww"


def test_exported_labels_of_behaviours_that_occur_at_once_are_read_again(tmp_path):
    classes = ("run", "walk")
    labels = torch.tensor([[0, 0], [1, 0], [1, 1], [0, 1]] * 3)
    for number in range(3):
        put(tmp_path / f"clip{number}.mp4")
        exported = frames_csv(labels, TENTHS, classes, torch.zeros(12, 2))
        text(tmp_path / f"clip{number}.frames.csv", exported)
    splits = labelled.load(tmp_path)
    assert (splits.classes, splits.multi) == (classes, True)
    assert torch.equal(splits.train[0].labels(TENTHS), labels)


@pytest.mark.parametrize("first", [0, 1, 12])
def test_an_index_without_a_name_goes_on_from_frame_to_frame(tmp_path, first):
    table = [",walk", *(f"{n},{n % 2}" for n in range(first, first + 12))]
    for number in range(3):
        put(tmp_path / f"clip{number}.mp4")
        text(tmp_path / f"clip{number}.csv", "\n".join(table))
    assert len(labelled.load(tmp_path).train) == 1
    table[3:5] = reversed(table[3:5])
    text(tmp_path / "clip2.csv", "\n".join(table))
    message = f"clip2.csv: line 4: row {first + 3} of clip2 comes after {first + 1}; the table"
    with pytest.raises(InputError, match=message):
        labelled.load(tmp_path)


@pytest.mark.parametrize("end", [".frames", ".segments", ".labels", "_labels"])
def test_a_table_may_have_the_name_of_its_film_and_an_ending(tmp_path, end):
    for number in range(3):
        put(tmp_path / f"clip{number}.mp4")
        text(tmp_path / f"clip{number}{end}.csv", "start,end,label\n0.0,0.5,walk\n")
    assert names(labelled.load(tmp_path), 2) == "wwwwwbbbbbbb"


def test_a_folder_of_frames_is_a_video(tmp_path):
    from PIL import Image

    for number in range(3):
        (tmp_path / "frames" / f"clip{number}").mkdir(parents=True)
        Image.new("L", (8, 8)).save(tmp_path / "frames" / f"clip{number}" / "000.png")
    splits = labelled.load(
        text(tmp_path / "labels.csv", rows("clip,start,end,label", "clip0,0,1,walk"))
    )
    assert splits.train[0].source == tmp_path / "frames" / splits.train[0].name
    file = put(tmp_path / "clips" / f"{splits.train[0].name}.MP4")
    assert labelled.load(tmp_path / "labels.csv").train[0].source == file


@pytest.mark.parametrize(
    ("lines", "seconds", "message"),
    [
        (
            ["clip,start,end,label", "clip0,2,13,walk"],
            TENTHS,
            "12 frames long, but {} labels a segment up to 13",
        ),
        (
            ["clip,start,end,label", "clip0,2.0,2.2,walk"],
            TENTHS,
            "1.1 seconds long, but {} labels a segment up to 2.2",
        ),
        (
            ["clip,start,end,label", "clip0,2.0,2.2,walk"],
            [],
            "0 seconds long, but {} labels a segment up to 2.2",
        ),
        (
            ["clip,frame,label", "clip0,0,walk", "clip0,1,run"],
            TENTHS,
            "12 frames, but 2 are labelled in {}",
        ),
    ],
)
def test_labels_of_another_length_than_the_video_name_both(tmp_path, lines, seconds, message):
    filler = "{clip},0,walk" if "frame" in lines[0] else "{clip},0,1,walk"
    splits = load_table(tmp_path, rows(*lines, filler=filler))
    with pytest.raises(InputError) as caught:
        names(splits, 0, seconds)
    expected = f"{tmp_path / 'videos' / 'clip0.mp4'}: " + message.format(tmp_path / "labels.csv")
    assert str(caught.value).startswith(expected)


def test_the_last_segment_may_end_with_the_last_frame(tmp_path):
    splits = load_table(
        tmp_path,
        rows(
            "clip,start,end,label",
            "clip0,1.0,1.2,walk",
            "clip1,2,12,walk",
            filler="{clip},0,1.,run",
        ),
    )
    assert names(splits, 0) == "bbbbbbbbbbww"


def test_whole_numbers_without_a_unit_are_frames_and_a_line_says_so(tmp_path, capsys):
    lines = rows("clip,start,stop,label", "clip0,2,5,walk")
    assert names(load_table(tmp_path, lines), 0) == "bbwwwbbbbbbb"
    told = capsys.readouterr().err
    assert "start and stop are whole numbers, and taken for frames: if they are seconds" in told
    assert told.startswith("warning: ")
    assert told.endswith("call the columns start_seconds and stop_seconds\n")
    assert told.count("\n") == 1
    named = lines.replace("start,stop", "start_seconds,stop_seconds").replace(",2,5,", ",0,1,")
    assert names(load_table(tmp_path, named), 0) == "wwwwwwwwwwbb"
    assert not capsys.readouterr().err
