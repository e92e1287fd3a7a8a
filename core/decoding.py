"""Writing sequences token by token, with any one-step function: greedy, by sampling, or by beam search.

    step(tokens, state) -> (logits, state)      one token read by each row; the scores of the next one

A state is a tensor or a nested tuple of tensors, rows first. The first token read is `start`; a sequence is
over with `end`, or when `length` tokens are written. Where nothing may follow (all logits -inf), it is over too.
Nothing here has gradients, and shapes do not depend on what is written.
"""

from collections.abc import Callable, Collection
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from core.cells import State, map_state

Step = Callable[[Tensor, State], tuple[Tensor, State]]
WAIT = 4  # steps from one question to a GPU, whether all is over, to the next


class Written(NamedTuple):
    """Sequences with `end` and after it, filled up with `end`; and log p of each token (0 where filled up)."""

    tokens: Int[Tensor, "rows length"]
    log_probabilities: Float[Tensor, "rows length"]


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


def greedy(
    step: Step, state: State, *, start: int, end: int, length: int, forbidden: Collection[int] = ()
) -> Written:
    """Write the most probable token, step after step.

    Args:
        step: the one-step function.
        state: what it starts from, one row a sequence.
        start: the token before the first.
        end: the token after the last.
        length: tokens to write at most, `end` included.
        forbidden: tokens never to write.
    """
    return _write(step, state, start, end, length, forbidden, lambda log_p: (log_p.argmax(-1), log_p))


def sample(
    step: Step,
    state: State,
    *,
    start: int,
    end: int,
    length: int,
    forbidden: Collection[int] = (),
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    generator: torch.Generator | None = None,
) -> Written:
    """Draw each token at random; log p is that of the distribution drawn from.

    Args:
        step: the one-step function.
        state: what it starts from, one row a sequence.
        start: the token before the first.
        end: the token after the last.
        length: tokens to write at most, `end` included.
        forbidden: tokens never to write.
        temperature: logits are divided by it: below 1 makes the probable more probable.
        top_k: draw from this many most probable tokens (Fan et al. 2018).
        top_p: draw from the fewest tokens that have this probability together: the nucleus (Holtzman et al.
            2020, section 3.1); where `top_k` is given too, the nucleus of those.
        generator: on the state's device.

    Raises:
        ValueError: temperature or top_p is not above 0, or top_k below 1.
    """
    _require_drawable(temperature, top_k, top_p)

    def choose(log_p: Float[Tensor, "rows vocabulary"]) -> tuple[Int[Tensor, " rows"], Tensor]:
        return draw(log_p, temperature, top_k, top_p, generator)

    return _write(step, state, start, end, length, forbidden, choose)


def draw(
    log_p: Float[Tensor, "rows vocabulary"],
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    generator: torch.Generator | None = None,
) -> tuple[Int[Tensor, " rows"], Float[Tensor, "rows vocabulary"]]:
    """Draw a token for each row, as `sample` does; return it, and log p of the distribution drawn from."""
    _require_drawable(temperature, top_k, top_p)
    log_p = F.log_softmax(log_p / temperature, -1)
    if top_k is not None or top_p is not None:
        log_p = truncated(log_p, top_k, top_p)
    sums = log_p.exp().cumsum(-1)
    u = torch.rand(len(sums), 1, dtype=sums.dtype, device=sums.device, generator=generator)
    # The first sum that is not below a number in (0, sum of all]: never a token of probability 0. This takes a
    # tenth of the time of torch.multinomial, which draws a random number for each token of the vocabulary.
    drawn = torch.searchsorted(sums, (1 - u) * sums[:, -1:]).squeeze(-1)
    return drawn.clamp(max=sums.shape[-1] - 1), log_p  # NaN is for the training loop to report


def _require_drawable(temperature: float, top_k: int | None, top_p: float | None) -> None:
    if not temperature > 0 or (top_k is not None and top_k < 1) or (top_p is not None and not top_p > 0):
        raise ValueError("sampling needs a temperature above 0, top_k of at least 1 and top_p above 0")


def truncated(
    log_p: Float[Tensor, "rows vocabulary"], top_k: int | None, top_p: float | None
) -> Float[Tensor, "rows vocabulary"]:
    """Return log p of the `top_k` most probable tokens, or of the nucleus `top_p`, alone: -inf for all others."""
    ranked, order = log_p.sort(-1, descending=True)
    if top_k is not None:
        ranked[:, top_k:] = -torch.inf
        ranked = F.log_softmax(ranked, -1)
    if top_p is not None:
        p = ranked.exp()
        ranked = ranked.masked_fill(p.cumsum(-1) - p >= top_p, -torch.inf)  # the more probable ones have it already
        ranked = F.log_softmax(ranked, -1)
    return torch.empty_like(ranked).scatter_(-1, order, ranked)


class _Beam(NamedTuple):
    """The hypotheses kept of each sequence to be found, the best first."""

    tokens: Int[Tensor, "batch width length"]
    lengths: Int[Tensor, "batch width"]
    log_p: Float[Tensor, "batch width"]
    scores: Float[Tensor, "batch width"]
    finished: Bool[Tensor, "batch width"]
    over: Bool[Tensor, "batch width"]  # finished, or nothing may follow


