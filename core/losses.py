"""Error functions E(y, d) of output sequences y and desired values d, by name in `LOSSES`.

y and d are time-first. With `lengths` [batch], each within 0..time, what lies beyond a sequence's
end does not count.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

IGNORE = -100  # the class of a step that does not count


def squared_error(
    y: Float[Tensor, "time batch units"],
    d: Float[Tensor, "time batch units"],
    lengths: Int[Tensor, " batch"] | None = None,
) -> Float[Tensor, ""]:
    """E = 1/2 sum over time and units of (y - d)^2, averaged over the batch (slides 20, 24).

    The 1/2, absent from slide 20, is what makes dE/dy = y - d (slide 25).
    """
    difference = y - d
    if lengths is not None:
        # Before the square, so that NaN beyond an end has no gradient.
        difference = torch.where(_within(lengths, y)[:, :, None], difference, 0)
    return difference.square().sum() / (2 * y.shape[1])


def cross_entropy(
    y: Float[Tensor, "*steps classes"],
    d: Int[Tensor, "*steps"],
    lengths: Int[Tensor, " batch"] | None = None,
    smoothing: float = 0.0,
) -> Float[Tensor, ""]:
    """-log softmax(y)[d] in nats, averaged over all steps but those whose class is `IGNORE`.

    0 if no step counts. With smoothing s the target is (1 - s) [class d] + s / classes (Szegedy et
    al. 2016, section 7). With `lengths`, steps are [time, batch].
    """
    if lengths is not None:
        d = torch.where(_within(lengths, y), d, IGNORE)
    total = F.cross_entropy(
        y.flatten(0, -2),
        d.flatten(),
        ignore_index=IGNORE,
        reduction="sum",
        label_smoothing=smoothing,
    )
    return total / (d != IGNORE).sum().clamp(min=1)


def projected_cross_entropy(
    h: Float[Tensor, "rows hidden"],
    weight: Float[Tensor, "classes hidden"],
    bias: Float[Tensor, " classes"],
    d: Int[Tensor, " rows"],
    smoothing: float = 0.0,
) -> Float[Tensor, ""]:
    """Mean `cross_entropy` of y = weight h + bias, with its smoothing, computed in blocks.

    With many classes this is most of a training step. So the gradient dE/dy = softmax(y) - d is
    formed at once, a block of rows at a time while it lies in the cache, and all of y is never in
    memory. In float32 at least; not twice differentiable. Every row counts: `d` must hold no
    `IGNORE`, and there must be a row.
    """
    with torch.autocast(h.device.type, enabled=False):
        wide = torch.promote_types(h.dtype, torch.float32)
        return _ProjectedCrossEntropy.apply(
            h.to(wide), weight.to(wide), bias.to(wide), d, smoothing
        )


class _ProjectedCrossEntropy(torch.autograd.Function):
    BLOCK = 128  # rows

    @staticmethod
    def forward(
        ctx: Any, h: Tensor, weight: Tensor, bias: Tensor, d: Tensor, smoothing: float
    ) -> Tensor:
        loss = h.new_zeros(())
        d_h, d_weight, d_bias = (
            torch.empty_like(h),
            torch.zeros_like(weight),
            torch.zeros_like(bias),
        )
        share = smoothing / len(weight)  # of the target, for every class
        for start in range(0, len(h), _ProjectedCrossEntropy.BLOCK):
            rows = slice(start, start + _ProjectedCrossEntropy.BLOCK)
            y = torch.addmm(bias, h[rows], weight.T)
            right = d[rows, None]
            log_sum = y.logsumexp(-1, keepdim=True)
            loss += (
                log_sum
                - (1 - smoothing) * y.gather(1, right)
                - smoothing * y.mean(-1, keepdim=True)
            ).sum()
            d_y = y.sub_(log_sum).exp_().sub_(share)
            d_y.scatter_add_(1, right, d_y.new_full(right.shape, smoothing - 1))
            torch.mm(d_y, weight, out=d_h[rows])
            d_weight.addmm_(d_y.T, h[rows])
            d_bias += d_y.sum(0)
        ctx.save_for_backward(d_h, d_weight, d_bias)
        ctx.rows = len(h)
        return loss / len(h)

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, d_loss: Tensor
    ) -> tuple[Tensor | None, ...]:
        return *(gradient * (d_loss / ctx.rows) for gradient in ctx.saved_tensors), None, None


def _within(lengths: Tensor, y: Tensor) -> Tensor:
    return torch.arange(len(y), device=y.device)[:, None] < lengths.to(y.device)


LOSSES: dict[str, Callable[..., Tensor]] = {
    "squared_error": squared_error,
    "cross_entropy": cross_entropy,
}
