"""What the recurrent attention model learns from (Mnih et al. 2014, section 3).

    L = mean_t [ -log p_t(y)                     cross-entropy, at every glimpse
                 - w A'_t log N(a_t; m_t, std^2) REINFORCE (Williams 1992)
                 + (R_t - b_t)^2 ]               the baseline learns to expect the reward

    r_t = p_t(y)                   reward: the probability of the right class y
    R_t = mean of r_t .. r_T       return: what came of looking at l_t and of all glimpses after it
          or r_T                   (`rewarded` "last", as in the paper)
    b_t = sigmoid(logit p_{t-1}(y) + (V_b h_{t-1})_y)   expected return, in [0, 1] (p_0: a guess)
    A_t = R_t - b_t                advantage
    A'_t = A_t / rms(A)            in units of its root mean square over the batch

The density is that of a_t, the sample before clamping (`Episode.sampled`): the clamped location l_t
has none, as all samples beyond an edge come to lie on it.

The paper predicts the class once, after the last glimpse, and rewards a right answer with 1. Here
it is predicted at every glimpse, so any number of glimpses can be used, and the reward is its
probability, which varies less than right or wrong. A reward at every glimpse makes the policy
hurry: it finds the most telling place first. A reward at the last alone makes it see the most in
the end. As the network learns, it is nearly sure of most images and advantages shrink to
hundredths; in units of their root mean square the policy goes on learning. A baseline may know all
that does not depend on a_t: the right class, and how probable it was before (Pinto et al. 2018,
asymmetric actor-critic). It then accounts for half of the variance of R; the paper's, which knows
the state alone, for a tenth (all measured: benchmarks/RESULTS.md).
Which term trains which part:

    part               cross-entropy   REINFORCE   baseline
    glimpse network    yes             yes         -
    recurrent cell     yes             yes         -
    location network   -               yes         -
    action network     yes             -           -
    baseline           -               -           yes

Two gradients are cut off. A'_t is a number, not a function: REINFORCE is the gradient of the
expected reward only if the reward is held fixed. And the baseline reads the recurrent state without
training it: what to expect is no reason to see differently.

**Sequences** (Ba, Mnih, Kavukcuoglu 2015): a rollout of S T glimpses reads S symbols, T glimpses
each. Every symbol has its own y, and its glimpses are rewarded for that symbol alone.
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from core.training import distributed
from glimpse.config import Rewarded
from glimpse.model import Episode

MOST_PROBABLE = math.exp(-1e-3)  # p is clamped to this: the logit of 1 is infinite


def returns(
    rewards: Float[Tensor, "glimpses batch"], rewarded: Rewarded
) -> Float[Tensor, "glimpses batch"]:
    """Return R_t: the mean of the rewards from glimpse t on, or the last of them."""
    if rewarded == "last":
        return rewards[-1:].expand_as(rewards)
    steps = torch.arange(len(rewards), 0, -1, device=rewards.device)
    return rewards.flip(0).cumsum(0).flip(0) / steps[:, None]


def expected_returns(
    rewards: Float[Tensor, "glimpses batch"],
    baselines: Float[Tensor, "glimpses batch"],
    classes: int,
) -> Float[Tensor, "glimpses batch"]:
    """Return b_t, from p_t(y) and (V_b h_{t-1})_y."""
    guess = torch.full_like(rewards[:1], 1 / classes)
    before = torch.cat((guess, rewards[:-1])).clamp(max=MOST_PROBABLE)
    return torch.sigmoid(torch.logit(before) + baselines)


def rms(advantages: Float[Tensor, "glimpses batch"]) -> Float[Tensor, ""]:
    """Return the root mean square of A over the batch of all processes, plus 1e-3.

    The addition keeps advantages small that are next to nothing.
    """
    square = advantages.square().mean()
    return (distributed.all_reduce_sum(square) / distributed.world_size()).sqrt() + 1e-3


def by_symbol(
    episode: Episode, labels: Int[Tensor, "batch symbols"]
) -> tuple[Episode, Int[Tensor, " symbols*batch"]]:
    """Return the rollouts of a batch of sequences as if each symbol were an image of its own.

    Glimpse t of symbol s is glimpse s T + t of the rollout. Patches and memories are left as they
    are.
    """
    symbols = labels.shape[1]

    def split(values: Float[Tensor, "glimpses batch size"]) -> Tensor:
        return values.unflatten(0, (symbols, -1)).transpose(0, 1).flatten(1, 2)

    names = "locations", "sampled", "means", "baselines", "logits"
    parts = {name: split(getattr(episode, name)) for name in names}
    return episode._replace(**parts), labels.T.flatten()


def terms(
    episode: Episode,
    labels: Int[Tensor, " batch"],
    *,
    std: Float[Tensor, ""] | float,
    rewarded: Rewarded = "every",
) -> dict[str, Float[Tensor, ""]]:
    """Return the three terms of L, unweighted, each a mean over glimpses and batch.

    The constant of log N is left out.
    Raises `IndexError` on a CPU for a label that is no class.
    """
    glimpses, batch, classes = episode.logits.shape
    targets = labels.expand(glimpses, batch)
    # Over classes that lie apart in memory many images are summed up at once.
    by_class = episode.logits.transpose(1, 2).contiguous()
    cross_entropy = F.cross_entropy(by_class, targets, reduction="none")
    rewards = (-cross_entropy.detach()).exp()
    baselines = episode.baselines.gather(-1, targets[..., None]).squeeze(-1)
    advantages = returns(rewards, rewarded) - expected_returns(rewards, baselines, classes)
    standardized = advantages.detach() / rms(advantages.detach())
    squares = (episode.sampled.detach() - episode.means).square().sum(-1)
    log_density = -squares / (2 * std**2)
    return {
        "cross_entropy": cross_entropy.mean(),
        "reinforce": -(standardized * log_density).mean(),
        "baseline": advantages.square().mean(),
    }


def loss(
    episode: Episode,
    labels: Int[Tensor, " batch"] | Int[Tensor, "batch symbols"],
    *,
    std: Float[Tensor, ""] | float,
    weight: Float[Tensor, ""] | float,
    rewarded: Rewarded = "every",
) -> tuple[Float[Tensor, ""], dict[str, Float[Tensor, ""]]]:
    """Return L and the metrics: its cross-entropy and baseline terms, and the final accuracy.

    The accuracy of sequences is that of their symbols.
    """
    if labels.ndim == 2:
        episode, labels = by_symbol(episode, labels)
    term = terms(episode, labels, std=std, rewarded=rewarded)
    total = term["cross_entropy"] + weight * term["reinforce"] + term["baseline"]
    accuracy = (episode.logits[-1].argmax(-1) == labels).float().mean()
    return total, {
        "cross_entropy": term["cross_entropy"],
        "baseline": term["baseline"],
        "accuracy": accuracy,
    }
