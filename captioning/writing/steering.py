"""One-step functions of a decoder that write some words rather than others.

Each takes a step function of `core.decoding` and returns one: `ruling_out` never writes certain
words, `unrepeated` writes certain words once, `preferring` prefers some until they are written,
`beginning` writes given words first.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from core.cell import State
from core.decoding import Step


def ruling_out(
    step: Step,
    forbidden: Bool[Tensor, "images vocabulary"],
) -> Step:
    """Wrap a step function so that the words forbidden for each image are never written."""
    allowed = torch.zeros_like(forbidden, dtype=torch.float32).masked_fill_(forbidden, -torch.inf)

    def allow(tokens: Int[Tensor, " rows"], state: State) -> tuple[Tensor, State]:
        logits, after = step(tokens, state)
        of_images = logits.unflatten(0, (len(forbidden), -1))
        return (of_images + allowed[:, None]).flatten(0, 1), after

    return allow


def unrepeated(
    step: Step, state: State, forms: Int[Tensor, "vocabulary forms"]
) -> tuple[Step, State]:
    """Wrap a step function so that no word is written after a form of it.

    Returns the step function and its first state.

    Args:
        step: the step function of `core.decoding`.
        state: its first state, a row an image.
        forms: the words that may not follow each word.
    """
    ruled_out = forms.new_empty(len(state[0]), 0)

    def once(tokens: Int[Tensor, " rows"], state: State) -> tuple[Tensor, State]:
        *inner, ruled_out = state
        logits, after = step(tokens, tuple(inner))
        ruled_out = torch.cat((ruled_out, forms[tokens]), 1)
        return logits.scatter(1, ruled_out, -torch.inf), (*after, ruled_out)

    return once, (*state, ruled_out)


def preferring(
    step: Step,
    state: State,
    words: Int[Tensor, " words"],
    gains: Float[Tensor, "images words"],
) -> tuple[Step, State]:
    """Return a step function, and its first state, that prefers certain words until it wrote them.

    Args:
        step: the step function of `core.decoding`.
        state: its first state, a row an image.
        words: their numbers.
        gains: what the logit of each gains.
    """
    written = torch.zeros_like(gains, dtype=torch.bool)

    def prefer(tokens: Int[Tensor, " rows"], state: State) -> tuple[Tensor, State]:
        *inner, written = state
        logits, after = step(tokens, tuple(inner))
        written = written | (tokens[:, None] == words)
        rows = gains.repeat_interleave(len(tokens) // len(gains), 0)
        logits = logits.index_add(1, words, rows.masked_fill(written, 0.0).to(logits.dtype))
        return logits, (*after, written)

    return prefer, (*state, written)


def beginning(step: Step, state: State, words: Sequence[Sequence[int]]) -> tuple[Step, State]:
    """Return a step function, and its first state, that writes given words first.

    They cost nothing: their log p is 0.

    Args:
        step: the step function of `core.decoding`.
        state: its first state, a row an image.
        words: the first words of each image, as many of each.
    """
    first = torch.tensor(words, device=state[0].device)
    place = torch.zeros(len(first), dtype=torch.int64, device=first.device)

    def begin(tokens: Int[Tensor, " rows"], state: State) -> tuple[Tensor, State]:
        *inner, place = state
        logits, after = step(tokens, tuple(inner))
        written = int(place[0])
        if written < first.shape[1]:
            given = first[:, written].repeat_interleave(len(tokens) // len(first))
            logits = torch.full_like(logits, -torch.inf).scatter_(1, given[:, None], 0.0)
        return logits, (*after, place + 1)

    return begin, (*state, place)
