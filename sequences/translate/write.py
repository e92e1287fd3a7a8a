"""Writes translations: beam search over a trained translator, in batches of sentences about equally long."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from core.beam import Hypothesis, beam_search
from core.training import batches
from datasets.pieces import Pieces, text_of
from sequences.translate.data import collate
from sequences.translate.trained import Trained

BATCH = 64  # sentences translated together
MOST = 400  # pieces of a sentence that are read; what is beyond them is cut
ROOM = 2, 10  # a translation may have so many times as many pieces as the source, and so many more


class Translation(NamedTuple):
    """One translation of a sentence."""

    text: str
    pieces: tuple[str, ...]
    tokens: tuple[int, ...]
    log_probability: float


def translate(
    trained: Trained, sentences: Sequence[str], beam: int, best: int = 1
) -> list[list[Translation]]:
    """Return the `best` translations of each sentence, the best first; of one without words an empty one."""
    encoded = [row[:MOST] for row in trained.pieces.source.encode_all(sentences)]
    order = sorted((n for n, row in enumerate(encoded) if row), key=lambda n: -len(encoded[n]))
    found = [[Translation("", (), (), 0.0)] for _ in sentences]
    training = trained.network.training
    trained.network.eval()
    for part in batches.in_order(len(order), BATCH):
        rows = order[part]
        written = _search(trained, [encoded[n] for n in rows], beam, best)
        for n, hypotheses in zip(rows, written, strict=True):
            found[n] = [_translation(trained, sentences[n], each) for each in hypotheses]
    trained.network.train(training)
    return found


@torch.no_grad()
def attention(
    trained: Trained, sentence: str, tokens: Sequence[int]
) -> Float[Tensor, "pieces places"]:
    """Where the translator looked for each piece of a translation and its end: pieces of the sentence and its end."""
    source = [[*trained.pieces.source.encode(sentence)[:MOST], Pieces.end]]
    batch = collate(source, [[*tokens, Pieces.end]], trained.device)
    return trained.network(batch.source, batch.lengths, batch.target[:-1])[1][0]


@torch.no_grad()
def _search(
    trained: Trained, rows: list[list[int]], beam: int, best: int
) -> list[list[Hypothesis]]:
    """The best hypotheses for sources that are numbers."""
    network = trained.network
    batch = collate([[*row, Pieces.end] for row in rows], [[]], trained.device)
    memory, state = network.encode(batch.source, batch.lengths)
    times, more = ROOM
    forbidden = Pieces.unspoken if trained.config.attention else (*Pieces.unspoken, Pieces.unknown)
    found = beam_search(
        network.stepper(memory),
        network.initial_state(state),
        start=Pieces.start,
        end=Pieces.end,
        width=max(beam, best),
        length=times * max(map(len, rows)) + more,
        penalty=trained.config.length_penalty,
        forbidden=forbidden,
    )
    return [hypotheses[:best] for hypotheses in found]


def _translation(trained: Trained, sentence: str, found: Hypothesis) -> Translation:
    """A hypothesis as text. For <unk> stands what was looked at most (Luong et al. 2015b): mostly a name."""
    pieces = trained.pieces.target.spoken(found.tokens)
    if Pieces.unknown in found.tokens:
        seen = attention(trained, sentence, found.tokens)[:, :-1].argmax(-1).tolist()
        surfaces = trained.pieces.source.surfaces(sentence)
        unknown = Pieces.unknown
        pieces = [
            surfaces[seen[n]] if t == unknown else pieces[n] for n, t in enumerate(found.tokens)
        ]
    return Translation(text_of(pieces), tuple(pieces), found.tokens, found.log_probability)
