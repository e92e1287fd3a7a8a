"""Writes translations: beam search with a trained translator, in batches of similar length."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from core.beam import Hypothesis, beam_search
from core.training import batches
from core.training.loop import evaluating
from datasets.text.subwords import Subwords, text_of
from sequences.translate.data import collate
from sequences.translate.trained import Trained

BATCH = 64  # sentences translated together
MOST = 400  # subwords of a sentence that are read; the rest is cut
# A translation has at most so many times as many subwords as its source, and so many more.
TIMES_AS_LONG = 2
AND_MORE = 10


class Translation(NamedTuple):
    """One translation of a sentence."""

    text: str
    subwords: tuple[str, ...]
    tokens: tuple[int, ...]
    log_probability: float


def translate(
    trained: Trained, sentences: Sequence[str], beam: int, best: int = 1
) -> list[list[Translation]]:
    """Return the `best` translations of each sentence, the best first.

    A sentence without words has one empty translation.
    """
    encoded = [row[:MOST] for row in trained.subwords.source.encode_all(sentences)]
    order = sorted((n for n, row in enumerate(encoded) if row), key=lambda n: -len(encoded[n]))
    translated = [[Translation("", (), (), 0.0)] for _ in sentences]
    with evaluating(trained.network):
        for part in batches.in_order(len(order), BATCH):
            rows = order[part]
            written = _search(trained, [encoded[n] for n in rows], beam, best)
            for n, hypotheses in zip(rows, written, strict=True):
                translated[n] = [_translation(trained, sentences[n], each) for each in hypotheses]
    return translated


@torch.no_grad()
def attention(
    trained: Trained, sentence: str, tokens: Sequence[int]
) -> Float[Tensor, "subwords places"]:
    """Return the attention weights of a translation.

    A row for each of its subwords and its end, a column for each of the source's and its end.
    """
    source = [[*trained.subwords.source.encode(sentence)[:MOST], Subwords.end]]
    batch = collate(source, [[*tokens, Subwords.end]], trained.device)
    _, weights = trained.network(batch.source, batch.lengths, batch.target[:-1])
    return weights[0]


def _search(
    trained: Trained, rows: list[list[int]], beam: int, best: int
) -> list[list[Hypothesis]]:
    """Return the best hypotheses for sources that are numbers."""
    network = trained.network
    batch = collate([[*row, Subwords.end] for row in rows], [[]], trained.device)
    memory, state = network.encode(batch.source, batch.lengths)
    forbidden = Subwords.unspoken
    if not trained.config.attention:  # which would say what to write for <unk>
        forbidden = (*forbidden, Subwords.unknown)
    limits = [TIMES_AS_LONG * len(row) + AND_MORE for row in rows]
    hypotheses = beam_search(
        network.stepper(memory),
        network.initial_state(state),
        start=Subwords.start,
        end=Subwords.end,
        width=max(beam, best),
        length=torch.tensor(limits),
        penalty=trained.config.length_penalty,
        forbidden=forbidden,
    )
    return [of_one[:best] for of_one in hypotheses]


def _translation(trained: Trained, sentence: str, hypothesis: Hypothesis) -> Translation:
    """Return a hypothesis as text.

    An <unk> becomes the source's subword with the largest attention weight (Luong et al. 2015b):
    mostly a name.
    """
    tokens = hypothesis.tokens
    subwords = trained.subwords.target.spoken(tokens)
    if Subwords.unknown in tokens:
        places = attention(trained, sentence, tokens)[:, :-1].argmax(-1).tolist()
        surfaces = trained.subwords.source.surfaces(sentence)
        for n, token in enumerate(tokens):
            if token == Subwords.unknown:
                subwords[n] = surfaces[places[n]]
    return Translation(text_of(subwords), tuple(subwords), tokens, hypothesis.log_probability)
