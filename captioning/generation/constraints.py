"""Lexical constraints on a decoder: each wraps its step function and changes the logits.

    ban_words           certain words have logit -inf
    ban_repetition      content words that were written have logit -inf from then on
    bias_logits         certain words have larger logits until they are written
    force_prefix        the sentence begins with given words

The step functions are those of `core.decoding`.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from core.base_cell import State
from core.decoding import Step


def ban_words(step: Step, banned: Bool[Tensor, "images vocabulary"]) -> Step:
    """Wrap a step function so that the words banned for each image are never written."""
    penalty = torch.zeros_like(banned, dtype=torch.float32).masked_fill_(banned, -torch.inf)

    def constrained(tokens: Int[Tensor, " rows"], state: State) -> tuple[Tensor, State]:
        logits, after = step(tokens, state)
        of_images = logits.unflatten(0, (len(banned), -1))
        return (of_images + penalty[:, None]).flatten(0, 1), after

    return constrained


def ban_repetition(
    step: Step, state: State, inflections: Int[Tensor, "vocabulary forms"]
) -> tuple[Step, State]:
    """Wrap a step function so that no word is written after an inflection of it.

    Returns the step function and its first state.

    Args:
        step: the step function of `core.decoding`.
        state: its first state, a row an image.
        inflections: the words that may not follow each word.
    """
    banned = inflections.new_empty(len(state[0]), 0)

    def constrained(tokens: Int[Tensor, " rows"], state: State) -> tuple[Tensor, State]:
        *inner, banned = state
        logits, after = step(tokens, tuple(inner))
        banned = torch.cat((banned, inflections[tokens]), 1)
        return logits.scatter(1, banned, -torch.inf), (*after, banned)

    return constrained, (*state, banned)


def bias_logits(
    step: Step,
    state: State,
    words: Int[Tensor, " words"],
    bias: Float[Tensor, "images words"],
) -> tuple[Step, State]:
    """Wrap a step function so that the logits of certain words are larger until they are written.

    Returns the step function and its first state.

    Args:
        step: the step function of `core.decoding`.
        state: its first state, a row an image.
        words: the tokens of the words.
        bias: what is added to the logit of each.
    """
    written = torch.zeros_like(bias, dtype=torch.bool)

    def constrained(tokens: Int[Tensor, " rows"], state: State) -> tuple[Tensor, State]:
        *inner, written = state
        logits, after = step(tokens, tuple(inner))
        written = written | (tokens[:, None] == words)
        rows = bias.repeat_interleave(len(tokens) // len(bias), 0)
        logits = logits.index_add(1, words, rows.masked_fill(written, 0.0).to(logits.dtype))
        return logits, (*after, written)

    return constrained, (*state, written)


def force_prefix(step: Step, state: State, prefixes: Sequence[Sequence[int]]) -> tuple[Step, State]:
    """Wrap a step function so that the sentence of each image begins with a prefix.

    Returns the step function and its first state. The prefix has probability 1.

    Args:
        step: the step function of `core.decoding`.
        state: its first state, a row an image.
        prefixes: the first tokens of each image; all prefixes have the same length.
    """
    prefix = torch.tensor(prefixes, device=state[0].device)
    position = torch.zeros(len(prefix), dtype=torch.int64, device=prefix.device)

    def constrained(tokens: Int[Tensor, " rows"], state: State) -> tuple[Tensor, State]:
        *inner, position = state
        logits, after = step(tokens, tuple(inner))
        written = int(position[0])
        if written < prefix.shape[1]:
            forced = prefix[:, written].repeat_interleave(len(tokens) // len(prefix))
            logits = torch.full_like(logits, -torch.inf).scatter_(1, forced[:, None], 0.0)
        return logits, (*after, position + 1)

    return constrained, (*state, position)
