"""Activation functions by name, each with its derivative.

Every one here has a derivative that can be written in terms of its own output y = sigma(z).
Backpropagation through time then keeps y alone and forgets z, so the activation may overwrite its
argument.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

aten = torch.ops.aten


@dataclass(frozen=True, eq=False)
class Activation:
    """An activation sigma, in the three forms the library needs; equal to itself alone.

        sigma = activation("tanh")
        y = sigma(z)                           # differentiable by autograd
        dz = sigma.backward(dy, y, out=dy)     # by hand, from y alone

    Attributes:
        function: sigma(z), differentiable by autograd.
        into: `into(z, out)` writes sigma(z) to `out` and returns it; `out` may be `z` itself.
        backward: `backward(dy, y, out)` writes dy * sigma'(z), computed from y = sigma(z), to `out`
            and returns it; `out` may be `dy` itself.

    """

    function: Callable[[Tensor], Tensor]
    into: Callable[[Tensor, Tensor], Tensor]
    backward: Callable[[Tensor, Tensor, Tensor], Tensor]

    def __reduce__(self) -> Any:
        """Pickle the name, as functions without names cannot be pickled."""
        return activation, (next(name for name, each in ACTIVATIONS.items() if each is self),)

    def __call__(self, z: Tensor) -> Tensor:
        """sigma(z)."""
        return self.function(z)


ACTIVATIONS: dict[str, Activation] = {
    "tanh": Activation(  # sigma' = 1 - y^2
        torch.tanh,
        lambda z, out: torch.tanh(z, out=out),
        lambda dy, y, out: aten.tanh_backward.grad_input(dy, y, grad_input=out),
    ),
    "sigmoid": Activation(  # sigma' = y (1 - y)
        torch.sigmoid,
        lambda z, out: torch.sigmoid(z, out=out),
        lambda dy, y, out: aten.sigmoid_backward.grad_input(dy, y, grad_input=out),
    ),
    "relu": Activation(  # sigma' = [y > 0]
        torch.relu,
        lambda z, out: torch.clamp_min(z, 0, out=out),
        lambda dy, y, out: aten.threshold_backward.grad_input(dy, y, 0, grad_input=out),
    ),
    "identity": Activation(  # sigma' = 1
        lambda z: z,
        lambda z, out: out.copy_(z),
        lambda dy, y, out: out.copy_(dy),
    ),
    "hardtanh": Activation(  # y = clip(z, -1, 1), sigma' = [-1 < y < 1]
        F.hardtanh,
        lambda z, out: torch.clamp(z, -1, 1, out=out),
        lambda dy, y, out: aten.hardtanh_backward.grad_input(dy, y, -1, 1, grad_input=out),
    ),
    "hardsigmoid": Activation(  # y = clip(z / 6 + 1 / 2, 0, 1), sigma' = [0 < y < 1] / 6
        # The derivative of F.hardsigmoid is right to 8 digits only.
        lambda z: F.hardtanh(z / 6 + 0.5, 0, 1),
        lambda z, out: torch.div(z, 6, out=out).add_(0.5).clamp_(0, 1),
        lambda dy, y, out: aten.hardtanh_backward.grad_input(dy, y, 0, 1, grad_input=out).div_(6),
    ),
}


def activation(name: str) -> Activation:
    """The activation called `name`; ValueError lists the known names."""
    if name not in ACTIVATIONS:
        raise ValueError(f"unknown activation {name!r}; choose one of {', '.join(ACTIVATIONS)}")
    return ACTIVATIONS[name]
