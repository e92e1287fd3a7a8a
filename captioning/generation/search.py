"""Captions by constrained beam search.

    search                what constrains it                what becomes of its sentences
    1 plain               -                                 -
    2 copying             bias name_bonus p_k for each      replace those of 1 (Yao et al. 2017)
                          concept k that was detected and
                          is missing; then twice that
    3 detected words      bias LOGIT_BIAS times the share   reranked with those of 1 and 2:
                          of people who use the word        log p / length^penalty plus
                                                            RERANKING_WEIGHT times the sum of
                                                            shares (Fang et al. 2015)
    4 forced prefix       the first words are "a" and a     replace those of 3 where the concept is
                          concept                           more probable than that they are right
                                                            (Anderson et al. 2017)

In all of them words below the thresholds of their concepts are banned, and with `once` those
content words that were written already. Searches 2 and 4 need a classifier of concepts
(`captioning.concepts.classifier`), search 3 a detector of words (`captioning.concepts.detector`).
In the end the proxies of out-of-vocabulary words are replaced.

trained, _ = open_model(DEFAULT, "cpu")
pixels = trained.encoder.preprocessing(picture)[None]
[[sentence]] = generate(trained, trained.encode(pixels), beam=3)
sentence.text                                          # "a dog runs through the grass"
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from captioning.concepts.classifier import ConceptClassifier
from captioning.concepts.detector import DETECTED, LOGIT_BIAS, RERANKING_WEIGHT
from captioning.generation.constraints import (
    ban_repetition,
    ban_words,
    bias_logits,
    force_prefix,
)
from captioning.generation.substitution import substitute
from captioning.metrics.confidence import mean_log_share
from captioning.model import Projection
from captioning.trained import Trained
from core.beam import Hypothesis, beam_search
from datasets.text.vocabulary import joined


class Sentence(NamedTuple):
    """A sentence about a picture."""

    text: str
    words: tuple[str, ...]
    tokens: tuple[int, ...]
    log_probability: float
    """Of all its words, its end counted as one, in the search that found it."""
    confidence: float
    """The probability that it is right, as calibrated (see `captioning.metrics.confidence`)."""
    log_share: float = 0.0
    """Mean log of the shares of people who use its words; 0 without a detector."""


Captions = list[list[Sentence]]
"""The sentences about each picture, the best first."""


@torch.no_grad()
def generate(
    trained: Trained, features: Float[Tensor, "images cells channels"], beam: int, best: int = 1
) -> Captions:
    """Return the `best` sentences about each picture, the best first.

    Args:
        trained: the captioner.
        features: the pictures, as `Trained.encode` gives them.
        beam: width of the searches.
        best: sentences of each picture.
    """
    pictures = _prepare(trained, features.to(trained.decoder.bias.device))
    width = max(beam, best)
    captions = _search(pictures, width)
    if pictures.concepts:
        captions = _copy_concepts(pictures, pictures.concepts, width, captions)
    if pictures.shares is not None:
        captions = _rerank(pictures, pictures.shares, width, captions)
    if pictures.concepts:
        captions = _force_prefixes(pictures, pictures.concepts, width, captions)
        captions = _substitute_proxies(pictures.concepts, captions)
    return [sentences[:best] for sentences in captions]


class _Concepts(NamedTuple):
    """The concepts that the encoder's classifier detects in pictures."""

    classifier: ConceptClassifier
    probabilities: Float[Tensor, "images concepts"]


@dataclass(frozen=True)
class _Pictures:
    """What the searches read of pictures."""

    trained: Trained
    projection: Projection
    concepts: _Concepts | None = None
    banned: Bool[Tensor, "images vocabulary"] | None = None
    """The words that are not to be written."""
    shares: Float[Tensor, "images vocabulary"] | None = None
    """The share of people who use each word, if there is a detector."""

    def of(self, rows: Sequence[int]) -> "_Pictures":
        """Return some of the pictures, for a search."""
        return replace(
            self,
            projection=self.projection.of(rows),
            concepts=None,
            banned=None if self.banned is None else self.banned[rows],
            shares=None if self.shares is None else self.shares[rows],
        )


def _prepare(trained: Trained, features: Float[Tensor, "images cells channels"]) -> _Pictures:
    """Return the inputs of the searches.

    The share of people who use the word of a copyable concept is at least its probability.
    """
    size = len(trained.vocabulary)
    shares = trained.detector(features, size) if trained.detector else None
    projection = trained.decoder.project(features)
    classifier = trained.decoder.concepts
    if classifier is None or not trained.config.name_bonus:
        return _Pictures(trained, projection, shares=shares)
    probabilities = classifier(features[:, -1:] if trained.tail else features)
    if shares is not None:
        shares = torch.maximum(shares, classifier.copyable_words(probabilities, size))
    banned = classifier.banned_words(probabilities, size)
    return _Pictures(trained, projection, _Concepts(classifier, probabilities), banned, shares)


def _copy_concepts(
    pictures: _Pictures, concepts: _Concepts, width: int, captions: Captions
) -> Captions:
    """Search again where the best sentence lacks a detected concept, which may be copied then.

    Where it is still missing, another search has twice the bias.
    """
    classifier, probabilities = concepts
    captions = list(captions)
    for factor in (1.0, 2.0):
        missing = classifier.missing(probabilities, [best.tokens for best, *_ in captions])
        rows = missing.any(1).nonzero().flatten().tolist()
        if rows:
            bias = factor * pictures.trained.config.name_bonus * missing[rows]
            copied = _search(pictures.of(rows), width, (classifier.words, bias))
            for row, sentences in zip(rows, copied, strict=True):
                captions[row] = sentences
    return captions


