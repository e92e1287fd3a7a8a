"""Writes sentences: beam search over a trained captioner, image by image in batches."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from captioning.data import Source
from captioning.trained import Trained
from core.beam import beam_search
from core.training import batches

BATCH = 50  # images captioned together


class Caption(NamedTuple):
    """One sentence about an image."""

    text: str
    words: tuple[str, ...]
    tokens: tuple[int, ...]
    log_probability: float


@torch.no_grad()
def describe(
    trained: Trained,
    features: Float[Tensor, "images cells channels"],
    beam: int,
    best: int = 1,
) -> list[list[Caption]]:
    """Return the `best` captions of each image, the best first, found with a beam of width `beam`."""
    decoder, vocabulary, config = trained.decoder, trained.vocabulary, trained.config
    seen = decoder.see(features.to(decoder.bias.device))
    found = beam_search(
        decoder.stepper(seen),
        decoder.initial_state(seen),
        start=vocabulary.start,
        end=vocabulary.end,
        width=max(beam, best),
        length=config.longest,
        penalty=config.length_penalty,
        forbidden=vocabulary.unspoken,
    )
    return [
        [
            Caption(
                vocabulary.decode(h.tokens),
                tuple(vocabulary.spoken(h.tokens)),
                h.tokens,
                h.log_probability,
            )
            for h in hypotheses[:best]
        ]
        for hypotheses in found
    ]


def describe_all(trained: Trained, source: Source, beam: int) -> Iterator[Caption]:
    """Yield the best caption of every image of a source, in order."""
    training = trained.decoder.training
    trained.decoder.eval()
    for part in batches.in_order(len(source), BATCH):
        images = source(range(part.start, part.stop))
        features = trained.look(images) if trained.config.trains_encoder else images
        yield from (captions[0] for captions in describe(trained, features, beam))
    trained.decoder.train(training)


@torch.no_grad()
def attention(
    trained: Trained, features: Float[Tensor, "images cells channels"], tokens: Sequence[int]
) -> Float[Tensor, "words cells"]:
    """Where the captioner looked for each word of a caption of one image."""
    ids = torch.tensor([[trained.vocabulary.start, *tokens]], device=trained.decoder.bias.device)
    _, _, alphas = trained.decoder(features.to(ids.device), ids)
    return alphas[0, : len(tokens)]
