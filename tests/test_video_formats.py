"""Exports are read back by readers of their own: the same segments at the true times."""

import math
import re
from itertools import pairwise

import numpy as np
import pytest
import torch
from exports import AWKWARD, LABELS, eaf, read_csv, read_eaf, read_srt, read_vtt, variable_rate

from datasets.videos.labelled import load
from video.labels import annotation_tools, formats
from video.labels.formats import FRAME, frames_csv, spans
from video.labels.segments import to_labels, to_segments


def expected(labels, seconds, classes):
    """(start, end, label) from the definition, frame by frame."""
    found = []
    for frame, label in enumerate(labels.tolist()):
        if frame == 0 or label != labels[frame - 1]:
            found.append([seconds[frame], None, classes[label]])
            if frame:
                found[-2][1] = seconds[frame]
    found[-1][1] = seconds[-1] + float(np.median(np.diff(seconds)))
    return [tuple(each) for each in found]


def one_line(label):
    return " ".join(label.split())


def srt(labels, seconds, classes):
    return annotation_tools.srt(spans(labels, seconds, classes))


def vtt(labels, seconds, classes):
    return annotation_tools.vtt(spans(labels, seconds, classes))


def segments_csv(labels, seconds, classes):
    return formats.segments_csv(spans(labels, seconds, classes))


READERS = {
    "srt": lambda labels, seconds, classes: read_srt(srt(labels, seconds, classes)),
    "vtt": lambda labels, seconds, classes: read_vtt(vtt(labels, seconds, classes)),
    "eaf": lambda labels, seconds, classes: read_eaf(eaf(labels, seconds, classes, None))[0],
}


def test_a_segment_lasts_until_the_next_and_the_last_one_frame_more():
    seconds = [0.0, 0.5, 0.6, 1.0, 1.1]
    assert spans(torch.tensor([1, 1, 0, 0, 1]), seconds, ("a", "b")) == [
        (0.0, 0.6, "b"),
        (0.6, 1.1, "a"),
        (1.1, pytest.approx(1.1 + 0.25), "b"),  # the median of .5, .1, .4, .1
    ]


@pytest.mark.parametrize("start", [0.0, 3599.9, 123 * 3600.0])
def test_segments_csv_has_times_to_the_millisecond_rounded_down(start):
    seconds = variable_rate(len(LABELS), start)
    heading, *rows = read_csv(segments_csv(LABELS, seconds, AWKWARD))
    assert heading == ["start", "end", "label"]
    for row, (start, end, label) in zip(rows, expected(LABELS, seconds, AWKWARD), strict=True):
        assert all(re.fullmatch(r"\d+\.\d{3}", time) for time in row[:2])
        assert 0 <= start - float(row[0]) < 0.001
        assert 0 <= end - float(row[1]) < 0.001
        assert row[2] == label


@pytest.mark.parametrize("kind", READERS)
@pytest.mark.parametrize("start", [0.0, 3599.9, 123 * 3600.0])
def test_formats_in_milliseconds_are_read_back(kind, start):
    seconds = variable_rate(len(LABELS), start)
    names = AWKWARD if kind == "eaf" else tuple(map(one_line, AWKWARD))
    found = READERS[kind](LABELS, seconds, AWKWARD)
    for (start, end, label), (begins, ends, name) in zip(
        found, expected(LABELS, seconds, names), strict=True
    ):
        assert label == name
        assert 0 <= begins - start < 0.001  # down, so that the first frame is inside
        assert 0 <= ends - end < 0.001


@pytest.mark.parametrize("kind", READERS)
def test_every_frame_gets_its_label_back_from_the_times(kind):
    random = np.random.default_rng(1)
    labels = torch.from_numpy(random.integers(0, 3, 500))
    seconds = variable_rate(500)
    found = READERS[kind](labels, seconds, ("0", "1", "2"))
    frames = np.searchsorted([start for start, _, _ in found], seconds, side="right") - 1
    assert [int(found[n][2]) for n in frames] == labels.tolist()
    assert all(found[n][0] <= t < found[n][1] for n, t in zip(frames, seconds, strict=True))
    assert [end for _, end, _ in found[:-1]] == [start for start, _, _ in found[1:]]


