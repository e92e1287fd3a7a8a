"""How to train, as numbers: optimiser and step size are functions of `LoopConfig`."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

from core.config import require_at_least


@dataclass(frozen=True)
class LoopConfig:
    """How to train.

    Raises:
        InputError: a number is out of its range.
    """

    steps: int = 1000
    """Training steps, one batch each."""
    batch: int = 128
    """Samples in a batch, over all processes."""
    seed: int = 0
    """All that is random follows from it: initial weights, order of samples, noise."""
    optimiser: Literal["adam", "adamw", "sgd"] = "adam"
    """How gradients change the weights; sgd is plain gradient descent."""
    learning_rate: float = 1e-3
    """Step size before the schedule is applied."""
    schedule: Literal["cosine", "constant", "step"] = "cosine"
    """How the step size changes: to 0 along a cosine, never, or times `drop` every `drop_every` steps."""
    warm_up: int = 0
    """Steps over which the step size first grows linearly."""
    drop: float = 0.5
    """Factor of the step schedule."""
    drop_every: int = 1000
    """Steps between two drops of the step schedule."""
    momentum: float = 0.0
    """Momentum of sgd."""
    weight_decay: float = 0.0
    """Pull of the weights towards 0."""
    clip: float = 0.0
    """Largest norm of the whole gradient; 0: any."""
    log_every: int = 100
    """Steps between two rows of training metrics."""
    validate_every: int = 1000
    """Steps between two validations; 0: only at the end."""
    save_every: int = 0
    """Steps between two checkpoints to resume from; 0: at every validation."""
    precision: Literal["float32", "bf16"] = "float32"
    """Arithmetic of forward passes in training; bf16 pays on recent GPUs only."""

    def __post_init__(self) -> None:
        require_at_least(1, self, "steps", "batch", "drop_every", "log_every")
        require_at_least(0, self, "learning_rate", "warm_up", "drop", "momentum", "weight_decay", "clip")
        require_at_least(0, self, "validate_every", "save_every")


def optimiser(
    model: nn.Module, config: LoopConfig, rates: Mapping[str, float] | None = None, *, captured: bool = False
) -> torch.optim.Optimizer:
    """The optimiser of the recipe, with fused kernels; its learning rate is set before each step.

    "sgd" without momentum is the update of slide 23: w(t+1) = w(t) - ε(t) dE/dw (w(t)). `rates` are factors of
    the learning rate for the parts of the model that have these names; each group holds its own as "factor". With
    `captured` the learning rate is a tensor on the device of the weights, so that a graph reads what it is by then.
    """
    factors = dict(rates or {})
    groups: dict[float, list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            groups.setdefault(factors.get(name.partition(".")[0], 1.0), []).append(parameter)
    trained: list[dict[str, Any]] = [
        {"params": parameters, "factor": factor} for factor, parameters in groups.items()
    ]
    if captured:
        trained = [{**group, "lr": torch.zeros((), device=group["params"][0].device)} for group in trained]
    decay = config.weight_decay
    if config.optimiser == "sgd":
        return torch.optim.SGD(trained, momentum=config.momentum, weight_decay=decay, fused=True)
    adam = torch.optim.AdamW if config.optimiser == "adamw" else torch.optim.Adam
    made = adam(trained, weight_decay=decay, fused=True, capturable=captured)
    made._warned_capturable_if_run_uncaptured = True  # pyright: ignore[reportAttributeAccessIssue] - warm-up is meant
    return made


def set_learning_rate(made: torch.optim.Optimizer, rate: float) -> None:
    """Set the step size of the next step, times the factor of each group."""
    for group in made.param_groups:
        value = group["factor"] * rate
        if isinstance(group["lr"], torch.Tensor):
            group["lr"].fill_(value)
        else:
            group["lr"] = value


def restore(made: torch.optim.Optimizer, saved: dict[str, Any]) -> None:
    """Load what an optimiser has gathered; its settings stay those of this process, captured or not."""
    own = [{name: value for name, value in group.items() if name != "params"} for group in made.param_groups]
    made.load_state_dict(saved)
    for group, settings in zip(made.param_groups, own, strict=True):
        group.update(settings)


def learning_rate(config: LoopConfig, step: int) -> float:
    """The step size ε(t) of step t = 0, 1, ...: linear warm-up times schedule."""
    rate = config.learning_rate * min(1.0, (step + 1) / (config.warm_up + 1))
    if config.schedule == "step":
        return rate * config.drop ** (step // config.drop_every)
    if config.schedule == "cosine":
        part = max(0, step - config.warm_up) / max(1, config.steps - config.warm_up)
        return rate * (1 + math.cos(math.pi * part)) / 2
    return rate
