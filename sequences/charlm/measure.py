"""Nats and bits a character of a trained model on a text, with fixed weights or while it learns."""

import copy
import math
from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from core.base_cell import map_state
from core.losses import cross_entropy
from core.training.loop import evaluating
from sequences.charlm.data import Numbers
from sequences.charlm.trained import Trained

ROWS = 64  # stretches of the text that are read at once, at most
STRETCH = 1000  # characters of each, at least
WINDOW = 200  # characters read at a time
WARM_UP = 256  # characters that each row reads before its own

DYNAMIC_WINDOW = 20  # characters between two updates of dynamic evaluation
DYNAMIC_DECAY = 0.002  # of the difference from the trained weights, at each update


def measure(trained: Trained, numbers: Numbers, start: int) -> dict[str, float]:
    """Return nats and bits a character: the mean of -log p of all characters from `start` >= 1 on.

    The text is cut into stretches that are read at once, each with its state carried from window to
    window. Before its own characters, each row reads up to 256 that stand before them.
    """
    if not 1 <= start < len(numbers):
        raise ValueError(f"start={start} is not within 1..{len(numbers) - 1}")
    count = len(numbers) - start
    rows = min(ROWS, max(1, count // STRETCH))
    stretch = -(-count // rows)
    warm_up = min(WARM_UP, start - 1)
    begins = start + np.arange(rows) * stretch
    model, device = trained.model, trained.device
    # In float64, which MPS lacks: its sums are made on the CPU.
    sums_on = torch.device("cpu") if device.type == "mps" else device
    total = torch.zeros((), dtype=torch.float64, device=sums_on)
    with evaluating(model):
        state = model.initial_state(rows)
        for time in range(-warm_up, stretch, WINDOW):
            offsets = np.arange(time, min(time + WINDOW, stretch))[:, None]
            places = offsets + begins
            counted = torch.from_numpy((offsets >= 0) & (places < len(numbers))).to(sums_on)
            places = np.minimum(places, len(numbers) - 1)
            logits, state = model(_tensor(numbers[places - 1], device), state)
            y = _tensor(numbers[places], device)
            log_p = logits.float().log_softmax(-1).gather(-1, y[..., None]).squeeze(-1)
            total -= log_p.to(sums_on).double()[counted].sum()
    return in_units(total.item() / count)


def measure_dynamic(
    trained: Trained, numbers: Numbers, start: int, learning_rate: float
) -> dict[str, float]:
    """Return nats and bits a character in dynamic evaluation (Krause et al. 2018).

    The text from `start` >= 1 on is read in one row. After each window of 20 characters was
    predicted, a copy of the model learns from it: w <- w - rate * dE/dw + decay * (w_0 - w), where
    w_0 are the trained weights and E is the mean loss of the window. `trained` is not changed.
    """
    model = copy.deepcopy(trained.model).eval().requires_grad_()
    parameters = list(model.parameters())
    trained_weights = [parameter.detach().clone() for parameter in parameters]
    state = model.initial_state(1)
    total = 0.0
    for x, y in _windows(numbers, start, trained.device):
        logits, state = model(x, state)
        state = map_state(Tensor.detach, state)
        loss = cross_entropy(logits, y)
        total += loss.item() * len(x)
        gradients = torch.autograd.grad(loss, parameters)
        with torch.no_grad():
            for w, w_0, gradient in zip(parameters, trained_weights, gradients, strict=True):
                w.lerp_(w_0, DYNAMIC_DECAY).sub_(gradient, alpha=learning_rate)
    return in_units(total / (len(numbers) - start))


def in_units(nats: float) -> dict[str, float]:
    """Return a number of nats in all units; a bit is log 2 nats."""
    return {"nats": nats, "bits": nats / math.log(2)}


def _windows(
    numbers: Numbers, start: int, device: torch.device
) -> Iterator[tuple[Int[Tensor, "time 1"], Int[Tensor, "time 1"]]]:
    """Yield the characters to read and those to predict, window by window."""
    for begin in range(start, len(numbers), DYNAMIC_WINDOW):
        window = _tensor(numbers[begin - 1 : begin + DYNAMIC_WINDOW], device)[:, None]
        yield window[:-1], window[1:]


def _tensor(numbers: np.ndarray, device: torch.device) -> Tensor:
    return torch.from_numpy(numbers.astype(np.int64)).to(device)
