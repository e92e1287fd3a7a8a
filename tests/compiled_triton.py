"""Compiles the Triton kernels for a GPU that need not be there; started by tests/test_triton.py."""

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from core import triton_kernels
from core.triton_kernels import GATES
from core.triton_steps import backward_steps, forward_steps

FLOAT32 = {"b_W", "carried", "dh_carried", "dc_carried"}
INTEGERS = {"begin", "end", "batch"}


def compiled(kernel, cell: str, hidden: int, dtype: torch.dtype, target: GPUTarget):
    """A kernel as `Recurrence` would launch it."""
    W = torch.empty(GATES[cell] * hidden, hidden, dtype=dtype)
    (_, _, _, blocks), *_ = triton_kernels._launches(cell, 2, 16, W)
    options = {name: blocks.pop(name) for name in ("num_warps", "num_stages")}
    chosen = {"H": hidden, "CELL": cell, "BIAS": True, **blocks}
    constants = {name: value for name, value in chosen.items() if name in kernel.arg_names}
    numbers = "*bf16" if dtype == torch.bfloat16 else "*fp32"
    types = {
        name: "*fp32" if name in FLOAT32 else "i32" if name in INTEGERS else numbers for name in kernel.arg_names
    }
    signature = {name: "constexpr" if name in constants else kind for name, kind in types.items()}
    return triton.compile(ASTSource(kernel, signature, constants), target=target, options=options)


def main() -> None:
    """Compile one pass of one cell on chip, and the other of another streamed."""
    for kernel, cell, hidden in ((forward_steps, "gru", 16), (backward_steps, "lstm", 256)):
        assert compiled(kernel, cell, hidden, torch.bfloat16, GPUTarget("cuda", 90, 32)).asm["cubin"]
        print(kernel.fn.__name__)


if __name__ == "__main__":
    main()
