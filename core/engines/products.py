"""Matrix products over all steps at once: U x_t before the loop, weight gradients after it."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Integer
from torch import Tensor

Rows = Float[Tensor, "*rows input"] | Integer[Tensor, "*rows"]  # step after step


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
    if x.is_floating_point():
        return x.flatten(0, -2)
    return x.flatten()


def leading(x: Rows) -> torch.Size:
    """The shape of x without its last dimension, the input; integers have no such dimension."""
    if x.is_floating_point():
        return x.shape[:-1]
    return x.shape


def holds(x: Rows, rows: int, width: int) -> bool:
    """Whether x has so many rows of this width; integers fit any width."""
    if x.is_floating_point() and x.shape[-1] != width:
        return False
    return leading(x).numel() == rows


def input_product(
    x: Rows, U: Tensor, b: Tensor | None, out: Float[Tensor, "rows gates_hidden"]
) -> None:
    """U x_t + b of all rows; None for no b."""
    x = rows_of(x)
    U_T = U.t()
    if x.is_floating_point():
        x = x.to(out.dtype)
        if b is None:
            torch.mm(x, U_T, out=out)
        else:
            torch.addmm(b, x, U_T, out=out)
        return
    if len(x) >= len(U_T):
        U_T = U_T.contiguous()
    torch.index_select(U_T, 0, x.long(), out=out)  # U times a one-hot vector is a column of U
    if b is not None:
        out += b


def gradients(
    x: Rows,
    U: Tensor,
    before: Float[Tensor, "batch hidden"] | None,
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
        before: the state h before the first step; None for zeros.
        h: of all rows.
        dz: the preactivations' gradients as the input product sees them.
        dq: of the GRU, what the recurrent product sees in place of dn.
        batch_sizes: rows of each step, falling.
        needs: which of `Gradients`.
    """
    if torch.is_autocast_enabled(dz.device.type):  # the forward pass did not use it either
        with torch.autocast(dz.device.type, enabled=False):
            return gradients(x, U, before, h, dz, dq, batch_sizes, needs)
    needs_x, needs_U, needs_W, needs_b, needs_b_W, *_ = needs
    dx = dU = dW = db = db_W = None
    if needs_x:
        dx = (dz @ U).view(x.shape)
    if needs_U:
        dU = _input_gradient(dz, rows_of(x), U)
    if needs_W:
        dW = _recurrent_gradient(dz, dq, before, h.view(-1, h.shape[-1]), batch_sizes)
    if needs_b:
        db = dz.sum(0)
    if needs_b_W and dq is not None:
        db_W = dq.sum(0)
    return Gradients(dx, dU, dW, db, db_W)


def _input_gradient(dz: Tensor, x: Tensor, U: Tensor) -> Float[Tensor, "gates_hidden input"]:
    """dU = sum_t dz_t^T x_t^T; a one-hot x_t adds dz_t to a column, in a fixed order."""
    if x.is_floating_point():
        return dz.t() @ x
    # Rows that lie apart are taken with what lies between them: it would copy them otherwise.
    whole = dz.as_strided((len(dz), dz.stride(0)), (dz.stride(0), 1))
    dU_T = torch.ops.aten.embedding_dense_backward(whole, x.long(), U.shape[1], -1, False)
    return dU_T[:, : dz.shape[1]].t()


def _recurrent_gradient(
    dz: Tensor, dq: Tensor | None, start: Tensor | None, h: Tensor, batch_sizes: Sequence[int]
) -> Float[Tensor, "gates_hidden hidden"]:
    """dW = sum_t dz_t^T h_{t-1}^T, of the GRU with dq in place of dn; in one or two products."""
    if dq is not None:
        gates = dz[:, : -dq.shape[1]]
        return torch.cat([_recurrent_gradient(d, None, start, h, batch_sizes) for d in (gates, dq)])
    first = batch_sizes[0]
    last = batch_sizes[-1]
    states = [h[:-last]]  # h_{t-1} of all steps but the first
    if first != last:
        steps = zip(h.split(list(batch_sizes)), batch_sizes[1:], strict=False)
        states = [h_t[:later] for h_t, later in steps]
    if start is None:
        h_before = states[0] if len(states) == 1 else torch.cat(states)
        return dz[first:].t() @ h_before
    start = start[:first]  # sequences of length 0 take no step
    if first == last and len(h) >= dz.shape[1]:  # adding to the result costs less than copying h
        return (dz[:first].t() @ start).addmm_(dz[first:].t(), h[:-last])
    return dz.t() @ torch.cat([start, *states])
