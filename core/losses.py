"""Error functions E(y, d) of output sequences y and desired values d, by name in `LOSSES`.

Outputs are time-first; with `lengths` [batch] what lies beyond a sequence's end does not count.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

IGNORE = -100  # the class of a step that does not count


def squared_error(
    y: Float[Tensor, "time batch units"],
    d: Float[Tensor, "time batch units"],
    lengths: Int[Tensor, " batch"] | None = None,
) -> Float[Tensor, ""]:
    """E = 1/2 sum over time and units of (y - d)^2, averaged over the batch (slides 20, 24).

    The 1/2, absent from slide 20, is what makes dE/dy = y - d (slide 25).
    """
    squares = (y - d).square()
    if lengths is not None:
        squares = torch.where(_within(lengths, y)[:, :, None], squares, 0)
    return squares.sum() / (2 * y.shape[1])


def cross_entropy(
    y: Float[Tensor, "time batch classes"],
    d: Int[Tensor, "time batch"],
    lengths: Int[Tensor, " batch"] | None = None,
) -> Float[Tensor, ""]:
    """-log softmax(y)[d], in nats, averaged over the steps that count: not those whose class is `IGNORE`.

    0 if no step counts.
    """
    if lengths is not None:
        d = torch.where(_within(lengths, y), d, IGNORE)
    total = F.cross_entropy(y.flatten(0, 1), d.flatten(), ignore_index=IGNORE, reduction="sum")
    return total / (d != IGNORE).sum().clamp(min=1)


def _within(lengths: Tensor, y: Tensor) -> Tensor:
    return torch.arange(len(y), device=y.device)[:, None] < lengths.to(y.device)


LOSSES: dict[str, Callable[..., Tensor]] = {"squared_error": squared_error, "cross_entropy": cross_entropy}
