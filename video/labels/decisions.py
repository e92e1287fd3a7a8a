"""From probabilities to labels.

    labels = decide(log_p, shortest=10)                            # one label a frame
    occurs = decide(log_p, thresholds=trained.thresholds)          # or 0 and 1 for each behaviour

Smoothing sees the whole film, and so is for files, not for live streams.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from video.labels.smoothing import merge_short, transitions, viterbi

Labels = Int[Tensor, " frames"] | Int[Tensor, "frames classes"]


def decide(
    log_p: Float[Tensor, "frames classes"],
    shortest: int = 1,
    self_transition: float = 0.0,
    thresholds: Float[Tensor, " classes"] | None = None,
) -> Labels:
    """Return the label of each frame, or which behaviours occur in it.

    Args:
        log_p: log-probability of each label.
        shortest: frames of the shortest segment, or of the shortest bout of a behaviour.
        self_transition: probability that a frame has the label of the frame before; 0: each frame
            has its most probable label, else Viterbi's path has.
        thresholds: where several behaviours can occur at once, the probability from which on each
            of them does.
    """
    if thresholds is None:
        return _smoothed(log_p, shortest, self_transition)
    columns = [
        _smoothed(_two_classes(log_p[:, n], threshold), shortest, self_transition)
        for n, threshold in enumerate(thresholds.tolist())
    ]
    return torch.stack(columns, 1)


def best_thresholds(
    probabilities: Sequence[Float[Tensor, "frames classes"]],
    truth: Sequence[Int[Tensor, "frames classes"]],
) -> Float[Tensor, " classes"]:
    """Return for each behaviour the threshold with the greatest F1 on these films.

    A behaviour that never occurs in them has 0.5.
    """
    p = torch.cat(list(probabilities))
    labels = torch.cat(list(truth))
    thresholds = [_best_threshold(p[:, n], labels[:, n]) for n in range(p.shape[1])]
    return torch.tensor(thresholds)


def _best_threshold(p: Float[Tensor, " frames"], truth: Int[Tensor, " frames"]) -> float:
    p = p[truth >= 0]
    occurs = truth[truth >= 0]
    if not occurs.any():
        return 0.5
    order = p.argsort(descending=True, stable=True)
    found = occurs[order].cumsum(0)
    counts = torch.arange(1, len(p) + 1)
    f1 = 2 * found / (counts + occurs.sum())
    ranked = p[order]
    ends = torch.cat((ranked[1:] < ranked[:-1], torch.tensor([True])))  # equal ones go together
    best = int(torch.where(ends, f1, -1.0).argmax())
    following = ranked[best + 1] if best + 1 < len(ranked) else ranked[best] * 0.5
    middle = float(ranked[best] + following) / 2
    # Rare behaviours have thresholds near 0. None may become 0 or 1 in the float16 of packed
    # models, as the threshold's logit must be finite.
    return min(max(middle, 1e-6), 1 - 2**-11)


def _two_classes(log_p: Float[Tensor, " frames"], threshold: float) -> Float[Tensor, "frames 2"]:
    """Return log-probabilities of absence and occurrence, equal where p is the threshold."""
    p = log_p.double().exp().clamp(1e-12, 1 - 1e-12)
    odds = p.logit() - torch.tensor(threshold, dtype=torch.float64).logit()
    return torch.stack((-odds, odds), 1).sigmoid().log()


def _smoothed(
    log_p: Float[Tensor, "frames classes"], shortest: int, self_transition: float
) -> Int[Tensor, " frames"]:
    if self_transition:
        labels = viterbi(log_p, transitions(self_transition, log_p.shape[1]))
    else:
        labels = log_p.argmax(-1)
    if shortest > 1:
        labels = merge_short(labels, log_p, shortest)
    return labels
