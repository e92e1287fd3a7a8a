"""Scores of several behaviours at once: precision, recall, F1 and average precision of each.

All figures are percentages, but `frames`, which counts those in which a behaviour occurs. Frames
that nobody scored do not count.
"""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from video.labels.segments import Segment, to_segments
from video.metrics.segmentation import OVERLAPS, f1

Columns = Int[Tensor, "frames classes"]


def behaviour_metrics(
    probabilities: Sequence[Float[Tensor, "frames classes"]],
    predicted: Sequence[Columns],
    truth: Sequence[Columns],
    classes: Sequence[str],
) -> dict[str, dict[str, float]]:
    """Return the metrics of each behaviour, by its name, over the frames of all clips.

    Recall and average precision of a behaviour that never occurs are NaN.
    """
    p = torch.cat(list(probabilities))
    ours = torch.cat(list(predicted))
    theirs = torch.cat(list(truth))
    metrics = {}
    for n, name in enumerate(classes):
        scored = theirs[:, n] >= 0
        occurs = theirs[scored, n] == 1
        found = ours[scored, n] == 1
        right = int((occurs & found).sum())
        metrics[name] = {
            "precision": _share(right, int(found.sum())),
            "recall": _share(right, int(occurs.sum())),
            "F1": _share(2 * right, int(found.sum()) + int(occurs.sum())),
            "average precision": average_precision(p[scored, n], occurs.long()),
            "frames": float(occurs.sum()),
        }
    return metrics


def mean_metrics(
    probabilities: Sequence[Float[Tensor, "frames classes"]],
    predicted: Sequence[Columns],
    truth: Sequence[Columns],
    classes: Sequence[str],
) -> dict[str, float]:
    """Return the means over the behaviours that occur, and F1 of their segments in all clips."""
    by_behaviour = behaviour_metrics(probabilities, predicted, truth, classes)
    names = ("average precision", "F1", "precision", "recall")
    means = {f"mean {name}": _mean([row[name] for row in by_behaviour.values()]) for name in names}
    pairs = [(lanes(p, t), lanes(t, t)) for p, t in zip(predicted, truth, strict=True)]
    return means | {f"F1@{percent}": f1(pairs, percent / 100) for percent in OVERLAPS}


def average_precision(p: Float[Tensor, " frames"], truth: Int[Tensor, " frames"]) -> float:
    """Return the mean of the precision over the recall: the sum of P(k) (R(k) - R(k - 1)).

    Frames of equal probability are one step. NaN if the behaviour never occurs.
    """
    if not truth.any():
        return math.nan
    order = p.argsort(descending=True, stable=True)
    ranked = p[order]
    found = truth[order].cumsum(0).double()
    ends = torch.cat((ranked[1:] < ranked[:-1], torch.tensor([True])))
    recall = (found / truth.sum())[ends]
    precision = (found / torch.arange(1, len(p) + 1))[ends]
    steps = torch.diff(recall, prepend=torch.zeros(1, dtype=torch.float64))
    return 100 * float((precision * steps).sum())


def lanes(labels: Columns, scored: Columns) -> list[Segment]:
    """Return the segments of all behaviours, in which a behaviour occurs and was scored."""
    found = []
    for n in range(labels.shape[1]):
        occurs = ((labels[:, n] == 1) & (scored[:, n] >= 0)).long()
        found += [segment._replace(label=n) for segment in to_segments(occurs) if segment.label]
    return found


def _share(part: int, whole: int) -> float:
    return 100 * part / whole if whole else math.nan


def _mean(values: Sequence[float]) -> float:
    numbers = [value for value in values if not math.isnan(value)]
    return sum(numbers) / len(numbers) if numbers else math.nan
