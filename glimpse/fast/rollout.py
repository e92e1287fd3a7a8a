"""The rollout of glimpse/model.py on a CPU, fast: the same values and gradients.

The loop runs without gradient, its steps in C, and leaves its values in buffers. They are then
attached to the autograd graph, all glimpses at once: a weight's gradient is one product over all
glimpses. The recurrent part is `core.engines.bptt.record` and `replay`. The glimpse network's
backward pass is derived by hand. With dv for dE/dv and * for the component-wise product:

    z = W x + b,  y = relu(z):    dz = dy * (y > 0),  dx = dz W,  dW = dz^T x,  db = sum dz

and the input scale s stands beside the weights: W (x / s) = (W / s) x.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from core.base_cell import Cell
from core.cells import LSTMCell, RNNCell
from core.engines import bptt
from core.engines.c.binding import kernel_serves
from core.engines.c.passes import CompiledTape
from core.engines.steps import fast_cell
from glimpse.fast import compiled
from glimpse.fast.compiled import Linear
from glimpse.networks.glimpse_network import GlimpseNetwork
from glimpse.networks.locators import LocationNetwork, ScanLocation
from glimpse.sensor import Retina

aten = torch.ops.aten


class Parts(Protocol):
    """The parts of a `RecurrentAttention`, which may have been replaced by any others."""

    retina: Any
    glimpse: Any
    recurrent: Any
    location: Any
    baseline: Any
    action: Any


def serves(model: Parts) -> bool:
    """Return whether `run` can look with this model.

    The weights are float32 on a CPU, without autocast. Whatever was changed about a part (a
    subclass, hooks, a `forward` of its own) is left to the plain rollout.
    """
    if torch.is_autocast_enabled("cpu") or not _has_known_parts(model):
        return False
    parts = model.glimpse, model.location, model.recurrent, model.baseline, model.action
    if any(has_hooks(module) for part in parts for module in part.modules()):
        return False
    parameters = [each for part in parts for each in part.parameters()]
    ours = all(each.is_cpu and each.dtype == torch.float32 for each in parameters)
    fast = fast_cell(model.recurrent)
    return ours and fast is not None and kernel_serves(fast, model.recurrent.U, ())


def _has_known_parts(model: Parts) -> bool:
    """Return whether every part is one that C knows, with biases."""
    supported = [
        type(model.retina) is Retina,
        type(model.glimpse) is GlimpseNetwork,
        type(model.location) in (LocationNetwork, ScanLocation),
        type(model.recurrent) in (RNNCell, LSTMCell),
    ]
    if not all(supported) or model.recurrent.b is None or model.location.bias is None:
        return False
    layers = model.baseline, model.action, *model.glimpse.children()
    return all(type(layer) is nn.Linear and layer.bias is not None for layer in layers)


def run(
    model: Parts,
    images: compiled.Images,
    memories: Float[Tensor, "glimpses batch steps 2"] | None,
    glimpses: int,
    policy: Callable[[int, Tensor], Tensor],
) -> tuple[Tensor, ...]:
    """Return the fields of an `Episode` but the locator's memories, which are given.

    Raises `ValueError` if the policy's locations are not [batch, 2].
    """
    network = Network(
        cell=model.recurrent,
        location=_weights(model.location),
        baseline=_weights(model.baseline),
        action=_weights(model.action),
        what=_weights(model.glimpse.what),
        where=_weights(model.glimpse.where),
        combine=_weights(model.glimpse.combine),
        location_scale=model.location.scale,
        input_scale=model.glimpse.input_scale,
        edges=model.retina.edges,
        scan=None if memories is None else memories[:, :, 0],
    )
    return network.run(images, glimpses, policy)


def _weights(layer: nn.Linear) -> Linear:
    return layer.weight, layer.bias


class Network(NamedTuple):
    """The cell, the weights of all layers, and the borders of the retina's cells."""

    cell: Cell
    location: Linear
    baseline: Linear
    action: Linear
    what: Linear
    where: Linear
    combine: Linear
    location_scale: float
    input_scale: float
    edges: Int[Tensor, "scales size+1"]
    scan: Float[Tensor, "glimpses batch 2"] | None = None  # added where glimpses are located

    def run(
        self,
        images: compiled.Images,
        glimpses: int,
        policy: Callable[[int, Tensor], Tensor],
    ) -> tuple[Tensor, ...]:
        """Return the fields of an `Episode`: locations, sampled, means, baselines, logits, patches.

        Raises `ValueError` if the policy's locations are not [batch, 2].
        """
        batch = len(images.pointers)
        scales, size = len(self.edges), self.edges.shape[1] - 1
        tape = bptt.record(self.cell, batch, glimpses)
        assert isinstance(tape, CompiledTape)
        U, b = self.cell.U, self.cell.b
        assert b is not None
        weights = compiled.Weights(self.location, self.what, self.where, self.combine, (U, b))
        what_units, where_units = len(self.what[1]), len(self.where[1])
        means = torch.empty(glimpses, batch, 2)
        sampled = torch.empty(glimpses, batch, 2)
        locations = torch.empty(glimpses, batch, 2)
        patches = torch.empty(glimpses, batch, images.channels, scales, size, size)
        parts = torch.empty(glimpses, batch, what_units + where_units)
        g = torch.empty(glimpses, batch, len(self.combine[1]))
        h = tape.start[0]
        with torch.no_grad():
            steps = compiled.Steps(
                weights, images, self.edges, self.location_scale, self.input_scale
            )
            for t in range(glimpses):
                if self.scan is None:
                    steps.locate(h, means[t])
                else:
                    located = F.linear(h, *self.location) + self.scan[t]
                    means[t] = torch.tanh(self.location_scale * located)
                sampled[t] = _checked(policy(t, means[t]), batch)
                steps.glimpse_step(
                    tape.place(),
                    sampled=sampled[t],
                    location=locations[t],
                    patches=patches[t],
                    parts=parts[t],
                    g=g[t],
                )
                h = tape.advance()
        g = self._attach(patches.flatten(2), locations, parts, g)
        h = bptt.replay(self.cell, g, tape)
        return (locations, sampled, *self._heads(h), patches)

    def _heads(self, h: Float[Tensor, "glimpses batch hidden"]) -> tuple[Tensor, Tensor, Tensor]:
        """Return means, baselines and logits from h_1 .. h_T, as in `RecurrentAttention.rollout`.

        Means and baselines belong to the state before their glimpse, h_0 = 0 .. h_{T-1}: they are
        moved by a step, as that copies less than moving h.
        """
        classes = len(self.action[1])
        weights = torch.cat((self.action[0], self.location[0]))
        biases = torch.cat((self.action[1], self.location[1]))
        logits, located = F.linear(h, weights, biases).split((classes, 2), -1)
        baselines = F.linear(h.detach(), *self.baseline)
        first = self.location[1].expand(1, h.shape[1], -1)
        located = torch.cat((first, located[:-1]))
        if self.scan is not None:
            located = located + self.scan
        means = torch.tanh(self.location_scale * located)
        first = self.baseline[1].expand(1, h.shape[1], -1)
        return means, torch.cat((first, baselines[:-1])), logits

    def _attach(
        self,
        pixels: Float[Tensor, "glimpses batch pixels"],
        locations: Float[Tensor, "glimpses batch 2"],
        parts: Float[Tensor, "glimpses batch parts"],
        g: Float[Tensor, "glimpses batch glimpse_units"],
    ) -> Float[Tensor, "glimpses batch glimpse_units"]:
        """Return g as a function of the weights, where g = relu(W_g parts + b_g) and

        parts = relu([W_what pixels / input_scale + b_what, W_where locations + b_where]).
        """
        node: Any = _GlimpseNetwork.apply
        weights = *self.what, *self.where, *self.combine
        return node(self.input_scale, pixels, locations, parts, g, *weights)


