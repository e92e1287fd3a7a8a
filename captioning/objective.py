"""What the captioner learns from.

cross-entropy       L = - mean_t log p(w_t)  of the words of a reference, teacher-forced, with label smoothing
                        + w mean_i (1 - sum_t alpha_ti)^2       doubly stochastic (Xu et al. 2015, eq. 14)
self-critical       L = - mean_t (r(s) - b(s)) log p(s_t)       of sampled sentences s (Rennie et al. 2017):
                        r is CIDEr-D against the references, b the mean of r over the other samples of the
                        same image (Luo 2020), so that a sample is learned if it is better than its siblings
"""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor


def cross_entropy(
    logits: Float[Tensor, "words vocabulary"],
    targets: Int[Tensor, " words"],
    smoothing: float = 0.0,
    counts: Bool[Tensor, " words"] | None = None,
) -> Float[Tensor, ""]:
    """Mean cross-entropy with the target smoothed over all words (Szegedy et al. 2016, section 7).

    The mean is over the words that count: over all, by default.
    """
    log_p = F.log_softmax(logits, -1)
    right = log_p.gather(-1, targets[:, None]).squeeze(-1)
    return -mean((1 - smoothing) * right + smoothing * log_p.mean(-1), counts)


def doubly_stochastic(
    alphas: Float[Tensor, "rows time cells"], mask: Bool[Tensor, "rows time"]
) -> Float[Tensor, ""]:
    """How far each sentence is from having looked at every cell alike in sum (Xu et al. 2015, eq. 14)."""
    looked = (alphas * mask[..., None]).sum(1)
    return ((1 - looked) ** 2).mean()


def advantages(rewards: Float[Tensor, " rows"], samples: int) -> Float[Tensor, " rows"]:
    """r - b: the reward of each sample less the mean reward of the other samples of its image."""
    by_image = rewards.view(-1, samples)
    others = (by_image.sum(1, keepdim=True) - by_image) / (samples - 1)
    return (by_image - others).flatten()


def self_critical(
    logits: Float[Tensor, "words vocabulary"],
    words: Int[Tensor, " words"],
    advantage: Float[Tensor, " words"],
    counts: Bool[Tensor, " words"] | None = None,
) -> Float[Tensor, ""]:
    """Mean over the sampled words that count of -advantage * log p(word), the advantage that of the sentence."""
    log_p = F.log_softmax(logits, -1).gather(-1, words[:, None]).squeeze(-1)
    return -mean(advantage * log_p, counts)


def mean(
    values: Float[Tensor, " words"], counts: Bool[Tensor, " words"] | None = None
) -> Float[Tensor, ""]:
    """The mean of the values that count: of all, by default."""
    return values.mean() if counts is None else torch.where(counts, values, 0).sum() / counts.sum()
