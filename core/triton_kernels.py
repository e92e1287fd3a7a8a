"""The recurrence on a GPU in Triton: all of a step, product and gates, in one kernel, forward and back.

The equations are those of `core.cells` and `core.bptt`. U x_t + b of all steps comes in as z, and the gradients of
the weights are one matrix product each, after the loop. A program owns some rows of the batch and some units. There
are two ways to go through time, by how large W is:

    on chip     W fits into the fast memory of one program, which then has all units of its rows: it loads W once and
                takes all steps in one launch
    streamed    the units are shared out between programs, and a step needs those of all: each step is a launch of
                its own (the order of launches is the barrier), and each program reads its rows of W from the cache

Streamed it is for CUDA graphs, in which a launch costs least; see `core.graphs`. Products take float32 or bfloat16
and add up in float32. The LSTM's c, the GRU's h between steps and all gradients that are carried through time are
float32. With TRITON_INTERPRET=1 in the environment, before the first import of triton, all runs on a CPU, slowly:
for tests.
"""

# pyright: reportPossiblyUnboundVariable=false, reportArgumentType=false, reportAssignmentType=false
# (branches on what is constant are decided when a kernel is compiled, and such arguments are plain values)

import os
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

GATES = {"tanh": 1, "relu": 1, "lstm": 4, "gru": 3}
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
UPCAST = tl.constexpr(INTERPRETED)  # the interpreter would multiply the bits of bfloat16 as integers
ON_CHIP = 128 * 1024  # bytes of W that one program may hold, of the 227 KiB that an H100's multiprocessor shares out


@triton.jit
def _tanh(x):
    return 2 * tl.sigmoid(2 * x) - 1


@triton.jit
def _load(place, inside):
    return tl.load(place, mask=inside, other=0.0).to(tl.float32)


@triton.jit
def _dot(x, W, precision: tl.constexpr):
    if UPCAST:
        x, W = x.to(tl.float32), W.to(tl.float32)
    return tl.dot(x, W, input_precision=precision)


@triton.jit
def _weights(W, rows, columns, row_stride, column_stride, height, width):
    inside = (rows[:, None] < height) & (columns[None, :] < width)
    return tl.load(W + rows[:, None] * row_stride + columns[None, :] * column_stride, mask=inside, other=0.0)


@triton.jit
def _product(
    x, W, rows, columns, batch, width, inner, row_stride, column_stride, precision: tl.constexpr, BK: tl.constexpr
):  # fmt: skip
    """X[rows] W[:, columns] in float32; X is [batch, inner], and W [inner, width] with these strides."""
    total = tl.zeros((rows.shape[0], columns.shape[0]), tl.float32)
    for start in range(0, inner, BK):
        k = start + tl.arange(0, BK)
        inside = (rows[:, None] < batch) & (k[None, :] < inner)
        part = tl.load(x + rows[:, None] * inner + k[None, :], mask=inside, other=0.0)
        weights = _weights(W, k, columns, row_stride, column_stride, inner, width)
        total += _dot(part, weights, precision)
    return total


