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
for tests. The kernels are in `core.triton_steps`.
"""

# pyright: reportArgumentType=false
# (what is constant to a kernel is a plain value here)

from typing import Any

import torch
import triton
from torch import Tensor

from core.triton_steps import INTERPRETED, backward_steps, forward_steps

__all__ = ["INTERPRETED", "Recurrence"]
GATES = {"tanh": 1, "relu": 1, "lstm": 4, "gru": 3}
ON_CHIP = 128 * 1024  # bytes of W that one program may hold, of the 227 KiB that an H100's multiprocessor shares out


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
