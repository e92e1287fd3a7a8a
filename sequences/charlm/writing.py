"""How a trained model writes: character by character, each drawn from p given all before."""

import sys
from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from core import decoding, rng
from datasets.text.alphabets import quoted
from sequences.charlm.trained import Trained


def encode_prompt(trained: Trained, prompt: str) -> list[int]:
    """Return the numbers of a prompt, at least one: an empty prompt is what a text begins after.

    Characters that the model does not know are left out and named in a line on standard error.
    """
    alphabet = trained.alphabet
    if unseen := alphabet.unseen(prompt):
        line = f"left out of the prompt, as the model has never seen it: {quoted(unseen)}"
        print(f"warning: {line}", file=sys.stderr)
    return alphabet.encode(alphabet.known(prompt)).tolist() or [trained.first]


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
    """Yield the next characters of `rows` texts that continue a prompt, as numbers, `length` times.

    Args:
        trained: the model.
        prompt: what it reads first.
        length: characters to write.
        rows: texts to write side by side.
        temperature: divides log p; 0 takes always the most probable character.
        top_p: draw from the fewest characters that have this probability together.
        seed: of the draws.
    """
    generator = rng.generator(trained.device, seed, "write")
    nucleus = top_p if top_p < 1 else None
    read = torch.tensor(prompt, device=trained.device)[:, None].expand(-1, rows)
    log_p, state = trained.model.read(read)
    for written in range(length):
        if temperature:
            last, _ = decoding.draw(log_p, temperature, None, nucleus, generator)
        else:
            last = log_p.argmax(-1)
        yield last
        if written < length - 1:
            log_p, state = trained.model.read(last[None], state)


def texts(
    trained: Trained, *, length: int, rows: int, temperature: float = 1.0, seed: int = 0
) -> list[str]:
    """Return texts that begin without a prompt."""
    drawn = write(
        trained, [trained.first], length=length, rows=rows, temperature=temperature, seed=seed
    )
    columns = np.stack([last.cpu().numpy() for last in drawn], 1)
    return [trained.alphabet.decode(row.tolist()) for row in columns]
