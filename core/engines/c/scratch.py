"""Scratch buffers that are reused between calls, so that hot memory stays in cache."""

import functools
import threading
from typing import ClassVar
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from core.base_cell import Cell

KEPT_FREE = 2  # buffers kept for a cell while nobody uses them

floats = functools.partial(torch.empty, dtype=torch.float32, device=torch.device("cpu"))
"""An uninitialised float32 tensor on the CPU, whatever torch's defaults are."""


class ScratchBuffer:
    """A block of floats from those kept for a cell; it returns when the last reference is dropped.

    Args:
        size: how many floats the block must have at least.
        cell: whose blocks.
    """

    _free: ClassVar[WeakKeyDictionary[Cell, list[Tensor]]] = WeakKeyDictionary()
    _free_of_cell: list[Tensor] | None = None

    def __init__(self, size: int, cell: Cell):
        free = self._free.setdefault(cell, [])
        try:
            self.block = enlarged(free.pop(), size)
        except IndexError:  # none is free, or another thread was faster
            self.block = enlarged(None, size)
        self._free_of_cell = free

    def __del__(self):
        if self._free_of_cell is not None and len(self._free_of_cell) < KEPT_FREE:
            self._free_of_cell.append(self.block)


def thread_scratch(size: int) -> Tensor:
    """At least `size` floats that belong to this thread until it calls again."""
    _own.block = enlarged(getattr(_own, "block", None), size)
    return _own.block


_own = threading.local()


def enlarged(block: Tensor | None, size: int) -> Tensor:
    """The block, or a new one where it is too small."""
    if block is not None and block.numel() >= size:
        return block
    with torch.inference_mode(False):  # an inference tensor could not be used in training later
        return floats(size + size // 8)
