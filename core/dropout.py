"""Dropout (Srivastava et al. 2014), on a CPU at less than half of torch's time; locked dropout."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

BITS = 16


def dropout(
    x: Float[Tensor, "*shape"], probability: float, training: bool = True
) -> Float[Tensor, "*shape"]:
    """Dropout: in training each number is 0 with probability p, the others are divided by 1 - p.

    On a CPU torch draws a random number for each. Here 16 random bits decide, from the same
    generator: the probability is rounded to a multiple of 2^-16, and the factor 1 / (1 - p) is that
    of the rounded one.

    Raises:
        ValueError: the probability is not within 0..1.
    """
    if not 0 <= probability <= 1:
        raise ValueError(f"the dropout probability must be within 0..1, not {probability}")
    if not training or probability == 0 or not x.is_cpu:
        return F.dropout(x, probability, training)
    dropped = round(probability * 2**BITS)
    if dropped == 2**BITS:
        return x * 0.0
    # Without bounds `random_` draws all 64 bits.
    draws = torch.empty(-(-x.numel() * BITS // 64), dtype=torch.int64).random_(-(2**63), None)
    drawn = draws.view(torch.int16)[: x.numel()].view(x.shape)
    kept = torch.empty_like(drawn, dtype=x.dtype)
    torch.ge(drawn, dropped - 2 ** (BITS - 1), out=kept)  # 0 or 1, without bools in between
    return x * kept.mul_(2**BITS / (2**BITS - dropped))


def locked_dropout(
    x: Float[Tensor, "time batch units"], probability: float, training: bool = True
) -> Float[Tensor, "time batch units"]:
    """Drop the same units of a sequence at all of its steps (Gal and Ghahramani 2016)."""
    if not training or probability == 0:
        return x
    return x * dropout(torch.ones_like(x[0]), probability)