@triton.jit(do_not_specialize=["begin", "end", "batch"])  # else each step might be compiled anew
def forward_steps(
    z, W, b_W, y, carried, gates, q, begin, end, batch, H: tl.constexpr, CELL: tl.constexpr, BIAS: tl.constexpr,
    CHIP: tl.constexpr, PRECISION: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    """Steps begin..end - 1: y[t] and carried[t] -> y[t + 1] and carried[t + 1]; gates and q are for the way back.

    y [time + 1, batch, H] holds h, carried the float32 state: c of the LSTM, h of the GRU.
    """
    GATES: tl.constexpr = 4 if CELL == "lstm" else 3 if CELL == "gru" else 1
    rows, units = tl.program_id(0) * BM + tl.arange(0, BM), tl.program_id(1) * BN + tl.arange(0, BN)
    inside = (rows[:, None] < batch) & (units[None, :] < H)
    place = rows[:, None] * H + units[None, :]
    gate_place = rows[:, None] * (GATES * H) + units[None, :]
    h = tl.load(y + begin * batch * H + place, mask=inside, other=0.0)
    state = tl.zeros((BM, BN), tl.float32)
    if GATES > 1:
        state = tl.load(carried + begin * batch * H + place, mask=inside, other=0.0)
    if CHIP:  # W^T, gate by gate: [inputs, units]
        w0 = _weights(W, units, units, 1, H, H, H)
        if GATES > 1:
            w1 = _weights(W + H * H, units, units, 1, H, H, H)
            w2 = _weights(W + 2 * H * H, units, units, 1, H, H, H)
        if GATES > 3:
            w3 = _weights(W + 3 * H * H, units, units, 1, H, H, H)
    for t in range(begin, end):
        before = y + t * batch * H
        if CHIP:  # noqa: SIM108 - for Triton
            a0 = _dot(h, w0, PRECISION)
        else:
            a0 = _product(before, W, rows, units, batch, H, H, 1, H, PRECISION, BK)
        if GATES > 1:
            if CHIP:
                a1 = _dot(h, w1, PRECISION)
                a2 = _dot(h, w2, PRECISION)
            else:
                a1 = _product(before, W + H * H, rows, units, batch, H, H, 1, H, PRECISION, BK)
                a2 = _product(before, W + 2 * H * H, rows, units, batch, H, H, 1, H, PRECISION, BK)
        if GATES > 3:
            if CHIP:
                a3 = _dot(h, w3, PRECISION)
            else:
                a3 = _product(before, W + 3 * H * H, rows, units, batch, H, H, 1, H, PRECISION, BK)
        z_t, gates_t = z + t * batch * GATES * H + gate_place, gates + t * batch * GATES * H + gate_place
        a0 += _load(z_t, inside)
        if CELL == "tanh":
            new = _tanh(a0)
        elif CELL == "relu":
            new = tl.maximum(a0, 0.0)
        elif CELL == "lstm":
            i = tl.sigmoid(a0)
            f = tl.sigmoid(a1 + _load(z_t + H, inside))
            g = _tanh(a2 + _load(z_t + 2 * H, inside))
            o = tl.sigmoid(a3 + _load(z_t + 3 * H, inside))
            state = f * state + i * g
            new = o * _tanh(state)
            tl.store(gates_t, i.to(gates.dtype.element_ty), mask=inside)
            tl.store(gates_t + H, f.to(gates.dtype.element_ty), mask=inside)
            tl.store(gates_t + 2 * H, g.to(gates.dtype.element_ty), mask=inside)
            tl.store(gates_t + 3 * H, o.to(gates.dtype.element_ty), mask=inside)
        else:
            r = tl.sigmoid(a0)
            u = tl.sigmoid(a1 + _load(z_t + H, inside))
            if BIAS:
                a2 += _load(b_W + units, units < H)[None, :]
            n = _tanh(_load(z_t + 2 * H, inside) + r * a2)
            state = (1 - u) * n + u * state
            new = state
            tl.store(gates_t, r.to(gates.dtype.element_ty), mask=inside)
            tl.store(gates_t + H, u.to(gates.dtype.element_ty), mask=inside)
            tl.store(gates_t + 2 * H, n.to(gates.dtype.element_ty), mask=inside)
            tl.store(q + t * batch * H + place, a2.to(q.dtype.element_ty), mask=inside)
        h = new.to(y.dtype.element_ty)
        tl.store(y + (t + 1) * batch * H + place, h, mask=inside)
        if GATES > 1:
            tl.store(carried + (t + 1) * batch * H + place, state, mask=inside)


@triton.jit(do_not_specialize=["begin", "end", "batch"])
def backward_steps(
    dy, W, y, carried, gates, q, dz, da, dh_carried, dc_carried, begin, end, batch, H: tl.constexpr,
    CELL: tl.constexpr, CHIP: tl.constexpr, PRECISION: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr,
    BK: tl.constexpr,
):  # fmt: skip
    """Steps end - 1 down to begin: da[t + 1] -> da[t], the gradient as the recurrent product sees it.

    da [time + 1, batch, gates H] ends with zeros. dz, as the input product sees it, is da itself but for the GRU's
    last gate. dh_carried and dc_carried [batch, H] in float32 hold what reaches h_t and c_t not through W.
    """
    GATES: tl.constexpr = 4 if CELL == "lstm" else 3 if CELL == "gru" else 1
    rows, units = tl.program_id(0) * BM + tl.arange(0, BM), tl.program_id(1) * BN + tl.arange(0, BN)
    inside = (rows[:, None] < batch) & (units[None, :] < H)
    place = rows[:, None] * H + units[None, :]
    gate_place = rows[:, None] * (GATES * H) + units[None, :]
    dh_other = tl.load(dh_carried + place, mask=inside, other=0.0)
    dc = tl.load(dc_carried + place, mask=inside, other=0.0)
    if CHIP:  # W, gate by gate: [gate's units, units]
        w0 = _weights(W, units, units, H, 1, H, H)
        after = da + end * batch * GATES * H + gate_place
        d0 = tl.load(after, mask=inside, other=0.0)
        if GATES > 1:
            w1 = _weights(W + H * H, units, units, H, 1, H, H)
            w2 = _weights(W + 2 * H * H, units, units, H, 1, H, H)
            d1 = tl.load(after + H, mask=inside, other=0.0)
            d2 = tl.load(after + 2 * H, mask=inside, other=0.0)
        if GATES > 3:
            w3 = _weights(W + 3 * H * H, units, units, H, 1, H, H)
            d3 = tl.load(after + 3 * H, mask=inside, other=0.0)
    for back in range(end - begin):
        t = end - 1 - back
        if CHIP:
            dh = _dot(d0, w0, PRECISION)
            if GATES > 1:
                dh += _dot(d1, w1, PRECISION) + _dot(d2, w2, PRECISION)
            if GATES > 3:
                dh += _dot(d3, w3, PRECISION)
        else:
            after = da + (t + 1) * batch * GATES * H
            dh = _product(after, W, rows, units, batch, H, GATES * H, H, 1, PRECISION, BK)
        dh += dh_other + _load(dy + t * batch * H + place, inside)
        dh_other = tl.zeros_like(dh)
        gates_t, da_t = gates + t * batch * GATES * H + gate_place, da + t * batch * GATES * H + gate_place
        if CELL == "tanh":
            new = _load(y + (t + 1) * batch * H + place, inside)
            d0 = (dh * (1 - new * new)).to(da.dtype.element_ty)
        elif CELL == "relu":
            new = _load(y + (t + 1) * batch * H + place, inside)
            d0 = tl.where(new > 0, dh, 0.0).to(da.dtype.element_ty)
        elif CELL == "lstm":
            i = _load(gates_t, inside)
            f = _load(gates_t + H, inside)
            g = _load(gates_t + 2 * H, inside)
            o = _load(gates_t + 3 * H, inside)
            squashed = _tanh(tl.load(carried + (t + 1) * batch * H + place, mask=inside, other=0.0))
            c_before = tl.load(carried + t * batch * H + place, mask=inside, other=0.0)
            dc += dh * o * (1 - squashed * squashed)
            d0 = (dc * g * i * (1 - i)).to(da.dtype.element_ty)
            d1 = (dc * c_before * f * (1 - f)).to(da.dtype.element_ty)
            d2 = (dc * i * (1 - g * g)).to(da.dtype.element_ty)
            d3 = (dh * squashed * o * (1 - o)).to(da.dtype.element_ty)
            dc = dc * f
        else:
            r = _load(gates_t, inside)
            u = _load(gates_t + H, inside)
            n = _load(gates_t + 2 * H, inside)
            product = _load(q + t * batch * H + place, inside)
            h_before = tl.load(carried + t * batch * H + place, mask=inside, other=0.0)
            dn = dh * (1 - u) * (1 - n * n)
            d0 = (dn * product * r * (1 - r)).to(da.dtype.element_ty)
            d1 = (dh * (h_before - n) * u * (1 - u)).to(da.dtype.element_ty)
            d2 = (dn * r).to(da.dtype.element_ty)
            dh_other = dh * u
            dz_t = dz + t * batch * GATES * H + gate_place
            tl.store(dz_t, d0, mask=inside)
            tl.store(dz_t + H, d1, mask=inside)
            tl.store(dz_t + 2 * H, dn.to(dz.dtype.element_ty), mask=inside)
        tl.store(da_t, d0, mask=inside)
        if GATES > 1:
            tl.store(da_t + H, d1, mask=inside)
            tl.store(da_t + 2 * H, d2, mask=inside)
        if GATES > 3:
            tl.store(da_t + 3 * H, d3, mask=inside)
    tl.store(dh_carried + place, dh_other, mask=inside)
    tl.store(dc_carried + place, dc, mask=inside)


class Recurrence(torch.autograd.Function):
    """(z, W, b_W, h_0, c_0) -> (h_1 .. h_T, h_T, c_T); c is the LSTM's, for the others any [batch, hidden].

    z [time, batch, gates * hidden] holds U x_t + b, in the dtype of W; states are float32.
    """

    @staticmethod
    def forward(ctx: Any, z: Tensor, W: Tensor, b_W: Tensor | None, h: Tensor, c: Tensor, cell: str) -> Any:
        """Take all steps."""
        time, batch, hidden = len(z), z.shape[1], W.shape[1]
        if z.numel() >= 2**31:
            raise ValueError(f"a sequence of {list(z.shape)} is too large for one call: cut it")
        z, W = z.contiguous(), W.contiguous()
        y = z.new_empty(time + 1, batch, hidden)
        y[0] = h
        gated = time if cell in ("lstm", "gru") else 0
        carried = z.new_empty(gated + 1, batch, hidden, dtype=torch.float32)
        carried[0] = c if cell == "lstm" else h
        gates = z.new_empty(gated, batch, GATES[cell] * hidden)
        q = z.new_empty(time if cell == "gru" else 0, batch, hidden)
        for begin, end, grid, blocks in _launches(cell, time, batch, W):
            arguments = z, W, W if b_W is None else b_W, y, carried, gates, q, begin, end, batch
            forward_steps[grid](*arguments, H=hidden, CELL=cell, BIAS=b_W is not None, **blocks)
        ctx.cell, ctx.bias = cell, b_W is not None
        ctx.save_for_backward(W, y, carried, gates, q)
        final = carried[-1] if cell == "gru" else y[-1].float()
        return y[1:], final.clone(), carried[-1].clone()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Take them back, then form the weights' gradients."""
        W, y, carried, gates, q = ctx.saved_tensors
        dy, dh, dc = gradients
        cell, (time, batch, hidden) = ctx.cell, dy.shape
        dy, dh, dc = dy.contiguous(), dh.float().clone(), dc.float().clone()
        da = y.new_empty(time + 1, batch, GATES[cell] * hidden)
        da[time] = 0
        dz = torch.empty_like(da[1:]) if cell == "gru" else da[:-1]
        for begin, end, grid, blocks in reversed(_launches(cell, time, batch, W)):
            arguments = dy, W, y, carried, gates, q, dz, da, dh, dc, begin, end, batch
            backward_steps[grid](*arguments, H=hidden, CELL=cell, **blocks)
        da = da[:-1]
        db_W = da[..., 2 * hidden :].float().sum((0, 1)) if ctx.bias else None
        dW = da.flatten(0, 1).t() @ y[:-1].flatten(0, 1)
        return dz, dW, db_W, dh + (da[0] @ W).float(), dc if cell == "lstm" else None, None


def _launches(cell: str, time: int, batch: int, W: Tensor) -> list[tuple[int, int, tuple[int, int], dict[str, Any]]]:
    """First step, last step + 1, grid and block sizes of each launch; the sizes are not tuned yet."""
    hidden = W.shape[1]
    width = max(16, triton.next_power_of_2(hidden))
    chip = GATES[cell] * width**2 * W.element_size() <= ON_CHIP
    rows, units = 16, width if chip else 16
    exact = W.dtype == torch.float32 and torch.get_float32_matmul_precision() == "highest"
    blocks = {
        "CHIP": chip,
        "PRECISION": "ieee" if exact else "tf32",
        "BM": rows,
        "BN": units,
        "BK": width if chip else 64,
        "num_warps": 8 if chip and width >= 64 else 4,
        "num_stages": 1 if chip else 3,  # on chip the loop goes through time: nothing may be fetched ahead
    }
    grid = triton.cdiv(batch, rows), triton.cdiv(hidden, units)
    steps = [(0, time)] if chip else [(t, t + 1) for t in range(time)]
    return [(begin, end, grid, blocks) for begin, end in steps]
