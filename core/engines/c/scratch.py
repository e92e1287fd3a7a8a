"""Memory that is used again and again: what was used before is in reach already."""

import functools
import threading
from typing import ClassVar
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from core.cells import Cell

MOST_FREE = 2  # blocks kept at a home

floats = functools.partial(torch.empty, dtype=torch.float32, device=torch.device("cpu"))
"""New numbers of float32 on the CPU, whatever torch's defaults are."""


class Lease:
    """A block of floats from those kept for a cell; it goes back there when no one holds the lease any more.

    Args:
        size: how many floats the block must have at least.
        cell: whose blocks.
    """

    _homes: ClassVar[WeakKeyDictionary[Cell, list[Tensor]]] = WeakKeyDictionary()
    _home: list[Tensor] | None = None

    def __init__(self, size: int, cell: Cell):
        home = self._homes.setdefault(cell, [])
        try:
            self.block = enough(home.pop(), size)
        except IndexError:  # another thread may have been faster
            self.block = enough(None, size)
        self._home = home

    def __del__(self):
        if self._home is not None and len(self._home) < MOST_FREE:
            self._home.append(self.block)


def room(size: int) -> Tensor:
    """At least so many floats, this thread's own until it asks again."""
    _own.block = enough(getattr(_own, "block", None), size)
    return _own.block


_own = threading.local()


def enough(block: Tensor | None, size: int) -> Tensor:
    """The block, or a new one where it is too small."""
    if block is not None and block.numel() >= size:
        return block
    with torch.inference_mode(False):  # it may come back to train
        return floats(size + size // 8)
