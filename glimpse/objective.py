"""What the recurrent attention model learns from (Mnih et al. 2014, section 3).

    L = mean_t [ -log p_t(y)                     cross-entropy, at every glimpse
                 - w A'_t log N(l_t; m_t, std^2) REINFORCE (Williams 1992)
                 + (R_t - b_t)^2 ]               the baseline learns the reward to expect

    r_t = p_t(y)                   reward: the probability of the right class y
    R_t = mean of r_t .. r_T       what came of looking at l_t, and of all looks after it
    b_t = sigmoid(logit p_{t-1}(y) + (V_b h_{t-1})_y)  the reward to expect before looking, in [0, 1] (p_0: a guess)
    A_t = R_t - b_t                how much better than expected: the advantage
    A'_t = A_t / rms(A)            in units of its root mean square over the batch

The paper asks for the class once, after the last glimpse, and rewards a right answer with 1. Asked for at every
glimpse, the class can be read off after any number of them; its probability is a reward with less variance than
right or wrong. As the network learns, it is nearly sure of most images, and advantages shrink to hundredths; in units
of their root mean square the policy goes on learning. A baseline may know all that does not depend on l_t: the right
class, and how sure of it the network was before (Pinto et al. 2018, asymmetric actor-critic). So it accounts for half
of what varies in R, where the paper's, which knows the state alone, accounts for a tenth (all measured:
benchmarks/RESULTS.md). Which term teaches which part:

    part               cross-entropy   REINFORCE   baseline
    glimpse network    yes             yes         -
    core               yes             yes         -
    location network   -               yes         -
    action network     yes             -           -
    baseline           -               -           yes

Two things are cut off, for these reasons. A'_t is a number, not a function: REINFORCE is the gradient of the expected
reward only if the reward is held fixed. And the baseline reads the core without teaching it: how well things will go
is no reason to see them otherwise.
"""

import math
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from core.training import distributed
from glimpse import compiled
from glimpse.model import Episode

SURE = math.exp(-1e-3)  # more than this no p counts: the logit of what is certain is infinite


def returns(rewards: Float[Tensor, "glimpses batch"]) -> Float[Tensor, "glimpses batch"]:
    """R_t, the mean of the rewards from glimpse t on."""
    steps = torch.arange(len(rewards), 0, -1, device=rewards.device)
    return rewards.flip(0).cumsum(0).flip(0) / steps[:, None]


def expectations(
    rewards: Float[Tensor, "glimpses batch"],
    baselines: Float[Tensor, "glimpses batch"],
    classes: int,
) -> Float[Tensor, "glimpses batch"]:
    """b_t, from p_t(y) and (V_b h_{t-1})_y."""
    guess = torch.full_like(rewards[:1], 1 / classes)
    before = torch.cat((guess, rewards[:-1])).clamp_(max=SURE)
    return before.logit_().add_(baselines).sigmoid_()


def rms(advantages: Float[Tensor, "glimpses batch"]) -> Float[Tensor, ""]:
    """Root mean square of A over the batch of all processes; not quite 0, so that next to nothing stays so."""
    square = advantages.square().mean()
    return (distributed.total(square) / distributed.world()).sqrt() + 1e-3


def terms(
    episode: Episode, labels: Int[Tensor, " batch"], *, std: Float[Tensor, ""] | float
) -> dict[str, Float[Tensor, ""]]:
    """Return the three terms of L, unweighted, each a mean over glimpses and batch."""
    node: Any = _Terms.apply
    values = node(episode.logits, episode.means, episode.baselines, episode.chosen, labels, std)
    return dict(zip(("cross_entropy", "reinforce", "baseline"), values, strict=True))


class _Terms(torch.autograd.Function):
    """The gradient of each term in what it teaches is known in closed form, so the way forward computes it too.

    With n = glimpses x batch: d(cross-entropy)/dz = (p - [y]) / n for the logits z, d(REINFORCE)/dm =
    -A' (l - m) / std^2 / n, d(baseline)/dV_b h = 2 (b - R) b (1 - b) / n for the right class.
    """

    @staticmethod
    def forward(
        ctx: Any,
        logits: Tensor,
        means: Tensor,
        baselines: Tensor,
        chosen: Tensor,
        labels: Tensor,
        std: Any,
    ) -> tuple[Tensor, Tensor, Tensor]:
        if compiled.judges(values := (logits, means, baselines, chosen)):  # the same in C
            gradients, (cross_entropy, reinforce, baseline) = compiled.judge(
                values, labels, float(std), SURE
            )
            ctx.save_for_backward(*gradients)
            return cross_entropy, reinforce, baseline
        log_p, classes = logits.log_softmax(-1), logits.shape[-1]
        right = labels.expand(log_p.shape[:2])[..., None]
        log_right = log_p.gather(-1, right).squeeze(-1)
        n, rewards = log_right.numel(), log_right.exp()
        expected = expectations(rewards, baselines.gather(-1, right).squeeze(-1), classes)
        wrong_by = expected - returns(rewards)  # -A
        off = chosen - means
        d_means = (wrong_by / (rms(wrong_by) * (n * std**2)))[..., None] * off
        reinforce = (
            d_means.mul(off).sum() / -2
        )  # -mean A' log N: a square in l - m, which its gradient has once
        d_logits = log_p.exp_().scatter_(-1, right, -1, reduce="add").div_(n)
        d_expected = (
            torch.addcmul(expected, expected, expected, value=-1).mul_(wrong_by).mul_(2 / n)
        )
        d_baselines = torch.zeros_like(baselines).scatter_(-1, right, d_expected[..., None])
        ctx.save_for_backward(d_logits, d_means, d_baselines)
        return -log_right.mean(), reinforce, wrong_by.square().mean()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        gradients = (
            d * gradient for d, gradient in zip(grad_outputs, ctx.saved_tensors, strict=True)
        )
        return *gradients, None, None, None


def loss(
    episode: Episode,
    labels: Int[Tensor, " batch"],
    *,
    std: Float[Tensor, ""] | float,
    weight: Float[Tensor, ""] | float,
) -> tuple[Float[Tensor, ""], dict[str, Float[Tensor, ""]]]:
    """Return L and what to watch: its cross-entropy and baseline terms, and the accuracy after the last glimpse."""
    term = terms(episode, labels, std=std)
    total = term["cross_entropy"] + weight * term["reinforce"] + term["baseline"]
    accuracy = (episode.logits[-1].argmax(-1) == labels).float().mean()
    return total, {
        "cross_entropy": term["cross_entropy"],
        "baseline": term["baseline"],
        "accuracy": accuracy,
    }
