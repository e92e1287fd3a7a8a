"""What the recurrent attention model learns from (Mnih et al. 2014, section 3).

    L = mean_t [ -log p_t(y)                     cross-entropy, at every glimpse
                 - w A'_t log N(l_t; m_t, std^2) REINFORCE (Williams 1992)
                 + (R_t - b_t)^2 ]               the baseline learns the reward to expect

    r_t = p_t(y)                   reward: the probability of the right class
    R_t = mean of r_t .. r_T       what came of looking at l_t, and of all looks after it
    A_t = R_t - b_t                how much better than expected: the advantage
    A'_t = A_t / rms(A)            in units of its root mean square over the batch

The paper asks for the class once, after the last glimpse, and rewards a right answer with 1. Asked for at every
glimpse, the class can be read off after any number of them; its probability is a reward with less variance than
right or wrong. As the network learns, it is nearly sure of most images, and advantages shrink to hundredths; in units
of their root mean square the policy goes on learning (both measured: benchmarks/RESULTS.md). Which term teaches which
part:

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

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from core import distributed
from glimpse.model import Episode


def returns(rewards: Float[Tensor, "glimpses batch"]) -> Float[Tensor, "glimpses batch"]:
    """R_t, the mean of the rewards from glimpse t on."""
    steps = torch.arange(len(rewards), 0, -1, device=rewards.device)
    return rewards.flip(0).cumsum(0).flip(0) / steps[:, None]


def log_density(
    chosen: Float[Tensor, "glimpses batch 2"],
    means: Float[Tensor, "glimpses batch 2"],
    std: float,
) -> Float[Tensor, "glimpses batch"]:
    """log N(l; m, std^2 I) but for its constant, which has no gradient."""
    return -((chosen - means) ** 2).sum(-1) / (2 * std**2)


def standardised(advantages: Float[Tensor, "glimpses batch"]) -> Float[Tensor, "glimpses batch"]:
    """A', in units of the root mean square of A over the batch of all processes; what is next to nothing stays so."""
    square = distributed.total((advantages**2).mean()) / distributed.world()
    return advantages / (square.sqrt() + 1e-3)


def terms(episode: Episode, labels: Int[Tensor, " batch"], *, std: float) -> dict[str, Float[Tensor, ""]]:
    """Return the three terms of L, unweighted, each a mean over glimpses and batch."""
    node: Any = _Terms.apply
    values = node(episode.logits, episode.means, episode.baselines, episode.chosen, labels, std)
    return dict(zip(("cross_entropy", "reinforce", "baseline"), values, strict=True))


class _Terms(torch.autograd.Function):
    """The gradient of each term in what it teaches is known in closed form, so the way forward computes it too.

    With n = glimpses x batch: d(cross-entropy)/dz = (p - [y]) / n for the logits z, d(REINFORCE)/dm =
    -A' (l - m) / std^2 / n, d(baseline)/db = 2 (b - R) / n.
    """

    @staticmethod
    def forward(
        ctx: Any, logits: Tensor, means: Tensor, baselines: Tensor, chosen: Tensor, labels: Tensor, std: Any
    ) -> tuple[Tensor, Tensor, Tensor]:
        log_p, n = logits.log_softmax(-1), baselines.numel()
        right = labels.expand(baselines.shape)[..., None]
        log_right = log_p.gather(-1, right).squeeze(-1)
        expected = returns(log_right.exp())
        wrong_by = baselines - expected  # -A
        advantages = standardised(-wrong_by)
        d_logits = log_p.exp().scatter_add_(-1, right, -torch.ones_like(log_right)[..., None]).div_(n)
        d_means = (advantages / (-n * std**2))[..., None] * (chosen - means)
        ctx.save_for_backward(d_logits, d_means, wrong_by * (2 / n))
        reinforce = -(advantages * log_density(chosen, means, std)).mean()
        return -log_right.mean(), reinforce, wrong_by.square().mean()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        gradients = (d * gradient for d, gradient in zip(grad_outputs, ctx.saved_tensors, strict=True))
        return *gradients, None, None, None


def loss(
    episode: Episode,
    labels: Int[Tensor, " batch"],
    *,
    std: float,
    weight: float,
) -> tuple[Float[Tensor, ""], dict[str, Float[Tensor, ""]]]:
    """Return L and what to watch: its cross-entropy and baseline terms, and the accuracy after the last glimpse."""
    term = terms(episode, labels, std=std)
    total = term["cross_entropy"] + weight * term["reinforce"] + term["baseline"]
    accuracy = (episode.logits[-1].argmax(-1) == labels).float().mean()
    return total, {"cross_entropy": term["cross_entropy"], "baseline": term["baseline"], "accuracy": accuracy}