def has_hooks(module: nn.Module) -> bool:
    """Return whether calling the module does more than its class's `forward`."""
    own = (
        module._forward_hooks,
        module._forward_pre_hooks,
        module._backward_hooks,
        module._backward_pre_hooks,
    )
    everywhere = (
        torch.nn.modules.module._global_forward_hooks,
        torch.nn.modules.module._global_forward_pre_hooks,
        torch.nn.modules.module._global_backward_hooks,
        torch.nn.modules.module._global_backward_pre_hooks,
    )
    return any(own) or any(everywhere) or "forward" in vars(module)


def _checked(sampled: Tensor, batch: int) -> Tensor:
    if sampled.shape != (batch, 2):
        raise ValueError(f"the policy's locations are {list(sampled.shape)}, not [{batch}, 2]")
    return sampled


class _GlimpseNetwork(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, scale: float, pixels: Any, locations: Any, parts: Any, g: Any, *weights: Tensor
    ) -> Any:
        W_what, _, _, _, W_combine, _ = weights
        ctx.scale = scale
        ctx.what_units = len(W_what)
        ctx.save_for_backward(pixels, locations, parts, g, W_combine)
        return g.detach()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Tensor) -> Any:  # pyright: ignore
        *values, W_combine = ctx.saved_tensors
        pixels, locations, parts, g = (value.flatten(0, 1) for value in values)
        dg = grad_outputs[0].flatten(0, 1)
        dz = aten.threshold_backward(dg, g, 0)
        d_parts = dz @ W_combine
        d_parts = aten.threshold_backward.grad_input(d_parts, parts, 0, grad_input=d_parts)
        d_what = d_parts[:, : ctx.what_units]
        d_where = d_parts[:, ctx.what_units :]
        db = d_parts.sum(0)
        what = (d_what.t() @ pixels).div_(ctx.scale), db[: ctx.what_units]
        where = d_where.t() @ locations, db[ctx.what_units :]
        combine = dz.t() @ parts, dz.sum(0)
        return None, None, None, None, None, *what, *where, *combine
