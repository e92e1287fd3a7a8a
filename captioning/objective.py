"""The losses of the captioner.

cross-entropy       L = - mean_t log p(w_t)  of the words of a reference, teacher-forced, with label
                        smoothing (core/losses.py),
                        + w mean_i (1 - sum_t alpha_ti)^2, the coverage loss (doubly stochastic
                        attention; Xu et al. 2015, eq. 14, who sum over cells where this is the
                        mean: w is not their lambda)
self-critical       L = - mean_t (r(s) - b(s)) log p(s_t)  of sampled sentences s (Rennie et al.
                        2017): r is CIDEr-D against the references. Their b is the r of the greedy
                        sentence; here it is the mean of r over the other samples of the same image
                        (Luo 2020), so that a sample that is better than its siblings becomes more
                        probable. p is renormalised over the words that may be written, as in
                        sampling. The gradient is approximate all the same: sentences are sampled
                        without dropout, and p is computed with it
"""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor


def coverage(
    alphas: Float[Tensor, "rows time cells"], mask: Bool[Tensor, "rows time"]
) -> Float[Tensor, ""]:
    """Return how far the attention on a cell, summed over words, is from 1 (Xu et al., eq. 14)."""
    total = (alphas * mask[..., None]).sum(1)
    return ((1 - total) ** 2).mean()


def advantages(rewards: Float[Tensor, " rows"], samples: int) -> Float[Tensor, " rows"]:
    """Return r - b: a sample's reward less the mean reward of the other samples of its image."""
    by_image = rewards.view(-1, samples)
    others = (by_image.sum(1, keepdim=True) - by_image) / (samples - 1)
    return (by_image - others).flatten()


def self_critical(
    logits: Float[Tensor, "words vocabulary"],
    words: Int[Tensor, " words"],
    advantage: Float[Tensor, " words"],
    counts: Bool[Tensor, " words"] | None = None,
) -> Float[Tensor, ""]:
    """Return the mean of -advantage * log p over the sampled words that count.

    The advantage of a word is that of its sentence.
    """
    log_p = F.log_softmax(logits, -1).gather(-1, words[:, None]).squeeze(-1)
    return -mean(advantage * log_p, counts)


def mean(
    values: Float[Tensor, " words"], counts: Bool[Tensor, " words"] | None = None
) -> Float[Tensor, ""]:
    """Return the mean of the values that count: of all, by default."""
    if counts is None:
        return values.mean()
    return torch.where(counts, values, 0).sum() / counts.sum()
