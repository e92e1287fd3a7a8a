"""Matrix products over all steps at once: U x_t before the loop, weight gradients after it."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Integer
from torch import Tensor

Rows = (
    Float[Tensor, "*rows input"] | Integer[Tensor, "*rows"]
)  # the inputs of all steps, one step after another


class Weights(NamedTuple):
    """U [gates * hidden, input], W [gates * hidden, hidden], b [gates * hidden], b_W [hidden]."""

    U: Tensor
    W: Tensor
    b: Tensor | None
    b_W: Tensor | None


class Gradients(NamedTuple):
    """dE by the inputs and by each of the weights; None for what has none or needs none."""

    x: Tensor | None = None
    U: Tensor | None = None
    W: Tensor | None = None
    b: Tensor | None = None
    b_W: Tensor | None = None


def rows_of(x: Rows) -> Tensor:
    """All steps' rows in one dimension."""
    return x.flatten(0, -2) if x.is_floating_point() else x.flatten()


def leading(x: Rows) -> torch.Size:
    """The shape of what has a row for each of x."""
    return x.shape[:-1] if x.is_floating_point() else x.shape


def input_product(
    x: Rows, U: Tensor, b: Tensor | None, out: Float[Tensor, "rows gates_hidden"]
) -> None:
    """U x_t + b of all rows."""
    x, U_T = rows_of(x), U.t()
    if x.is_floating_point():
        x = x.to(out.dtype)
        torch.mm(x, U_T, out=out) if b is None else torch.addmm(b, x, U_T, out=out)
    else:  # the product of U and a one-hot vector is a column of U
        columns = U_T if len(x) < len(U_T) else U_T.contiguous()
        torch.index_select(columns, 0, x.long(), out=out)
        if b is not None:
            out += b


def gradients(
    x: Rows,
    U: Tensor,
    before: Float[Tensor, "batch hidden"],
    h: Tensor,
    dz: Float[Tensor, "rows gates_hidden"],
    dq: Float[Tensor, "rows hidden"] | None,
    batch_sizes: Sequence[int],
    needs: Sequence[bool],
) -> Gradients:
    """The needed gradients, from those of the preactivations (`core.engines.bptt`).

    Args:
        x: the inputs.
        U: the input weights.
        before: the state h before the first step.
        h: of all rows.
        dz: the preactivations' gradients as the input product sees them.
        dq: of the GRU, what the recurrent product sees in place of dn.
        batch_sizes: rows of each step, falling.
        needs: which of `Gradients`.
    """
    if torch.is_autocast_enabled(dz.device.type):  # the pass forward was not its either
        with torch.autocast(dz.device.type, enabled=False):
            return gradients(x, U, before, h, dz, dq, batch_sizes, needs)
    rows = rows_of(x)
    return Gradients(
        (dz @ U).view(x.shape) if needs[0] else None,
        _input_gradient(dz, rows, U) if needs[1] else None,
        _recurrent_gradient(dz, dq, before, h.view(-1, h.shape[-1]), batch_sizes)
        if needs[2]
        else None,
        dz.sum(0) if needs[3] else None,
        dq.sum(0) if needs[4] and dq is not None else None,
    )


def _input_gradient(dz: Tensor, x: Tensor, U: Tensor) -> Float[Tensor, "gates_hidden input"]:
    """dU = sum_t dz_t^T x_t; a one-hot x_t adds dz_t to a column, in a fixed order."""
    if x.is_floating_point():
        return dz.t() @ x
    return torch.ops.aten.embedding_dense_backward(dz, x.long(), U.shape[1], -1, False).t()


def _recurrent_gradient(
    dz: Tensor, dq: Tensor | None, start: Tensor, h: Tensor, batch_sizes: Sequence[int]
) -> Float[Tensor, "gates_hidden hidden"]:
    """dW = sum_t dz_t^T h_{t-1}, of the GRU with dq in place of dn; in one or two products."""
    if dq is not None:
        gates = dz[:, : -dq.shape[1]]
        return torch.cat([_recurrent_gradient(d, None, start, h, batch_sizes) for d in (gates, dq)])
    first, last = batch_sizes[0], batch_sizes[-1]
    start = start[:first]  # those that begin
    if first != last:
        steps = zip(h.split(list(batch_sizes)), batch_sizes[1:], strict=False)
        return dz.t() @ torch.cat([start, *(h_t[:later] for h_t, later in steps)])
    if len(h) < dz.shape[1]:  # to copy h costs less than to go over the result twice
        return dz.t() @ torch.cat([start, h[:-last]])
    return (dz[:first].t() @ start).addmm_(dz[first:].t(), h[:-last])
