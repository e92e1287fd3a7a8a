"""How a trained captioner writes: beam searches in turn, each told more of the picture.

    search            the logits gain                       its sentences are taken
    1 plain           nothing                               -
    2 names copied    name_bonus p_k for each name k that   in place of those of 1 (names.py;
                      is sure and was not written; then     Yao et al. 2017)
                      twice that
    3 expected words  GAIN times the share of people who    by rank, among those of 1 and 2:
                      will use the word                     log p / length^penalty + WEIGHT times
                                                            the sum of shares (detector.py; Fang et
                                                            al. 2015)
    4 begun with a    -inf for all words but the given      where the classifier is surer than the
      name            ones at the beginning                 sentence (Anderson et al. 2017)

In all of them the words of classes that are ruled out have -inf, and with `once` those content
words that were written already. Each search but the first needs a classifier or a detector. At the
end, names that the vocabulary lacks take the places of words that stand for them.

trained, _ = open_model(DEFAULT, "cpu")
pixels = trained.encoder.preprocessing(picture)[None]
[[sentence]] = write(trained, trained.encode(pixels), beam=3)
sentence.text                                          # "a dog runs through the grass"
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from captioning.model import Projection
from captioning.scores.confidence import mean_log_share
from captioning.trained import Trained
from captioning.writing.detector import EXPECTED, GAIN, WEIGHT
from captioning.writing.names import Names, replace_words
from captioning.writing.steering import beginning, preferring, ruling_out, unrepeated
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
    """The probability that it is right, as calibrated (see `captioning.scores.confidence`)."""
    expected: float = 0.0
    """Mean log of the shares of people who are expected to use its words; 0 if that is not told."""


Captions = list[list[Sentence]]
"""The sentences about each picture, the best first."""


@torch.no_grad()
def write(
    trained: Trained, features: Float[Tensor, "images cells channels"], beam: int, best: int = 1
) -> Captions:
    """Return the `best` sentences about each picture, the best first.

    Args:
        trained: the captioner.
        features: the pictures, as `Trained.encode` gives them.
        beam: width of the searches.
        best: sentences of each picture.
    """
    pictures = _prepared(trained, features.to(trained.decoder.bias.device))
    width = max(beam, best)
    captions = _search(pictures, width)
    if pictures.names:
        captions = _with_copied_names(pictures, pictures.names, width, captions)
    if pictures.expected is not None:
        captions = _with_expected_words(pictures, pictures.expected, width, captions)
    if pictures.names:
        captions = _begun_with_names(pictures, pictures.names, width, captions)
        captions = _with_unknown_names(pictures.names, captions)
    return [sentences[:best] for sentences in captions]


class _Named(NamedTuple):
    """What the encoder's classifier says of pictures."""

    names: Names
    probabilities: Float[Tensor, "images names"]


@dataclass(frozen=True)
class _Pictures:
    """What a search is told of pictures."""

    trained: Trained
    projection: Projection
    names: _Named | None = None
    forbidden: Bool[Tensor, "images vocabulary"] | None = None
    """The words that are not to be written."""
    expected: Float[Tensor, "images vocabulary"] | None = None
    """The shares of people who will use each word, if there is a detector."""

    def of(self, rows: Sequence[int]) -> "_Pictures":
        """Return some of the pictures, for a search."""
        return replace(
            self,
            projection=self.projection.of(rows),
            names=None,
            forbidden=None if self.forbidden is None else self.forbidden[rows],
            expected=None if self.expected is None else self.expected[rows],
        )


def _prepared(trained: Trained, features: Float[Tensor, "images cells channels"]) -> _Pictures:
    """Return what is known of pictures before anything is written about them.

    Names that the encoder's classifier rules out are forbidden; of those it is sure of, at least
    as many people are expected to use them as it gives them probability.
    """
    size = len(trained.vocabulary)
    expected = trained.detector(features, size) if trained.detector else None
    projection = trained.decoder.project(features)
    names = trained.decoder.names
    if names is None or not trained.config.name_bonus:
        return _Pictures(trained, projection, expected=expected)
    probabilities = names(features[:, -1:] if trained.tail else features)
    if expected is not None:
        expected = torch.maximum(expected, names.sure(probabilities, size))
    forbidden = names.ruled_out(probabilities, size)
    return _Pictures(trained, projection, _Named(names, probabilities), forbidden, expected)


def _with_copied_names(
    pictures: _Pictures, named: _Named, width: int, captions: Captions
) -> Captions:
    """Search again where the best sentence lacks a name that the classifier is sure of.

    That search may copy the name; where it does not, another copies it more easily.
    """
    names, probabilities = named
    captions = list(captions)
    for stronger in (1.0, 2.0):
        missing = names.missing(probabilities, [one[0].tokens for one in captions])
        rows = missing.any(1).nonzero().flatten().tolist()
        if rows:
            gains = stronger * pictures.trained.config.name_bonus * missing[rows]
            again = _search(pictures.of(rows), width, (names.words, gains))
            for row, sentences in zip(rows, again, strict=True):
                captions[row] = sentences
    return captions


