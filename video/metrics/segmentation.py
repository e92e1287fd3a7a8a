"""How near labels per frame come to the truth: frame by frame, and segment by segment.

    predicted, truth = torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 1, 1])
    segmentation_metrics([predicted], [truth], ("rest", "walk"))["accuracy"]    # 75.0

Frame accuracy says little about flicker, which costs few frames and makes a timeline useless; the
edit score (Lea et al. 2016) and F1@k (Lea et al. 2017) do, and are those that MS-TCN (Abu Farha and
Gall 2019) made the custom. All figures are percentages, as in the tables of that literature.

One thing differs from the scripts that circulate with those papers: many of them let the last
segment of a clip end one frame early. Here it has all its frames.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from core.errors import InputError
from video.labels.segments import Segment, to_segments

OVERLAPS = (10, 25, 50)  # percent of intersection over union from which on two segments match

Labels = Int[Tensor, " frames"]


def segmentation_metrics(
    predicted: Sequence[Labels],
    truth: Sequence[Labels],
    classes: Sequence[str],
    background: str | None = None,
) -> dict[str, float]:
    """Return accuracy, balanced accuracy, edit score, F1@10, F1@25 and F1@50 of a set of clips.

    Accuracies are over the frames of all clips, F1 is of the matches counted over all clips, and
    the edit score is the mean over clips: as MS-TCN reports them.

    Args:
        predicted: labels of each clip, indices into `classes`.
        truth: labels of the same clips.
        classes: names of the labels.
        background: name of the class whose segments do not count in edit score and F1, if there
            is one.

    Raises:
        InputError: no class is called `background`.
        ValueError: there is no clip or an empty one, or predicted and true labels differ in number.
    """
    _require_pairs(predicted, truth)
    matrix = confusion(torch.cat(list(predicted)), torch.cat(list(truth)), len(classes))
    ignored = _index(background, classes)
    segments = [
        (_segments(p, ignored), _segments(t, ignored))
        for p, t in zip(predicted, truth, strict=True)
    ]
    return {
        "accuracy": accuracy(matrix),
        "balanced accuracy": balanced_accuracy(matrix),
        "edit": sum(edit_score(*pair) for pair in segments) / len(segments),
        **{f"F1@{percent}": f1(segments, percent / 100) for percent in OVERLAPS},
    }


def mean_over_clips(
    predicted: Sequence[Labels],
    truth: Sequence[Labels],
    classes: Sequence[str],
    background: str | None = None,
) -> dict[str, float]:
    """Return the means over clips of their metrics; a short clip counts like a long one.

    Arguments and errors are those of `segmentation_metrics`.
    """
    _require_pairs(predicted, truth)
    by_clip = [
        segmentation_metrics([p], [t], classes, background)
        for p, t in zip(predicted, truth, strict=True)
    ]
    return {name: sum(clip[name] for clip in by_clip) / len(by_clip) for name in by_clip[0]}


def majority(training: Iterable[Labels], clips: Iterable[Labels]) -> list[Labels]:
    """Label every frame of `clips` with the most frequent class of `training`.

    The metrics of these labels belong beside those of every model.
    """
    label = torch.bincount(torch.cat(list(training))).argmax()
    return [torch.full_like(labels, int(label)) for labels in clips]


def confusion(predicted: Labels, truth: Labels, classes: int) -> Int[Tensor, "classes classes"]:
    """Count frames by true class (row) and predicted class (column)."""
    return torch.bincount(truth * classes + predicted, minlength=classes**2).view(classes, classes)


def accuracy(matrix: Int[Tensor, "classes classes"]) -> float:
    """Return the percentage of frames labelled rightly, from a confusion matrix."""
    return 100 * matrix.trace().item() / matrix.sum().item()


def balanced_accuracy(matrix: Int[Tensor, "classes classes"]) -> float:
    """Return the mean recall over the classes that occur, from a confusion matrix, in percent."""
    frames = matrix.sum(1)
    present = frames > 0
    return 100 * (matrix.diagonal()[present] / frames[present].double()).mean().item()


def edit_score(predicted: Sequence[Segment], truth: Sequence[Segment]) -> float:
    """Return 100 (1 - d / n), the similarity of two lists of n segments at most.

    d is the number of insertions, deletions and changes of label that turn one into the other.
    Only the order of labels counts, not how long they last. Two empty lists agree: 100.
    """
    longest = max(len(predicted), len(truth))
    if longest == 0:
        return 100.0
    ours, theirs = ([segment.label for segment in segments] for segments in (predicted, truth))
    return 100 * (1 - _levenshtein(ours, theirs) / longest)


def f1(clips: Sequence[tuple[Sequence[Segment], Sequence[Segment]]], overlap: float) -> float:
    """Return F1 of the segments found, in percent, their matches counted over all clips.

    A predicted segment matches the true one of its label with which its intersection over union is
    the greatest, if that is at least `overlap` and no earlier segment has matched the same. Where
    there is nothing to find and nothing was found F1 is 100.

    Args:
        clips: (predicted, true) segments of each clip.
        overlap: least intersection over union, from 0 (exclusive) to 1.
    """
    found = 0
    total = 0
    for predicted, truth in clips:
        # Of several that match one true segment the first is right, and the others are wrong.
        found += len({best for best, iou in _nearest(predicted, truth) if iou >= overlap})
        total += len(predicted) + len(truth)
    # 2 P R / (P + R) of P = found / predicted and R = found / true
    return 100 * 2 * found / total if total else 100.0


def _nearest(predicted: Sequence[Segment], truth: Sequence[Segment]) -> list[tuple[int, float]]:
    """Return for each predicted segment the true one of the greatest overlap, and that."""
    if not truth:
        return []
    labels, starts, stops = np.array(truth).T
    nearest = []
    for label, start, stop in predicted:
        intersection = np.minimum(stops, stop) - np.maximum(starts, start)
        # The union of two that overlap; of others the intersection is negative.
        union = np.maximum(stops, stop) - np.minimum(starts, start)
        iou = np.where(labels == label, intersection / union, 0.0)
        best = int(iou.argmax())
        nearest.append((best, float(iou[best])))
    return nearest


def _levenshtein(a: Sequence[int], b: Sequence[int]) -> int:
    """Insertions, deletions and substitutions that turn `a` into `b`, at the least."""
    other = np.array(b)
    columns = np.arange(len(b) + 1)
    row = columns
    for deleted, item in enumerate(a, 1):
        above = np.minimum(row[1:] + 1, row[:-1] + (other != item))
        row = np.concatenate([[deleted], above])
        row = np.minimum.accumulate(row - columns) + columns  # an insertion costs one
    return int(row[-1])


def _segments(labels: Labels, ignored: int | None) -> list[Segment]:
    return [segment for segment in to_segments(labels) if segment.label != ignored]


def _index(background: str | None, classes: Sequence[str]) -> int | None:
    if background is None:
        return None
    if background not in classes:
        raise InputError(
            f"there is no class {background!r} to be the background; there are {', '.join(classes)}"
        )
    return list(classes).index(background)


def _require_pairs(predicted: Sequence[Labels], truth: Sequence[Labels]) -> None:
    counts = [[len(labels) for labels in clips] for clips in (predicted, truth)]
    if counts[0] != counts[1] or 0 in counts[1] or not counts[1]:
        rule = "as many of both, and one at least"
        raise ValueError(f"frames of each clip: {counts[0]} labelled, {counts[1]} true; {rule}")
