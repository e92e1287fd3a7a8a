"""Metrics are summed on the device and divided once."""

from collections.abc import Mapping

import torch
from torch import Tensor

from core.training import distributed


class Sums:
    """Named sums that stay on their device until they are read."""

    def __init__(self) -> None:
        self.values: dict[str, Tensor] = {}

    def add(self, values: Mapping[str, Tensor]) -> None:
        """Add 0-dimensional tensors: floats in float32 or better, counts in int64."""
        for name, value in values.items():
            if name not in self.values:
                floats = value.is_floating_point()
                wide = torch.promote_types(value.dtype, torch.float32) if floats else torch.int64
                self.values[name] = torch.zeros((), dtype=wide, device=value.device)
            self.values[name] += value.detach()

    def clear(self) -> None:
        """Begin again from 0, in the same tensors: a captured step adds to these."""
        for value in self.values.values():
            value.zero_()

    def divided(self, count: float) -> dict[str, float]:
        """Read the sums, each divided by `count`."""
        return {name: value.item() / count for name, value in self.values.items()}

    def shared(self) -> "Sums":
        """The mean of these sums over all processes."""
        mean = Sums()
        mean.values = {
            name: distributed.all_reduce_sum(v) / distributed.world_size()
            for name, v in self.values.items()
        }
        return mean
