"""Metrics of labels per frame: cases counted by hand, and a slow reference from the definitions."""

from functools import cache
from itertools import groupby

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import InputError
from video.labels.segments import Segment, to_labels, to_segments
from video.metrics.segmentation import (
    confusion,
    edit_score,
    f1,
    majority,
    mean_over_clips,
    segmentation_metrics,
)

CLASSES = ("rest", "walk", "jump")


def tensors(*clips):
    return [torch.tensor(clip, dtype=torch.int64) for clip in clips]


def runs(labels, ignored):
    """(label, set of frames) of each run."""
    found, frame = [], 0
    for label, run in groupby(labels):
        length = len(list(run))
        if label != ignored:
            found.append((label, set(range(frame, frame + length))))
        frame += length
    return found


def edit_reference(predicted, truth, ignored):
    a, b = ([label for label, _ in runs(labels, ignored)] for labels in (predicted, truth))

    @cache
    def distance(i, j):
        if i == 0 or j == 0:
            return i + j
        change = distance(i - 1, j - 1) + (a[i - 1] != b[j - 1])
        return min(distance(i - 1, j) + 1, distance(i, j - 1) + 1, change)

    longest = max(len(a), len(b))
    return 100 * (1 - distance(len(a), len(b)) / longest) if longest else 100.0


def f1_reference(pairs, overlap, ignored):
    """Precision and recall of hits: each prediction tries the true segment it overlaps most."""
    tp = fp = fn = 0
    for predicted, truth in pairs:
        true = runs(truth, ignored)
        hit = [False] * len(true)
        for label, frames in runs(predicted, ignored):
            ious = [
                len(frames & other) / len(frames | other) if name == label else 0
                for name, other in true
            ]
            best = max(range(len(ious)), key=ious.__getitem__, default=None)
            if best is not None and ious[best] >= overlap and not hit[best]:
                hit[best] = True
                tp += 1
            else:
                fp += 1
        fn += hit.count(False)
    if tp == 0:
        return 0.0 if fp or fn else 100.0
    precision, recall = tp / (tp + fp), tp / (tp + fn)
    return 100 * 2 * precision * recall / (precision + recall)


def test_a_case_counted_by_hand():
    truth = [0, 0, 0, 0, 1, 1, 1, 1, 2, 2]
    guess = [0, 0, 0, 1, 1, 1, 0, 1, 2, 2]  # segments rest walk rest walk jump for rest walk jump
    result = segmentation_metrics(tensors(guess), tensors(truth), CLASSES)
    assert result["accuracy"] == pytest.approx(80)
    assert result["balanced accuracy"] == pytest.approx(100 * (3 / 4 + 3 / 4 + 1) / 3)
    assert result["edit"] == pytest.approx(100 * (1 - 2 / 5))
    # IoU: rest 3/4, walk 2/5, rest 0, walk 1/4 (its truth is taken), jump 1:
    # so 3, 3 and 2 of 5 are right.
    assert result["F1@10"] == pytest.approx(100 * 2 * 3 / 8)
    assert result["F1@25"] == pytest.approx(100 * 2 * 3 / 8)
    assert result["F1@50"] == pytest.approx(100 * 2 * 2 / 8)


def test_the_background_is_named_and_counts_only_by_frame():
    truth = tensors([0, 0, 1, 1, 0, 0, 2, 2])
    guess = tensors([0, 1, 1, 1, 2, 2, 2, 2])
    with_all, without = (
        segmentation_metrics(guess, truth, CLASSES),
        segmentation_metrics(guess, truth, CLASSES, background="rest"),
    )
    for name in ("accuracy", "balanced accuracy"):
        assert without[name] == with_all[name]
    assert with_all["edit"] == pytest.approx(100 * (1 - 1 / 4))
    assert without["edit"] == 100
    assert without["F1@50"] == 100  # 2/3 and 2/4
    assert with_all["F1@50"] == pytest.approx(
        100 * 2 * 3 / 7
    )  # rest 1/2 as well, the other one missed
    with pytest.raises(InputError, match=r"no class 'background' .* rest, walk, jump"):
        segmentation_metrics(guess, truth, CLASSES, background="background")


def test_nothing_but_background():
    rest, walk = tensors([0, 0, 0]), tensors([0, 1, 0])
    assert (
        segmentation_metrics(rest, rest, CLASSES, "rest")["edit"]
        == segmentation_metrics(rest, rest, CLASSES, "rest")["F1@50"]
        == 100
    )
    for guess, truth in ((walk, rest), (rest, walk)):
        assert (
            segmentation_metrics(guess, truth, CLASSES, "rest")["edit"]
            == segmentation_metrics(guess, truth, CLASSES, "rest")["F1@10"]
            == 0
        )


