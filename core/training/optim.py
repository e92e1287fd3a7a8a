"""How to train, as numbers: optimiser and learning rate are functions of `LoopConfig`."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from core.training.config import LoopConfig


def optimiser(
    model: nn.Module,
    config: LoopConfig,
    rate_factors: Mapping[str, float] | None = None,
    *,
    captured: bool = False,
) -> torch.optim.Optimizer:
    """Return the optimiser of a configuration, with fused kernels; each step sets its learning
    rate.

    "sgd" without momentum is the update of slide 23: w(t+1) = w(t) - ε(t) dE/dw (w(t)).
    `rate_factors` multiply the learning rate of the parts of the model that have these names; each
    group holds its own as "factor". With `captured` the learning rate is a tensor on the device of
    the weights, so that a graph reads what it is by then.
    """
    factors = dict(rate_factors or {})
    groups: dict[float, list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            groups.setdefault(factors.get(name.partition(".")[0], 1.0), []).append(parameter)
    trained: list[dict[str, Any]] = [
        {"params": parameters, "factor": factor} for factor, parameters in groups.items()
    ]
    if captured:
        trained = [
            {**group, "lr": torch.zeros((), device=group["params"][0].device)} for group in trained
        ]
    decay = config.weight_decay
    if config.optimiser == "sgd":
        return torch.optim.SGD(trained, momentum=config.momentum, weight_decay=decay, fused=True)
    adam = torch.optim.AdamW if config.optimiser == "adamw" else torch.optim.Adam
    made = adam(trained, weight_decay=decay, fused=True, capturable=captured)
    # The steps before the capture are meant to run without it: no warning.
    made._warned_capturable_if_run_uncaptured = True  # pyright: ignore[reportAttributeAccessIssue]
    return made


def set_learning_rate(made: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of the next step, times the factor of each group."""
    for group in made.param_groups:
        value = group["factor"] * rate
        if isinstance(group["lr"], torch.Tensor):
            group["lr"].fill_(value)
        else:
            group["lr"] = value


def restore(made: torch.optim.Optimizer, saved: dict[str, Any]) -> None:
    """Load what an optimiser has gathered; its settings stay those of this process, captured or
    not.
    """
    own = [
        {name: value for name, value in group.items() if name != "params"}
        for group in made.param_groups
    ]
    made.load_state_dict(saved)
    for group, settings in zip(made.param_groups, own, strict=True):
        group.update(settings)


def learning_rate(config: LoopConfig, step: int) -> float:
    """The learning rate ε(t) of step t = 0, 1, ...: linear warm-up times schedule."""
    rate = config.learning_rate * min(1.0, (step + 1) / (config.warm_up + 1))
    if config.schedule == "step":
        return rate * config.drop ** (step // config.drop_every)
    if config.schedule == "cosine":
        part = max(0, step - config.warm_up) / max(1, config.steps - config.warm_up)
        return rate * (1 + math.cos(math.pi * part)) / 2
    return rate
