"""The engine `fused`: torch.nn's functions (cuDNN, oneDNN or ATen), for activations they have."""

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from core.base_cell import State
from core.engines.lengths import over_rows
from core.engines.products import Weights
from core.engines.reference import Lengths, Outputs, Sequences
from core.engines.steps import FastCell


def fused(
    fast: FastCell, x: Sequences, state: State, lengths: Lengths | None, reverse: bool
) -> tuple[Outputs, State]:
    """Run the cell by torch.nn's function; ValueError if torch.nn has none with its activations."""
    if fast.cell.torch_function() is None:
        raise ValueError(
            f"torch.nn has no function for this {type(fast.cell).__name__} with its activations: "
            'use engine="bptt"'
        )
    return over_rows(_run_rows, fast, x, state, lengths, reverse)


def _run_rows(
    fast: FastCell, batch_sizes: Sequence[int], x: Tensor, state: State
) -> tuple[Tensor, State]:
    weights = _torch_weights(fast.weights)
    function = fast.cell.torch_function()
    assert function is not None
    if not x.is_floating_point():  # torch.nn has no lookup
        x = F.one_hot(x.long(), fast.cell.input_size)
    x = x.to(weights[0].dtype)
    first = batch_sizes[0]
    device = x.device.type
    start = [part[None, :first] for part in state]
    if device == "cpu" and not torch.is_autocast_enabled("cpu"):
        outputs, *end = _call(function, batch_sizes, x, start, weights)
    else:
        dtype = _computing_dtype(device, weights[0].dtype)
        x = x.to(dtype)
        start = [part.to(dtype) for part in start]
        weights = [weight.to(dtype) for weight in weights]
        # Autocast would take float16 for cuDNN; that cuDNN copies the weights is little work.
        with warnings.catch_warnings(), torch.autocast(device, enabled=False):
            warnings.filterwarnings("ignore", "RNN module weights")
            outputs, *end = _call(function, batch_sizes, x, start, weights)
    final = [part.to(before.dtype) for part, before in zip(end, state, strict=True)]
    if first < len(state[0]):  # the last sequences have length 0
        pairs = zip(final, state, strict=True)
        final = [torch.cat([part, before[None, first:]], 1) for part, before in pairs]
    return outputs, tuple(final)


def _call(
    function: Callable[..., Any],
    batch_sizes: Sequence[int],
    x: Tensor,
    start: list[Tensor],
    weights: list[Tensor],
) -> tuple[Tensor, ...]:
    """torch.nn's function on [time, batch, input] or rows; states are [1, batch, hidden]."""
    has_biases = len(weights) > 2
    layers = 1
    dropout = 0.0
    training = torch.is_grad_enabled()  # whether to keep what the backward pass reads
    bidirectional = False
    options = (has_biases, layers, dropout, training, bidirectional)
    begin: Any = [part.contiguous() for part in start]
    if len(begin) == 1:
        begin = begin[0]
    first = batch_sizes[0]
    if first != batch_sizes[-1]:
        return function(x, torch.tensor(batch_sizes), begin, weights, *options)
    batch_first = False
    steps = x.view(len(batch_sizes), first, -1)
    outputs, *end = function(steps, begin, weights, *options, batch_first)
    return outputs.reshape(*x.shape[:-1], -1), *end


def _torch_weights(weights: Weights) -> list[Tensor]:
    """U, W and, where there is a bias, torch.nn's two: one is added to U x, one to W h."""
    U, W, b, b_W = weights
    if b is None and b_W is None:
        return [U, W]
    zeros = W.new_zeros(len(W))
    b_hh = zeros
    if b_W is not None:
        b_hh = torch.cat([zeros[: -len(b_W)], b_W])
    return [U, W, zeros if b is None else b, b_hh]


def _computing_dtype(device: str, weights: torch.dtype) -> torch.dtype:
    """The dtype of matrix products: that of autocast, else that of the weights."""
    if torch.is_autocast_enabled(device):
        return torch.get_autocast_dtype(device)
    return weights