def test_each_true_segment_is_matched_once():
    truth = [Segment(1, 0, 10)]
    halves = [Segment(1, 0, 5), Segment(0, 5, 6), Segment(1, 6, 10)]
    assert f1([(halves, truth)], 0.1) == pytest.approx(100 * 2 * 1 / 4)
    assert f1([(halves[:1], truth)], 0.5) == 100  # 5/10 is enough
    assert f1([(halves[2:], truth)], 0.5) == 0  # 4/10 is not


def test_edit_score_is_of_order_alone():
    short, long = [Segment(0, 0, 1), Segment(1, 1, 2)], [Segment(0, 0, 50), Segment(1, 50, 60)]
    assert edit_score(short, long) == 100
    assert edit_score(short[::-1], long) == 0
    assert edit_score([], long) == edit_score(short, []) == 0


def test_over_frames_and_over_clips():
    truth = tensors([0] * 8, [1, 1])
    guess = tensors([0] * 8, [0, 0])
    assert segmentation_metrics(guess, truth, CLASSES)["accuracy"] == pytest.approx(80)
    means = mean_over_clips(guess, truth, CLASSES)
    assert means["accuracy"] == means["F1@50"] == means["edit"] == pytest.approx(50)
    assert means.keys() == segmentation_metrics(guess, truth, CLASSES).keys()
    assert segmentation_metrics(guess, truth, CLASSES)["edit"] == pytest.approx(50)


def test_the_majority_class_is_that_of_training():
    training, clips = tensors([1, 1, 1, 0], [0, 2]), tensors([0, 0, 1], [1])
    constant = majority(training, clips)
    assert [labels.tolist() for labels in constant] == [[1, 1, 1], [1]]
    result = segmentation_metrics(constant, clips, CLASSES)
    assert result["accuracy"] == pytest.approx(50)
    assert result["balanced accuracy"] == pytest.approx(50)  # of the two classes that are there


def test_confusion_has_the_truth_in_rows():
    predicted, truth = tensors([0, 1, 1, 2, 1], [0, 1, 2, 2, 2])
    matrix = confusion(predicted, truth, 4)
    assert matrix.tolist() == [[1, 0, 0, 0], [0, 1, 0, 0], [0, 2, 1, 0], [0, 0, 0, 0]]


@pytest.mark.parametrize(
    ("guess", "truth"),
    [
        ([], []),
        ([[0]], [[0, 0]]),
        ([[0], [0]], [[0]]),
        ([[]], [[]]),
        ([[0, 0], [0]], [[0], [0, 0]]),
    ],
)
def test_what_does_not_belong_together_is_refused(guess, truth):
    for function in (segmentation_metrics, mean_over_clips):
        with pytest.raises(ValueError, match="frames of each clip"):
            function(tensors(*guess), tensors(*truth), CLASSES)


labels = st.lists(st.tuples(st.integers(0, 2), st.integers(1, 5)), min_size=1, max_size=12).map(
    lambda parts: [label for label, length in parts for _ in range(length)]
)
pair = st.tuples(labels, labels).map(
    lambda two: (two[0], (two[1] * 60)[: len(two[0])])
)  # of one length
pairs = st.lists(pair, min_size=1, max_size=6)


@settings(max_examples=60, deadline=None)
@given(pairs, st.sampled_from([None, "rest", "jump"]))
def test_scores_are_those_of_the_definitions(clips, background):
    ignored = None if background is None else CLASSES.index(background)
    guesses, truths = zip(*clips, strict=True)
    result = segmentation_metrics(tensors(*guesses), tensors(*truths), CLASSES, background)
    frames = [pair for guess, truth in clips for pair in zip(guess, truth, strict=True)]
    assert result["accuracy"] == pytest.approx(100 * sum(a == b for a, b in frames) / len(frames))
    recalls = []
    for name in {truth for _, truth in frames}:
        of_class = [guess for guess, truth in frames if truth == name]
        recalls.append(of_class.count(name) / len(of_class))
    assert result["balanced accuracy"] == pytest.approx(100 * sum(recalls) / len(recalls))
    edits = [edit_reference(guess, truth, ignored) for guess, truth in clips]
    assert result["edit"] == pytest.approx(sum(edits) / len(edits))
    for percent in (10, 25, 50):
        assert result[f"F1@{percent}"] == pytest.approx(f1_reference(clips, percent / 100, ignored))


@given(st.lists(st.integers(0, 3), max_size=40))
def test_segments_and_back(clip):
    (one,) = tensors(clip)
    segments = to_segments(one)
    assert to_labels(segments).dtype == torch.int64
    assert to_labels(segments).tolist() == clip
    expected = [(label, min(frames), max(frames) + 1) for label, frames in runs(clip, None)]
    assert [tuple(segment) for segment in segments] == expected


def test_segments_with_gaps_are_no_labels():
    for segments in (
        [Segment(0, 1, 2)],
        [Segment(0, 0, 2), Segment(1, 3, 4)],
        [Segment(0, 0, 2), Segment(1, 1, 4)],
    ):
        with pytest.raises(ValueError, match="in no segment, or in two"):
            to_labels(segments)