def _with_expected_words(
    pictures: _Pictures,
    expected: Float[Tensor, "images vocabulary"],
    width: int,
    captions: Captions,
) -> Captions:
    """Search for expected words too; return the sentences that have the most of them first."""
    gains = GAIN * expected.where(expected >= EXPECTED, 0.0)
    words = gains.any(0).nonzero().squeeze(1)
    others = _search(pictures, width, (words, gains[:, words]))
    shares = expected.tolist()
    penalty = pictures.trained.config.length_penalty

    def rank(image: int, sentence: Sentence) -> float:
        length = len(sentence.tokens) + 1
        score = sentence.log_probability / length**penalty
        return score + WEIGHT * sum(shares[image][word] for word in set(sentence.tokens))

    ranked = []
    for image, (plain, steered) in enumerate(zip(captions, others, strict=True)):
        once = {one.tokens: one for one in (*steered, *plain)}.values()
        ranked.append(sorted(once, key=lambda one, image=image: -rank(image, one))[:width])
    return ranked


def _begun_with_names(
    pictures: _Pictures, named: _Named, width: int, captions: Captions
) -> Captions:
    """Begin with the missing name where the classifier is surer than the captioner."""
    captions = list(captions)
    written = [one[0].tokens for one in captions]
    confidences = [one[0].confidence for one in captions]
    for image, name, p in named.names.beginnings(named.probabilities, written, confidences):
        [begun] = _search(pictures.of([image]), width, first=_a(pictures.trained, name))
        captions[image] = [_given(pictures.trained, one, p) for one in begun]
    return captions


def _with_unknown_names(named: _Named, captions: Captions) -> Captions:
    """Put names that are not in the vocabulary in the places of the words that stand for them."""
    pairs = named.names.replaced(named.probabilities)
    return [
        [_renamed(one, of_image) for one in sentences] if of_image else sentences
        for sentences, of_image in zip(captions, pairs, strict=True)
    ]


def _search(
    pictures: _Pictures,
    width: int,
    preferred: tuple[Int[Tensor, " words"], Float[Tensor, "images words"]] | None = None,
    first: Sequence[int] = (),
) -> Captions:
    """Return the sentences of one beam search.

    Args:
        pictures: what they are about.
        width: that of the beam, and sentences of each picture.
        preferred: words to write rather than others, and what their logits gain.
        first: the words that all sentences begin with.
    """
    trained = pictures.trained
    step = trained.decoder.stepper(pictures.projection)
    state = trained.decoder.initial_state(pictures.projection)
    if trained.config.once:
        step, state = unrepeated(step, state, trained.forms)
    if preferred:
        step, state = preferring(step, state, *preferred)
    if pictures.forbidden is not None:
        step = ruling_out(step, pictures.forbidden)
    if first:
        step, state = beginning(step, state, [first] * len(state[0]))
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
    sentences = []
    for image, hypotheses in enumerate(beams):
        shares = None if pictures.expected is None else pictures.expected[image].tolist()
        sentences.append([_sentence(trained, one, shares) for one in hypotheses])
    return sentences


def _sentence(trained: Trained, hypothesis: Hypothesis, shares: Sequence[float] | None) -> Sentence:
    """Return the sentence of a hypothesis, with the shares of people expected to use each word."""
    tokens, log_p = hypothesis.tokens, hypothesis.log_probability
    words = tuple(trained.vocabulary.spoken(tokens))
    expected = 0.0
    if shares:  # those of function words are 0
        known = [shares[word] for word in set(tokens) if shares[word]]
        expected = mean_log_share(known)
    text = trained.vocabulary.decode(tokens)
    confidence = trained.confidence(log_p, len(words), expected)
    return Sentence(text, words, tokens, log_p, confidence, expected)


def _a(trained: Trained, word: int) -> tuple[int, ...]:
    """Return "a" or "an", and a word; the word alone if the captions had no articles."""
    vocabulary = trained.vocabulary
    article = vocabulary.number("an" if vocabulary.decode([word])[0] in "aeiou" else "a")
    return (word,) if article == vocabulary.unknown else (article, word)


def _given(trained: Trained, sentence: Sentence, p: float) -> Sentence:
    """Return a sentence whose first words were given, and are right with probability p."""
    log_p = sentence.log_probability + math.log(p)
    confidence = trained.confidence(log_p, len(sentence.words), sentence.expected)
    return sentence._replace(log_probability=log_p, confidence=confidence)


def _renamed(sentence: Sentence, pairs: Sequence[tuple[str, str]]) -> Sentence:
    """Return a sentence with words replaced by names that the vocabulary lacks."""
    words = replace_words(sentence.words, pairs)
    if words == list(sentence.words):
        return sentence
    return sentence._replace(text=joined(words), words=tuple(words))
