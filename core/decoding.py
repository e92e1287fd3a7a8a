"""Writing sequences token by token with any one-step function: greedy or by sampling.

    step(tokens, state) -> (logits, state)    reads one token in each row, predicts the next

A state is a tuple of tensors, rows first. The first token read is `start`; a sequence is
over with `end`, or when `length` tokens are written. Where nothing may follow (all logits -inf), it
is over too. Nothing here has gradients, and shapes do not depend on what is written. Beam search is
in `core.beam`.
"""

from collections.abc import Callable, Collection
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from core.base_cell import State

Step = Callable[[Tensor, State], tuple[Tensor, State]]
# Steps between two checks on a GPU of whether all rows have ended; each check waits for the device.
WAIT = 4
LOWEST_TEMPERATURE = 1e-30  # divided by less, log p may be infinite in float32


class Written(NamedTuple):
    """Sequences and log p of each token; after `end` they are padded with `end` and 0."""

    tokens: Int[Tensor, "rows length"]
    log_probabilities: Float[Tensor, "rows length"]


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

    Raises:
        ValueError: length is below 1.
    """
    return _write(
        step, state, start, end, length, forbidden, lambda log_p: (log_p.argmax(-1), log_p)
    )


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
        top_p: draw from the fewest tokens that have this probability together: the nucleus
            (Holtzman et al. 2020, section 3.1); where `top_k` is given too, the nucleus of those.
        generator: on the state's device.

    Raises:
        ValueError: temperature is below 1e-30, top_p not above 0, or top_k or length below 1.
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
    """Draw a token for each row, as `sample` does; return it and log p of the distribution."""
    _require_drawable(temperature, top_k, top_p)
    log_p = F.log_softmax(log_p / temperature, -1)
    if top_k is not None or top_p is not None:
        log_p = truncated(log_p, top_k, top_p)
    sums = log_p.exp().cumsum(-1)
    u = torch.rand(len(sums), 1, dtype=sums.dtype, device=sums.device, generator=generator)
    # The first sum that is not below a number in (0, sum of all]: never a token of probability 0.
    # This takes a tenth of the time of torch.multinomial, which draws a random number for each
    # token of the vocabulary.
    drawn = torch.searchsorted(sums, (1 - u) * sums[:, -1:]).squeeze(-1)
    return drawn.clamp(max=sums.shape[-1] - 1), log_p  # NaN is for the training loop to report


def _require_drawable(temperature: float, top_k: int | None, top_p: float | None) -> None:
    if (
        not temperature >= LOWEST_TEMPERATURE
        or (top_k is not None and top_k < 1)
        or (top_p is not None and not top_p > 0)
    ):
        raise ValueError(
            f"sampling needs a temperature of at least {LOWEST_TEMPERATURE}, top_k of at least 1 "
            "and top_p above 0"
        )


def truncated(
    log_p: Float[Tensor, "rows vocabulary"], top_k: int | None, top_p: float | None
) -> Float[Tensor, "rows vocabulary"]:
    """Return log p of the `top_k` most probable tokens or the nucleus `top_p`; -inf elsewhere."""
    ranked, order = log_p.sort(-1, descending=True)
    if top_k is not None:
        ranked[:, top_k:] = -torch.inf
        ranked = F.log_softmax(ranked, -1)
    if top_p is not None:
        p = ranked.exp()
        # Those whose more probable ones make up the nucleus already.
        ranked = ranked.masked_fill(p.cumsum(-1) - p >= top_p, -torch.inf)
        ranked = F.log_softmax(ranked, -1)
    return torch.empty_like(ranked).scatter_(-1, order, ranked)


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
    last, banned = begin(state, start, length, forbidden)
    over = torch.zeros_like(last, dtype=torch.bool)
    tokens, log_probabilities = [], []
    for time in range(length):
        logits, state = step(last, state)
        log_p, over = _end_alone(log_softmax(logits, banned), over, end)
        last, log_p = choose(log_p)
        over = over | (last == end)
        tokens.append(last)
        log_probabilities.append(log_p.gather(-1, last[:, None]).squeeze(-1))
        if all_over(over, time):
            break
    padding = 0, length - len(tokens)
    return Written(
        F.pad(torch.stack(tokens, 1), padding, value=end),
        F.pad(torch.stack(log_probabilities, 1), padding),
    )


def begin(
    state: State, start: int, length: int, forbidden: Collection[int]
) -> tuple[Int[Tensor, " rows"], Int[Tensor, " banned"]]:
    """Return `start` for every row of the state, and the forbidden tokens.

    Raises:
        ValueError: if `length` is below 1.
    """
    if length < 1:
        raise ValueError(f"length must be at least 1, not {length}")
    first = state[0]
    last = torch.full((len(first),), start, device=first.device)
    return last, torch.tensor(sorted(forbidden), dtype=torch.int64, device=first.device)


def log_softmax(
    logits: Float[Tensor, "rows vocabulary"], banned: Int[Tensor, " banned"]
) -> Float[Tensor, "rows vocabulary"]:
    """Return log p in float32 at least; -inf for forbidden tokens.

    A row in which nothing is possible is all -inf, not NaN.
    """
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    impossible = logits.amax(-1, keepdim=True) == -torch.inf
    log_p = F.log_softmax(logits, -1).masked_fill_(impossible, -torch.inf)
    return log_p.index_fill_(-1, banned, -torch.inf)


def _end_alone(
    log_p: Float[Tensor, "*rows vocabulary"], over: Bool[Tensor, "*rows"], end: int
) -> tuple[Float[Tensor, "*rows vocabulary"], Bool[Tensor, "*rows"]]:
    """Rows that have ended, or in which no token is possible, get `end` with log p 0, else -inf."""
    over = over | (log_p == -torch.inf).all(-1)
    log_p = log_p.masked_fill(over[..., None], -torch.inf)
    log_p[..., end].masked_fill_(over, 0.0)
    return log_p, over


def all_over(over: Bool[Tensor, "*rows"], time: int) -> bool:
    """Return whether all sequences have ended; a GPU is seldom asked, as the host waits for it."""
    return (over.device.type == "cpu" or time % WAIT == WAIT - 1) and bool(over.all())
