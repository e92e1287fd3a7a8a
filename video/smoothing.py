"""Labels without flicker: the most probable path through a Markov chain, and no segment shorter than need be.

    labels = viterbi(log_probabilities, stay(0.95, classes))
    labels = merge_short(labels, log_probabilities, minimum=10)

Both see the whole clip, past and to come, and so are for files, not for live streams.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from video.segments import Segment, to_labels, to_segments

Labels = Int[Tensor, " frames"]


def viterbi(
    log_probabilities: Float[Tensor, "frames classes"],
    transitions: Float[Tensor, "classes classes"],
) -> Labels:
    """Return the labels y that maximise sum_t log p_t(y_t) + sum_t A[y_{t-1}, y_t]: Viterbi 1967, by recursion

        s_t(j) = max_i (s_{t-1}(i) + A[i, j]) + log p_t(j)

    in float64. Memory is one small integer for each frame and class.

    Args:
        log_probabilities: log p_t, e.g. the log-softmax of a net.
        transitions: A, log-probabilities from class (row) to class (column), e.g. of `stay`.
    """
    if len(log_probabilities) == 0:
        return torch.zeros(0, dtype=torch.int64)
    log_p, A = (
        tensor.detach().cpu().double().numpy() for tensor in (log_probabilities, transitions)
    )
    frames, classes = log_p.shape
    came_from = np.empty((frames, classes), dtype=np.min_scalar_type(classes))
    columns = np.arange(classes)
    s = log_p[0]
    for t in range(1, frames):
        reached = s[:, None] + A
        best = reached.argmax(0)
        came_from[t], s = best, reached[best, columns] + log_p[t]
    path = np.empty(frames, dtype=np.int64)
    path[-1] = s.argmax()
    for t in range(frames - 1, 0, -1):
        path[t - 1] = came_from[t, path[t]]
    return torch.from_numpy(path)


def stay(probability: float, classes: int) -> Float[Tensor, "classes classes"]:
    """Return the log-probabilities of a chain that stays in its class so often, and else goes to any other.

    A segment then has 1 / (1 - probability) frames on average.

    Raises:
        ValueError: the probability is not between 0 and 1, or there is no class.
    """
    if not 0 < probability < 1 or classes < 1:
        raise ValueError(
            f"the probability to stay must be between 0 and 1, not {probability}, of 1 class at least"
        )
    if classes == 1:
        return torch.zeros(1, 1, dtype=torch.float64)
    A = torch.full(
        (classes, classes), math.log((1 - probability) / (classes - 1)), dtype=torch.float64
    )
    return A.fill_diagonal_(math.log(probability))


def merge_short(
    labels: Labels, log_probabilities: Float[Tensor, "frames classes"], minimum: int
) -> Labels:
    """Return labels whose segments all have `minimum` frames, or are the only one.

    The shortest segment, the first of them, goes to the neighbour whose label is the more probable over its
    frames; and so on until none is too short.
    """
    log_p = log_probabilities.detach().cpu().double().numpy()
    segments = to_segments(labels)
    while len(segments) > 1 and (shortest := min(segment.frames for segment in segments)) < minimum:
        segments = _without(shortest, segments, log_p)
    return to_labels(segments)


def _without(frames: int, segments: Sequence[Segment], log_p: np.ndarray) -> list[Segment]:
    """Merge the segments of so many frames, the fewest there are, from first to last.

    What is merged is longer, and never comes up again in the same pass: time is linear in the segments.
    """
    kept: list[Segment] = []
    rest = list(reversed(segments))
    while rest:
        segment = rest.pop()
        if kept and kept[-1].label == segment.label:  # what stood between them is gone
            segment = segment._replace(start=kept.pop().start)
        if segment.frames > frames or not (kept or rest):
            kept.append(segment)
        elif not rest or (kept and _favours(kept[-1], rest[-1], segment, log_p)):
            kept[-1] = kept[-1]._replace(stop=segment.stop)
        else:
            rest[-1] = rest[-1]._replace(start=segment.start)
    return kept


def _favours(left: Segment, right: Segment, between: Segment, log_p: np.ndarray) -> bool:
    """Whether the frames between two segments are as probably of the left one's label, or more."""
    likelihood = log_p[between.start : between.stop, [left.label, right.label]].sum(0)
    return bool(likelihood[0] >= likelihood[1])
