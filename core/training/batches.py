"""Which samples form batch `step`, and with what noise: functions of only (seed, step).

Nothing here remembers how many draws came before. So a run that was killed and resumed, or one that
several processes share, sees the same batches as one that was not.
"""

from functools import lru_cache

import torch
from jaxtyping import Int
from torch import Tensor

from core.rng import generator


@lru_cache(maxsize=8)
def permutation(
    seed: int, epoch: int, size: int, device: torch.device | str = "cpu"
) -> Int[Tensor, " size"]:
    """The order of `size` samples in one epoch; drawn on the CPU, so that it is the same on every
    device.
    """
    return torch.randperm(size, generator=generator("cpu", seed, epoch, "epoch")).to(device)


def indices(
    seed: int, step: int, size: int, batch: int, device: torch.device | str = "cpu"
) -> Int[Tensor, " batch"]:
    """The samples of batch `step` out of `size`: stream[step * batch : (step + 1) * batch].

    The stream is the permutations of all epochs, one after another: each sample occurs once an
    epoch, and batches cross the borders between epochs, so that all have one size.
    """
    start, stop = step * batch, (step + 1) * batch
    epochs = range(start // size, (stop - 1) // size + 1)
    return torch.cat(
        [
            permutation(seed, e, size, device)[max(start - e * size, 0) : stop - e * size]
            for e in epochs
        ]
    )


def in_order(size: int, batch: int) -> list[slice]:
    """Slices that cover 0..size in order, for evaluation; the last may be shorter."""
    return [slice(start, min(start + batch, size)) for start in range(0, size, batch)]