@torch.no_grad()
def beam_search(
    step: Step,
    state: State,
    *,
    start: int,
    end: int,
    length: int,
    width: int,
    penalty: float = 0.7,
    forbidden: Collection[int] = (),
) -> list[list[Hypothesis]]:
    """Search the sequences of best score, for each row of `state`; return up to `width`, the best first.

    The score is log p / length**penalty, the length counting `end`: 0 ranks by probability, 1 by its geometric
    mean over tokens; Wu et al. (2016, section 7) found 0.6 to 0.7 best. In each step the `width` best are kept
    of the finished hypotheses and of all continuations of the others. So the search is over when all that are
    kept are finished: going on could not change them. Width 1 is `greedy`.

    Args:
        step: the one-step function; it is called with `width` rows for each row of `state`, side by side.
        state: what it starts from.
        start: the token before the first.
        end: the token after the last.
        length: tokens to write at most, `end` included.
        width: hypotheses kept.
        penalty: the exponent of the length.
        forbidden: tokens never to write; the others do not become more probable by it.

    Raises:
        ValueError: length or width is below 1.
    """
    if width < 1:
        raise ValueError(f"width must be at least 1, not {width}")
    last, banned = _begin(state, start, length, forbidden)
    beam = _empty_beam(len(last), width, length, last.device)
    last = last.repeat_interleave(width)
    state = map_state(lambda part: part.repeat_interleave(width, 0), state)
    first_rows = torch.arange(0, len(last), width, device=last.device)[:, None]
    for time in range(length):
        logits, state = step(last, state)
        log_p = _log_softmax(logits, banned).unflatten(0, beam.over.shape)
        beam, parents = _grow(beam, time, log_p, end, penalty)
        if _all(beam.over | (beam.log_p == -torch.inf), time):
            break
        last = beam.tokens[..., time].flatten()
        rows = (first_rows + parents).flatten()
        state = map_state(lambda part, rows=rows: part[rows], state)
    return _hypotheses(beam)


def _empty_beam(batch: int, width: int, length: int, device: torch.device) -> _Beam:
    """Only the first hypothesis counts: in the beginning all are the same."""
    zeros = torch.zeros(batch, width, dtype=torch.int64, device=device)
    log_p = torch.where(torch.arange(width, device=device) == 0, 0.0, -torch.inf).expand(batch, width)
    return _Beam(zeros[..., None].repeat(1, 1, length), zeros, log_p, log_p, zeros.bool(), zeros.bool())


def _grow(
    beam: _Beam, time: int, log_p: Float[Tensor, "batch width vocabulary"], end: int, penalty: float
) -> tuple[_Beam, Int[Tensor, "batch width"]]:
    """Return the best continuations, given log p of all next tokens, and which hypotheses they continue."""
    width = beam.over.shape[1]
    log_p, tokens = log_p.topk(min(width, log_p.shape[-1]))  # of one hypothesis no more can be among the best
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
    return _Beam(tokens, lengths.gather(1, parents), log_p, scores, finished, over | finished), parents


def _hypotheses(beam: _Beam) -> list[list[Hypothesis]]:
    """What is in the beams, less what is impossible."""
    words = beam.lengths - beam.finished.long()
    columns = [part.tolist() for part in (beam.tokens, words, beam.log_p, beam.scores, beam.finished)]
    return [
        [Hypothesis(tuple(t[:n]), p, s, f) for t, n, p, s, f in zip(*rows, strict=True) if p != -torch.inf]
        for rows in zip(*columns, strict=True)
    ]


@torch.no_grad()
def _write(
    step: Step,
    state: State,
    start: int,
    end: int,
    length: int,
    forbidden: Collection[int],
    choose: Callable[[Tensor], tuple[Tensor, Tensor]],
) -> Written:
    """Write what `choose` makes of log p: tokens, and the log p by which it chose."""
    last, banned = _begin(state, start, length, forbidden)
    over = torch.zeros_like(last, dtype=torch.bool)
    tokens, log_probabilities = [], []
    for time in range(length):
        logits, state = step(last, state)
        log_p, over = _end_alone(_log_softmax(logits, banned), over, end)
        last, log_p = choose(log_p)
        over = over | (last == end)
        tokens.append(last)
        log_probabilities.append(log_p.gather(-1, last[:, None]).squeeze(-1))
        if _all(over, time):
            break
    rest = 0, length - len(tokens)
    return Written(F.pad(torch.stack(tokens, 1), rest, value=end), F.pad(torch.stack(log_probabilities, 1), rest))


def _begin(
    state: State, start: int, length: int, forbidden: Collection[int]
) -> tuple[Int[Tensor, " rows"], Int[Tensor, " banned"]]:
    """Return `start` for every row of the state, and the forbidden tokens."""
    if length < 1:
        raise ValueError(f"length must be at least 1, not {length}")
    while isinstance(state, tuple):
        state = state[0]
    last = torch.full((len(state),), start, device=state.device)
    return last, torch.tensor(sorted(forbidden), dtype=torch.int64, device=state.device)


def _log_softmax(
    logits: Float[Tensor, "rows vocabulary"], banned: Int[Tensor, " banned"]
) -> Float[Tensor, "rows vocabulary"]:
    """log p, in float32 at least; -inf for what is banned, and everywhere (not NaN) if no token is possible."""
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    log_p = F.log_softmax(logits, -1).masked_fill(logits == -torch.inf, -torch.inf)
    return log_p.index_fill_(-1, banned, -torch.inf)


def _end_alone(
    log_p: Float[Tensor, "*rows vocabulary"], over: Bool[Tensor, "*rows"], end: int
) -> tuple[Float[Tensor, "*rows vocabulary"], Bool[Tensor, "*rows"]]:
    """Let nothing but `end` follow, at no cost, what is over: also that which no token may follow."""
    over = over | (log_p == -torch.inf).all(-1)
    log_p = log_p.masked_fill(over[..., None], -torch.inf)
    log_p[..., end].masked_fill_(over, 0.0)
    return log_p, over


def _all(over: Bool[Tensor, "*rows"], time: int) -> bool:
    """Whether everything is known to be over; a device is seldom asked, because it must be waited for."""
    return (over.device.type == "cpu" or time % WAIT == WAIT - 1) and bool(over.all())
