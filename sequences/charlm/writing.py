"""How a trained model writes: character by character, each drawn from p given all before."""

from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from core import decoding, rng
from core.errors import InputError
from sequences.charlm.trained import Trained


def encode_prompt(trained: Trained, prompt: str) -> list[int]:
    """Return the numbers to read before writing; for an empty prompt, what a text begins after.

    Raises:
        InputError: the model has not seen some of the characters.
    """
    if unseen := trained.alphabet.unseen(prompt):
        named = ", ".join(map(repr, unseen[:10])) + " ..." * (len(unseen) > 10)
        raise InputError(
            f"the model has never seen {named} of the prompt; write it without, or train on a text that has them, "
            "or with --bytes"
        )
    return trained.alphabet.encode(prompt).tolist() or [trained.first]


def write(
    trained: Trained,
    prompt: list[int],
    *,
    length: int,
    rows: int = 1,
    temperature: float = 1.0,
    top_p: float = 1.0,
    seed: int = 0,
) -> Iterator[Int[Tensor, " rows"]]:
    """Yield the next characters of `rows` texts that go on from a prompt, as numbers, `length` times.

    At temperature 0 always the most probable one; else log p is divided by it, and of what results the fewest
    that have the probability `top_p` together are drawn from.

    Raises:
        InputError: length is below 1, temperature below 0, or top_p not above 0 and at most 1.
    """
    if length < 1 or not temperature >= 0 or not 0 < top_p <= 1:
        raise InputError(
            "length must be at least 1, temperature at least 0, and top-p above 0 and at most 1, "
            f"not {length}, {temperature} and {top_p}"
        )
    generator = rng.generator(trained.device, seed, "write")
    read = torch.tensor(prompt, device=trained.device)[:, None].expand(-1, rows)
    log_p, state = trained.model.read(read)
    for written in range(length):
        if temperature:
            last, _ = decoding.draw(
                log_p, temperature, None, top_p if top_p < 1 else None, generator
            )
        else:
            last = log_p.argmax(-1)
        yield last
        if written < length - 1:
            log_p, state = trained.model.read(last[None], state)


def texts(
    trained: Trained, *, length: int, rows: int, temperature: float = 1.0, seed: int = 0
) -> list[str]:
    """Return texts that begin of themselves, without what they begin after."""
    drawn = write(
        trained, [trained.first], length=length, rows=rows, temperature=temperature, seed=seed
    )
    columns = np.stack([last.cpu().numpy() for last in drawn], 1)
    return [trained.alphabet.decode(row.tolist()) for row in columns]
