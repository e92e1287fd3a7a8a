"""Smoothing against brute force over all labellings, and against merging one segment at a time."""

import math
from itertools import groupby, pairwise, product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from video.labels.segments import to_segments
from video.labels.smoothing import merge_short, transitions, viterbi


def log_p(frames, classes, seed=0, sharp=2.0):
    random = torch.Generator().manual_seed(seed)
    return (sharp * torch.randn(frames, classes, generator=random)).log_softmax(-1)


def score(path, emissions, transitions):
    steps = sum(transitions[a][b] for a, b in pairwise(path))
    return steps + sum(row[label] for row, label in zip(emissions, path, strict=True))


@pytest.mark.parametrize(
    ("frames", "classes"), [(1, 1), (1, 3), (5, 1), (2, 4), (9, 2), (7, 3), (5, 5)]
)
@pytest.mark.parametrize("seed", range(5))
def test_viterbi_is_the_best_of_all_labellings(frames, classes, seed):
    emissions = log_p(frames, classes, seed)
    transitions = log_p(classes, classes, seed + 100)
    path = viterbi(emissions, transitions)
    assert path.dtype == torch.int64
    p, A = emissions.double().tolist(), transitions.double().tolist()
    best = max(product(range(classes), repeat=frames), key=lambda labels: score(labels, p, A))
    assert path.tolist() == list(best)


def test_viterbi_takes_no_step_that_cannot_be():
    emissions = torch.tensor([[0.9, 0.1], [0.1, 0.9], [0.9, 0.1], [0.1, 0.9]]).log()
    forward_only = torch.tensor([[0.5, 0.5], [0.0, 1.0]]).log()
    assert viterbi(emissions, forward_only).tolist() == [0, 1, 1, 1]
    certain = torch.tensor([[1.0, 0.0], [0.0, 1.0]]).log()
    assert viterbi(certain, transitions(0.99, 2)).tolist() == [0, 1]


def test_viterbi_of_nothing_is_nothing():
    assert viterbi(torch.zeros(0, 3), transitions(0.9, 3)).tolist() == []


def test_staying_smooths_the_more_the_likelier_it_is():
    emissions = log_p(300, 4, sharp=1.0)
    counts = [
        len(to_segments(viterbi(emissions, transitions(p, 4))))
        for p in (0.25, 0.9, 0.99, 1 - 1e-15)
    ]
    assert (
        viterbi(emissions, transitions(0.25, 4)).tolist() == emissions.argmax(-1).tolist()
    )  # any step is as likely
    assert counts == sorted(counts, reverse=True)
    assert counts[-1] == 1


def test_stay_is_a_distribution():
    A = transitions(0.8, 5).exp()
    assert torch.allclose(A.sum(1), torch.ones(5, dtype=torch.float64))
    assert torch.allclose(A.diagonal(), torch.full((5,), 0.8, dtype=torch.float64))
    assert transitions(0.8, 1).tolist() == [[0.0]]
    for wrong in ((0.0, 3), (1.0, 3), (math.nan, 3), (0.5, 0)):
        with pytest.raises(ValueError, match="between 0 and 1"):
            transitions(*wrong)


def test_a_short_segment_goes_where_the_probabilities_say():
    labels = torch.tensor([0, 0, 0, 1, 2, 2, 2])
    for favoured in (0, 2):
        p = torch.full((7, 3), 0.1)
        p[3, [1, favoured]] = torch.tensor([0.6, 0.3])
        expected = [0, 0, 0, favoured, 2, 2, 2]
        assert merge_short(labels, p.log(), 2).tolist() == expected
    even = torch.full((7, 3), 1 / 3).log()
    assert merge_short(labels, even, 2).tolist() == [0, 0, 0, 0, 2, 2, 2]  # the earlier one
    assert merge_short(labels, torch.full((7, 3), -math.inf), 2).tolist() == [0, 0, 0, 0, 2, 2, 2]


def test_ends_have_one_neighbour_and_the_last_segment_stays():
    even = torch.full((6, 2), 0.5).log()
    assert merge_short(torch.tensor([0, 1, 1, 1, 1, 0]), even, 2).tolist() == [1] * 6
    assert merge_short(torch.tensor([0, 1, 0, 1, 0, 1]), even, 99).unique().numel() == 1
    assert merge_short(torch.tensor([1, 1]), even[:2], 99).tolist() == [1, 1]
    assert merge_short(torch.tensor([], dtype=torch.int64), even[:0], 3).tolist() == []
    for minimum in (0, 1):
        assert merge_short(torch.tensor([0, 1, 0, 0, 1, 1]), even, minimum).tolist() == [
            0,
            1,
            0,
            0,
            1,
            1,
        ]


def merged_one_by_one(labels, p, minimum):
    """The rule as it is told, on a list of frames, from the beginning after every merge."""
    labels = list(labels)
    while True:
        segments, frame = [], 0
        for label, run in groupby(labels):
            length = len(list(run))
            segments.append((label, range(frame, frame + length)))
            frame += length
        shortest = min(range(len(segments)), key=lambda n: len(segments[n][1]))
        frames = segments[shortest][1]
        if len(segments) == 1 or len(frames) >= minimum:
            return labels
        around = [segments[n][0] for n in (shortest - 1, shortest + 1) if 0 <= n < len(segments)]
        label = max(around, key=lambda each: sum(p[frame][each] for frame in frames))
        for frame in frames:
            labels[frame] = label


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 40), st.integers(2, 4), st.integers(1, 12), st.integers(0, 1000))
def test_merging_is_as_if_one_by_one(frames, classes, minimum, seed):
    p = log_p(frames, classes, seed).double()
    labels = p.argmax(-1)
    merged = merge_short(labels, p, minimum)
    assert merged.tolist() == merged_one_by_one(labels.tolist(), p.tolist(), minimum)
    assert (
        all(segment.frames >= minimum for segment in to_segments(merged))
        or merged.unique().numel() == 1
    )


def test_long_clips_take_no_time():
    p = log_p(20_000, 6)
    assert len(to_segments(viterbi(p, transitions(0.999, 6)))) < 20_000
    assert min(segment.frames for segment in to_segments(merge_short(p.argmax(-1), p, 20))) >= 20