def _rerank(
    pictures: _Pictures,
    shares: Float[Tensor, "images vocabulary"],
    width: int,
    captions: Captions,
) -> Captions:
    """Search for detected words too; rank the sentences of both searches by the words in them."""
    bias = LOGIT_BIAS * shares.where(shares >= DETECTED, 0.0)
    words = bias.any(0).nonzero().squeeze(1)
    biased_captions = _search(pictures, width, (words, bias[:, words]))
    share_of = shares.tolist()
    penalty = pictures.trained.config.length_penalty

    def rank(image: int, sentence: Sentence) -> float:
        length = len(sentence.tokens) + 1
        normalised = sentence.log_probability / length**penalty
        return normalised + RERANKING_WEIGHT * sum(
            share_of[image][word] for word in set(sentence.tokens)
        )

    reranked = []
    for image, (plain, biased) in enumerate(zip(captions, biased_captions, strict=True)):
        distinct = {sentence.tokens: sentence for sentence in (*biased, *plain)}.values()
        ranked = sorted(distinct, key=lambda sentence, image=image: -rank(image, sentence))
        reranked.append(ranked[:width])
    return reranked


def _force_prefixes(
    pictures: _Pictures, concepts: _Concepts, width: int, captions: Captions
) -> Captions:
    """Begin sentences with a missing concept that is more probable than that they are right."""
    trained = pictures.trained
    captions = list(captions)
    tokens = [best.tokens for best, *_ in captions]
    confidences = [best.confidence for best, *_ in captions]
    prefixes = concepts.classifier.prefixes(concepts.probabilities, tokens, confidences)
    for image, word, p in prefixes:
        [found] = _search(pictures.of([image]), width, prefix=_with_article(trained, word))
        captions[image] = [_with_prefix_probability(trained, sentence, p) for sentence in found]
    return captions


def _substitute_proxies(concepts: _Concepts, captions: Captions) -> Captions:
    """Put out-of-vocabulary words in the places of their proxies."""
    pairs = concepts.classifier.substitutions(concepts.probabilities)
    return [
        [_substituted(sentence, of_image) for sentence in sentences] if of_image else sentences
        for sentences, of_image in zip(captions, pairs, strict=True)
    ]


def _search(
    pictures: _Pictures,
    width: int,
    biased: tuple[Int[Tensor, " words"], Float[Tensor, "images words"]] | None = None,
    prefix: Sequence[int] = (),
) -> Captions:
    """Return the sentences of one beam search.

    Args:
        pictures: what they are about.
        width: that of the beam, and sentences of each picture.
        biased: words, and what is added to their logits until they are written.
        prefix: the tokens that all sentences begin with.
    """
    trained = pictures.trained
    step = trained.decoder.stepper(pictures.projection)
    state = trained.decoder.initial_state(pictures.projection)
    if trained.config.once:
        step, state = ban_repetition(step, state, trained.inflections)
    if biased:
        step, state = bias_logits(step, state, *biased)
    if pictures.banned is not None:
        step = ban_words(step, pictures.banned)
    if prefix:
        step, state = force_prefix(step, state, [prefix] * len(state[0]))
    beams = beam_search(
        step,
        state,
        start=trained.vocabulary.start,
        end=trained.vocabulary.end,
        width=width,
        length=trained.config.longest,
        penalty=trained.config.length_penalty,
        forbidden=trained.vocabulary.unspoken,
    )
    captions = []
    for image, hypotheses in enumerate(beams):
        shares = None if pictures.shares is None else pictures.shares[image].tolist()
        captions.append([_sentence(trained, hypothesis, shares) for hypothesis in hypotheses])
    return captions


def _sentence(trained: Trained, hypothesis: Hypothesis, shares: Sequence[float] | None) -> Sentence:
    """Return the sentence of a hypothesis, given the share of people who use each word."""
    tokens, log_p = hypothesis.tokens, hypothesis.log_probability
    words = tuple(trained.vocabulary.spoken(tokens))
    log_share = 0.0
    if shares:  # those of words outside the detector, as function words, are 0
        log_share = mean_log_share([shares[word] for word in set(tokens) if shares[word]])
    text = trained.vocabulary.decode(tokens)
    confidence = trained.confidence(log_p, len(words), log_share)
    return Sentence(text, words, tokens, log_p, confidence, log_share)


def _with_article(trained: Trained, word: int) -> tuple[int, ...]:
    """Return "a" or "an", and a word; the word alone if the captions had no articles."""
    vocabulary = trained.vocabulary
    article = vocabulary.number("an" if vocabulary.decode([word])[0] in "aeiou" else "a")
    return (word,) if article == vocabulary.unknown else (article, word)


def _with_prefix_probability(trained: Trained, sentence: Sentence, p: float) -> Sentence:
    """Return a sentence whose forced prefix, free in the search, has probability p."""
    log_p = sentence.log_probability + math.log(p)
    confidence = trained.confidence(log_p, len(sentence.words), sentence.log_share)
    return sentence._replace(log_probability=log_p, confidence=confidence)


def _substituted(sentence: Sentence, pairs: Sequence[tuple[str, str]]) -> Sentence:
    """Return a sentence with words replaced by words that the vocabulary lacks."""
    words = substitute(sentence.words, pairs)
    if words == list(sentence.words):
        return sentence
    return sentence._replace(text=joined(words), words=tuple(words))
