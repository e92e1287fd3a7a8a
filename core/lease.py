"""Memory that is used again and again: what was used before is in reach already."""

import functools
from typing import ClassVar
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from core.cells import Cell

MOST_FREE = 2  # blocks kept at a home


floats = functools.partial(torch.empty, dtype=torch.float32, device=torch.device("cpu"))
"""New numbers of float32 on the CPU, whatever torch's defaults are."""


class Lease:
    """A block of floats from those kept at home; it goes back there when no one holds the lease any more.

    Args:
        size: how many floats the block must have at least.
        cell: whose home to look at; None for the common one.
    """

    _homes: ClassVar[WeakKeyDictionary[Cell, list[Tensor]]] = WeakKeyDictionary()
    _common: ClassVar[list[Tensor]] = []

    def __init__(self, size: int, cell: Cell | None = None):
        self._home = self._common if cell is None else self._homes.setdefault(cell, [])
        try:
            self.block = self._home.pop()
        except IndexError:  # another thread may have been faster
            self.block = floats(0)
        if self.block.numel() < size:
            with torch.inference_mode(False):  # it may come back to train
                self.block = floats(size + size // 8)

    def __del__(self):
        self._home.append(self.block)
        del self._home[:-MOST_FREE]
