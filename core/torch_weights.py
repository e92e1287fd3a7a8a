"""The weights of `Recurrent` as those of torch.nn's modules, and back."""

import re
from collections.abc import Mapping

import torch
from torch import Tensor


def to_torch(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state dict of a `Recurrent` as that of torch.nn.RNN, LSTM or GRU with the same options.

    torch.nn adds one bias to U x and another to W h. Ours is the first; the second is 0, except
    inside the GRU's reset product, where it is `b_W`.

    Raises:
        ValueError: for weights that no cell of torch.nn has, such as peepholes.
    """
    converted = {}
    for key in state_dict:
        if key.rpartition(".")[2] not in ("U", "W", "b", "b_W") or key.count(".") != 3:
            raise ValueError(f"no cell of torch.nn has the weight {key}")
    for key, U in state_dict.items():
        cell, _, name = key.rpartition(".")
        if name != "U":
            continue
        _, layer, direction = cell.split(".")
        suffix = f"l{layer}"
        if direction == "1":
            suffix += "_reverse"
        converted[f"weight_ih_{suffix}"] = U
        converted[f"weight_hh_{suffix}"] = state_dict[f"{cell}.W"]
        if f"{cell}.b" in state_dict:
            b = state_dict[f"{cell}.b"]
            b_W = state_dict.get(f"{cell}.b_W")
            b_hh = torch.zeros_like(b)
            if b_W is not None:
                b_hh[-len(b_W) :] = b_W
            converted[f"bias_ih_{suffix}"] = b
            converted[f"bias_hh_{suffix}"] = b_hh
    return converted


def from_torch(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state dict of a torch.nn.RNN, LSTM (without projections) or GRU as a `Recurrent`'s.

    Its two biases are added, except inside the GRU's reset product.

    Raises:
        ValueError: for weights of another module, or projections.
    """
    converted = {}
    for key in state_dict:
        if not re.fullmatch(r"(weight|bias)_(ih|hh)_l\d+(_reverse)?", key):
            raise ValueError(f"torch.nn.RNN, LSTM and GRU without projections have no weight {key}")
    for key, U in state_dict.items():
        if not key.startswith("weight_ih_l"):
            continue
        suffix = key.removeprefix("weight_ih_")
        W = state_dict[f"weight_hh_{suffix}"]
        cell = f"cells.{suffix.removesuffix('_reverse')[1:]}.{int(suffix.endswith('_reverse'))}"
        converted[f"{cell}.U"] = U
        converted[f"{cell}.W"] = W
        if f"bias_ih_{suffix}" in state_dict:
            b = state_dict[f"bias_ih_{suffix}"].clone()
            b_hh = state_dict[f"bias_hh_{suffix}"]
            hidden = W.shape[1]
            summed = len(W)
            if len(W) == 3 * hidden:  # a GRU
                summed = 2 * hidden
                converted[f"{cell}.b_W"] = b_hh[summed:].clone()
            b[:summed] += b_hh[:summed]
            converted[f"{cell}.b"] = b
    return converted
