"""What the recurrent attention model computed while it looked, attached to the autograd graph part by part.

Looking is a closed loop: it runs without gradient and leaves its values (`core.engines.bptt.replay`). The functions here
return the values of one part, of all glimpses at once, as they are. Their backward is derived by hand, one product
for each weight over all glimpses together. With dv for dE/dv and * for the component-wise product:

    z = W x + b,  y = sigma(z):    dz = dy * sigma'(z),  dx = dz W,  dW = dz^T x,  db = sum dz

Constant factors stand beside the weights in both directions: W (x / s) = (W / s) x.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

aten = torch.ops.aten


def glimpse_network(
    layers: tuple[nn.Linear, nn.Linear, nn.Linear],
    input_scale: float,
    pixels: Float[Tensor, "glimpses batch pixels"],
    locations: Float[Tensor, "glimpses batch 2"],
    parts: Float[Tensor, "glimpses batch parts"],
    seen: Float[Tensor, "glimpses batch size"],
) -> Float[Tensor, "glimpses batch size"]:
    """Attach seen = relu(combine(parts)), where parts = relu([what(pixels / input_scale), where(locations)]).

    `layers` are what, where and combine.
    """
    node: Any = _GlimpseNetwork.apply
    weights = [parameter for layer in layers for parameter in (layer.weight, layer.bias)]
    return node(input_scale, pixels, locations, parts, seen, *weights)


def heads(
    layers: tuple[nn.Linear, nn.Linear, nn.Linear],
    location_scale: float,
    h: Float[Tensor, "glimpses batch hidden"],
    means: Float[Tensor, "glimpses batch 2"],
) -> tuple[
    Float[Tensor, "glimpses batch 2"],
    Float[Tensor, "glimpses batch classes"],
    Float[Tensor, "glimpses batch classes"],
]:
    """Attach the means, known already, and compute baselines and logits, from h_1 .. h_T after each glimpse.

    A mean and a baseline belong to the state before their glimpse: h_0 = 0, h_1 .. h_{T-1}. `layers` are location,
    baseline and action network; the baseline passes no gradient on to h.
    """
    node: Any = _Heads.apply
    weights = [parameter for layer in layers for parameter in (layer.weight, layer.bias)]
    return node(location_scale, h, means, *weights)


class _GlimpseNetwork(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, scale: float, pixels: Any, locations: Any, parts: Any, seen: Any, *weights: Tensor
    ) -> Any:
        W_what, _, _, _, W, _ = weights
        ctx.scale, ctx.units = scale, len(W_what)
        ctx.save_for_backward(pixels, locations, parts, seen, W)
        return seen.detach()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        *values, W = ctx.saved_tensors
        dy, pixels, locations, parts, seen = (
            each.flatten(0, 1) for each in (*grad_outputs, *values)
        )
        dz = aten.threshold_backward(dy, seen, 0)
        d_parts = dz @ W
        d_parts = aten.threshold_backward.grad_input(d_parts, parts, 0, grad_input=d_parts)
        d_what, d_where = d_parts[:, : ctx.units], d_parts[:, ctx.units :]
        db_what, db_where = d_parts.sum(0).tensor_split((ctx.units,))
        dW_what, dW_where = (d_what.t() @ pixels).div_(ctx.scale), d_where.t() @ locations
        return (
            None,
            None,
            None,
            None,
            None,
            dW_what,
            db_what,
            dW_where,
            db_where,
            dz.t() @ parts,
            dz.sum(0),
        )


class _Heads(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, scale: float, h: Tensor, means: Tensor, *weights: Tensor) -> Any:
        W_location, _, W_baseline, b_baseline, W_action, b_action = weights
        ctx.scale = scale
        ctx.save_for_backward(h, means, W_location, W_action)
        W, b, steps = (
            torch.cat((W_baseline, W_action)),
            torch.cat((b_baseline, b_action)),
            h.shape[:2],
        )
        both = torch.addmm(b, h.flatten(0, 1), W.t()).to(h.dtype).view(*steps, -1)
        before, logits = both.split((len(b_baseline), len(b_action)), -1)
        first = b_baseline.expand(1, steps[1], -1)
        return means.detach(), torch.cat((first, before[:-1])), logits.contiguous()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        d_means, d_baselines, d_logits = grad_outputs
        h, means, W_location, W_action = ctx.saved_tensors
        dz = aten.tanh_backward(d_means, means).mul_(ctx.scale)
        d_logits, after, before = d_logits.flatten(0, 1), h.flatten(0, 1), h[:-1].flatten(0, 1)
        later = dz[1:].flatten(0, 1)  # h_0 = 0 has no part in a product
        dh = d_logits @ W_action
        dh[: len(before)].addmm_(later, W_location)
        return (
            None,
            dh.view(h.shape),
            None,
            later.t() @ before,
            dz.sum((0, 1)),
            d_baselines[1:].flatten(0, 1).t() @ before,
            d_baselines.sum((0, 1)),
            d_logits.t() @ after,
            d_logits.sum(0),
        )
