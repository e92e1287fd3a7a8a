"""A device that captures, played on a CPU: what `core.training.cuda_graphs` needs of CUDA.

A capture notes every operation with the very tensors it was given, and undoes what was
written: nothing has happened. A launch repeats the noted operations on the same memory and runs
no other line of Python. So whatever a step reads from elsewhere, such as a Python number or a
tensor made anew for each batch, is what it was during the capture.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Recorder:
    """The backend; it counts its captures and launches."""

    def __init__(self) -> None:
        self.captures = self.launches = 0

    def aside(self, work: Callable[[], object]) -> None:
        work()

    def capture(self, work: Callable[[], object]) -> Callable[[], None]:
        self.captures += 1
        state = torch.get_rng_state()
        tape = _Tape()
        with tape:
            work()
        tape.undo()
        torch.set_rng_state(state)

        def launch() -> None:
            self.launches += 1
            tape.play()

        return launch


class _Tape(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, Any, Any, list[tuple[int, Tensor]], bool]] = []
        # Storages written to, by address: the tensor, and what it held.
        self.before: dict[int, tuple[Tensor, Tensor]] = {}
        # Storages made in the capture, by address; kept, so that no address is used again.
        self.own: dict[int, Tensor] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        for written in _written(func, args, kwargs):
            place = _address(written)
            if place not in self.own and place not in self.before:
                storage: Any = written.untyped_storage()
                whole = torch.empty(0, dtype=torch.uint8).set_(storage)
                self.before[place] = whole, whole.clone()
        inputs = {_address(tensor) for tensor in _tensors((args, kwargs))}
        result = func(*args, **kwargs)
        fresh = [
            (n, leaf)
            for n, leaf in enumerate(tree_leaves(result))
            if isinstance(leaf, Tensor) and _address(leaf) not in inputs
        ]
        self.own |= {_address(tensor): tensor for _, tensor in fresh}
        self.calls.append((func, args, kwargs, fresh, torch.is_grad_enabled()))
        return result

    def undo(self) -> None:
        for whole, held in self.before.values():
            whole.copy_(held)

    def play(self) -> None:
        with torch._C._AutoDispatchBelowAutograd():  # where the operations were recorded
            for func, args, kwargs, fresh, grad in self.calls:
                with torch.set_grad_enabled(grad):  # some operations read it
                    made = tree_leaves(func(*args, **kwargs))
                for n, place in fresh:
                    place.copy_(made[n])


def _address(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def _written(func: Any, args: Any, kwargs: Any) -> list[Tensor]:
    tensors = []
    for n, argument in enumerate(func._schema.arguments):
        if argument.alias_info is not None and argument.alias_info.is_write:
            value = args[n] if n < len(args) else kwargs.get(argument.name)
            tensors += _tensors(value)
    return tensors
