"""Beam search: the most probable sequences of a one-step function as in `core.decoding`."""

from collections.abc import Collection
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from core.base_cell import State, map_state
from core.decoding import Step, all_over, begin, log_softmax


class Hypothesis(NamedTuple):
    """A sequence that beam search found."""

    tokens: tuple[int, ...]
    """Without `start` and `end`."""
    log_probability: float
    """Of all its tokens, `end` included."""
    score: float
    """log p / length**penalty, by which hypotheses are ranked."""
    finished: bool
    """Whether it came to `end`, or was cut at the length."""


class _Beam(NamedTuple):
    """The hypotheses kept of each sequence to be found, the best first."""

    tokens: Int[Tensor, "batch width length"]
    lengths: Int[Tensor, "batch width"]
    log_p: Float[Tensor, "batch width"]
    scores: Float[Tensor, "batch width"]
    finished: Bool[Tensor, "batch width"]
    over: Bool[Tensor, "batch width"]  # finished, cut, or nothing may follow


@torch.no_grad()
def beam_search(
    step: Step,
    state: State,
    *,
    start: int,
    end: int,
    length: int | Int[Tensor, " rows"],
    width: int,
    penalty: float = 0.7,
    forbidden: Collection[int] = (),
) -> list[list[Hypothesis]]:
    """Beam search: up to `width` sequences of the best score for each row, the best first.

    The score is log p / length**penalty, the length counting `end`: 0 ranks by probability, 1 by
    its geometric mean over tokens; Wu et al. (2016, section 7) found 0.6 to 0.7 best. In each step
    the `width` best are kept of the finished hypotheses and of all continuations of the others. So
    the search is over when all that are kept are finished: going on could not change them. Width 1
    is `greedy`.

    Args:
        step: the one-step function; it is called with `width` rows for each row of `state`, side by
            side.
        state: what it starts from.
        start: the token before the first.
        end: the token after the last.
        length: tokens to write at most, `end` included; one number for all rows, or one for each.
        width: hypotheses kept.
        penalty: the exponent of the length.
        forbidden: tokens never to write; their probability is not redistributed.

    Raises:
        ValueError: length or width is below 1.
    """
    if width < 1:
        raise ValueError(f"width must be at least 1, not {width}")
    limits = torch.as_tensor(length)
    ends = set(limits.flatten().tolist())  # known to the host: a GPU is not waited for
    last, banned = begin(state, start, min(ends), forbidden)
    beam = _empty_beam(len(last), width, max(ends), last.device)
    limits = limits.to(last.device).expand(len(last))[:, None]
    last = last.repeat_interleave(width)
    state = map_state(lambda part: part.repeat_interleave(width, 0), state)
    first_rows = torch.arange(0, len(last), width, device=last.device)[:, None]
    for time in range(max(ends)):
        logits, state = step(last, state)
        log_p = log_softmax(logits, banned).unflatten(0, beam.over.shape)
        beam, parents = _grow(beam, time, log_p, end, penalty)
        if time + 1 in ends:
            beam = beam._replace(over=beam.over | (limits == time + 1))
        if all_over(beam.over | (beam.log_p == -torch.inf), time):
            break
        last = beam.tokens[..., time].flatten()
        rows = (first_rows + parents).flatten()
        state = map_state(lambda part, rows=rows: part[rows], state)
    return _hypotheses(beam)


def _empty_beam(batch: int, width: int, length: int, device: torch.device) -> _Beam:
    """Only the first hypothesis counts: in the beginning all are the same."""
    zeros = torch.zeros(batch, width, dtype=torch.int64, device=device)
    log_p = torch.where(torch.arange(width, device=device) == 0, 0.0, -torch.inf).expand(
        batch, width
    )
    return _Beam(
        zeros[..., None].repeat(1, 1, length), zeros, log_p, log_p, zeros.bool(), zeros.bool()
    )


def _grow(
    beam: _Beam, time: int, log_p: Float[Tensor, "batch width vocabulary"], end: int, penalty: float
) -> tuple[_Beam, Int[Tensor, "batch width"]]:
    """Return the best continuations and the hypotheses they continue, given log p of all tokens."""
    width = beam.over.shape[1]
    # No more continuations of one hypothesis can be among the best.
    log_p, tokens = log_p.topk(min(width, log_p.shape[-1]))
    over = beam.over | (log_p[..., 0] == -torch.inf)
    log_p = log_p.masked_fill(over[..., None], -torch.inf)
    log_p[..., 0].masked_fill_(over, 0.0)  # what is over goes on with `end`, at no cost
    log_p = beam.log_p[..., None] + log_p
    tokens = tokens.masked_fill(over[..., None], end)
    lengths = beam.lengths + ~over
    scores = log_p / lengths[..., None].clamp(min=1).to(log_p.dtype) ** penalty
    scores, best = scores.flatten(1).topk(width)
    parents = best // log_p.shape[-1]
    last, over = tokens.flatten(1).gather(1, best), over.gather(1, parents)
    finished = beam.finished.gather(1, parents) | ~over & (last == end)
    tokens = beam.tokens.gather(1, parents[..., None].expand_as(beam.tokens))
    tokens[..., time] = last
    log_p = log_p.flatten(1).gather(1, best)
    return _Beam(
        tokens, lengths.gather(1, parents), log_p, scores, finished, over | finished
    ), parents


def _hypotheses(beam: _Beam) -> list[list[Hypothesis]]:
    """What is in the beams, less what is impossible."""
    words = beam.lengths - beam.finished.long()
    columns = [
        part.tolist() for part in (beam.tokens, words, beam.log_p, beam.scores, beam.finished)
    ]
    return [
        [
            Hypothesis(tuple(t[:n]), p, s, f)
            for t, n, p, s, f in zip(*rows, strict=True)
            if p != -torch.inf
        ]
        for rows in zip(*columns, strict=True)
    ]