def test_whole_milliseconds_stay_what_they_are():
    seconds = [n / 1000 for n in range(0, 5000, 10)]  # 0.57 * 1000 is less than 570
    labels = torch.arange(500) % 2
    starts = [start for start, _, _ in read_srt(srt(labels, seconds, ("a", "b")))]
    assert starts == seconds


@pytest.mark.parametrize("kind", READERS)
@pytest.mark.parametrize("step", [1e-9, 1e-4, 9e-4])
def test_no_cue_is_empty(kind, step):
    found = READERS[kind](torch.tensor([0, 1, 0, 1, 0]), [step * n for n in range(5)], ("a", "b"))
    assert [label for _, _, label in found] == list("ababa")
    assert found[0][0] == 0
    assert all(start < end for start, end, _ in found)
    assert all(end == start for (_, end, _), (start, _, _) in pairwise(found))


def test_one_frame_and_none():
    one, none = torch.tensor([1]), torch.tensor([], dtype=torch.int64)
    assert spans(one, [2.0], ("a", "b")) == [(2.0, 2.0 + FRAME, "b")]
    assert read_csv(segments_csv(none, [], AWKWARD)) == [["start", "end", "label"]]
    assert read_csv(frames_csv(none, [], AWKWARD, torch.zeros(0, len(AWKWARD)))) == [
        ["frame", "seconds", "label", "probability"]
    ]
    assert srt(none, [], AWKWARD) == ""
    assert vtt(none, [], AWKWARD) == "WEBVTT\n\n"
    assert read_eaf(eaf(none, [], AWKWARD, None))[0] == []
    with pytest.raises(ValueError, match="1 labels at 0 times"):
        spans(one, [], AWKWARD)


def test_clocks_of_more_than_99_hours():
    labels, seconds = torch.tensor([0, 1, 1]), [359999.9994, 360000.25, 360000.5006]
    text = srt(labels, seconds, ("a", "b"))
    assert "99:59:59,999 --> 100:00:00,250" in text
    assert "100:00:00,250 --> 100:00:00,751" in text
    assert vtt(labels, seconds, ("a", "b")).count("100:00:00.250") == 2


def test_frames_csv_has_number_time_label_and_probability():
    seconds = variable_rate(4)
    labels = torch.tensor([4, 4, 3, 6])
    p = torch.full((4, len(AWKWARD)), 0.01)
    p[range(4), labels] = torch.tensor([0.5, 0.99996, 1 / 3, 0.0])
    heading, *rows = read_csv(frames_csv(labels, seconds, AWKWARD, p.log()))
    assert heading == ["frame", "seconds", "label", "probability"]
    assert [int(row[0]) for row in rows] == [0, 1, 2, 3]
    assert [float(row[1]) for row in rows] == seconds
    assert [row[2] for row in rows] == [AWKWARD[label] for label in labels]
    assert [row[3] for row in rows] == ["0.5", "1.0", "0.3333", "0.0"]


@pytest.mark.parametrize("start", [0.0, 36000.9])
def test_segments_csv_is_a_data_set_again(tmp_path, start):
    clips = {
        name: (LABELS.roll(n), variable_rate(len(LABELS), start, seed=n))
        for n, name in enumerate("abc")
    }
    for name, (labels, seconds) in clips.items():
        (tmp_path / f"{name}.mp4").touch()
        (tmp_path / f"{name}.csv").write_bytes(segments_csv(labels, seconds, AWKWARD).encode())
    splits = load(tmp_path, background="plain")
    assert sorted(splits.classes) == sorted(AWKWARD)
    for clip in (*splits.train, *splits.validation, *splits.test):
        labels, seconds = clips.pop(clip.name)
        assert [splits.classes[label] for label in clip.labels(seconds)] == [
            AWKWARD[label] for label in labels
        ]
    assert not clips


def test_labels_come_back_as_they_went():
    seconds = variable_rate(len(LABELS))
    found, _ = read_eaf(eaf(LABELS, seconds, AWKWARD, None))
    starts = [math.floor(t * 1000) / 1000 for t in seconds]
    segments = [
        segment._replace(start=starts.index(start), label=AWKWARD.index(label))
        for segment, (start, _, label) in zip(to_segments(LABELS), found, strict=True)
    ]
    assert to_labels(segments).tolist() == LABELS.tolist()
