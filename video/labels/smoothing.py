"""Labels without flicker: the most probable path through a Markov chain, and no short segments.

    labels = viterbi(log_probabilities, transitions(0.95, classes))
    labels = merge_short(labels, log_probabilities, minimum=10)

Both see the whole clip, past and to come, and so are for files, not for live streams.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from video.labels.segments import Segment, to_labels, to_segments

Labels = Int[Tensor, " frames"]


def viterbi(
    log_probabilities: Float[Tensor, "frames classes"],
    transitions: Float[Tensor, "classes classes"],
) -> Labels:
    """Return the labels y that maximise sum_t log p_t(y_t) + sum_t A[y_{t-1}, y_t] (Viterbi 1967).

    They follow from the recursion

        s_t(j) = max_i (s_{t-1}(i) + A[i, j]) + log p_t(j)

    in float64. Memory is one small integer for each frame and class.

    Args:
        log_probabilities: log p_t, e.g. the log-softmax of a net.
        transitions: A, log-probabilities from class (row) to class (column), e.g. those of
            `transitions`.
    """
    if len(log_probabilities) == 0:
        return torch.zeros(0, dtype=torch.int64)
    log_p = log_probabilities.detach().cpu().double().numpy()
    A = transitions.detach().cpu().double().numpy()
    frames, classes = log_p.shape
    came_from = np.empty((frames, classes), dtype=np.min_scalar_type(classes))
    columns = np.arange(classes)
    s = log_p[0]
    for t in range(1, frames):
        reached = s[:, None] + A
        best = reached.argmax(0)
        came_from[t] = best
        s = reached[best, columns] + log_p[t]
    path = np.empty(frames, dtype=np.int64)
    path[-1] = s.argmax()
    for t in range(frames - 1, 0, -1):
        path[t - 1] = came_from[t, path[t]]
    return torch.from_numpy(path)


def transitions(self_transition: float, classes: int) -> Float[Tensor, "classes classes"]:
    """Return the log-probabilities of a chain that stays in its class, or goes to any other.

    A segment then has 1 / (1 - self_transition) frames on average.

    Raises:
        ValueError: the probability is not between 0 and 1, or there is no class.
    """
    if not 0 < self_transition < 1 or classes < 1:
        bounds = f"must be between 0 and 1, not {self_transition}, of 1 class at least"
        raise ValueError(f"the self-transition probability {bounds}")
    if classes == 1:
        return torch.zeros(1, 1, dtype=torch.float64)
    other = math.log((1 - self_transition) / (classes - 1))
    A = torch.full((classes, classes), other, dtype=torch.float64)
    return A.fill_diagonal_(math.log(self_transition))


def merge_short(
    labels: Labels, log_probabilities: Float[Tensor, "frames classes"], minimum: int
) -> Labels:
    """Return labels whose segments all have `minimum` frames, or are the only one.

    The shortest segment, the first of them, goes to the neighbour whose label is the more probable
    over its frames; and so on until none is too short.
    """
    log_p = log_probabilities.detach().cpu().double().numpy()
    segments = to_segments(labels)
    while len(segments) > 1:
        shortest = min(segment.frames for segment in segments)
        if shortest >= minimum:
            break
        segments = _without(shortest, segments, log_p)
    return to_labels(segments)


def _without(frames: int, segments: Sequence[Segment], log_p: np.ndarray) -> list[Segment]:
    """Merge the segments of so many frames, the fewest there are, from first to last.

    A merged segment is longer, and does not come up again in the same pass: time is linear in the
    number of segments.
    """
    merged: list[Segment] = []
    coming = list(reversed(segments))
    while coming:
        segment = coming.pop()
        if merged and merged[-1].label == segment.label:  # the one between them was merged
            segment = segment._replace(start=merged.pop().start)
        is_only = not merged and not coming
        if segment.frames > frames or is_only:
            merged.append(segment)
        elif not coming or (merged and _favours(merged[-1], coming[-1], segment, log_p)):
            merged[-1] = merged[-1]._replace(stop=segment.stop)
        else:
            coming[-1] = coming[-1]._replace(start=segment.start)
    return merged


def _favours(left: Segment, right: Segment, between: Segment, log_p: np.ndarray) -> bool:
    """Whether the frames between two segments are as probably of the left one's label, or more."""
    likelihood = log_p[between.start : between.stop, [left.label, right.label]].sum(0)
    return bool(likelihood[0] >= likelihood[1])
