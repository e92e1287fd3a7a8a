"""The steps of `core.triton_kernels` in Triton: product and gates in one kernel, forward and back."""

# pyright: reportPossiblyUnboundVariable=false, reportArgumentType=false, reportAssignmentType=false
# (branches on what is constant are decided when a kernel is compiled, and such arguments are plain values)

import os

import triton
import triton.language as tl

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
UPCAST = tl.constexpr(INTERPRETED)  # the interpreter would multiply the bits of bfloat16 as integers


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
