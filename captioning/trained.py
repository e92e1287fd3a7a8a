"""A trained captioner, from a run or from this package: a picture in, sentences out.

trained, _ = open_model(DEFAULT, "cpu")
pixels = trained.encoder.preprocessing(picture)[None]
[[sentence]] = trained.write(trained.encode(pixels), beam=3)
sentence.text                                          # "a dog runs through the grass"
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int, Shaped, UInt8
from torch import Tensor

from captioning.config import Config
from captioning.detector import EXPECTED, GAIN, WEIGHT, WordDetector
from captioning.forms import forms_of
from captioning.model import Captioner, Projection
from captioning.names import names_of, replace_words
from captioning.scores.confidence import UNCALIBRATED, Confidence, mean_log_share
from captioning.steering import beginning, preferring, ruling_out, unrepeated
from core.beam import Hypothesis, beam_search
from core.training import checkpoint
from datasets.text.vocabulary import Vocabulary, joined
from vision.encoder import Encoder, open_encoder
from vision.tuning import Tail, Trunk

DEFAULT = Path(__file__).parent / "default.pt"


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


class _Pictures(NamedTuple):
    """What a search is told of pictures."""

    projection: Projection
    forbidden: Bool[Tensor, "images vocabulary"] | None
    """The words that are not to be written."""
    expected: Float[Tensor, "images vocabulary"] | None
    """The shares of people who will use each word, if there is a detector."""

    def of(self, rows: Sequence[int]) -> "_Pictures":
        """Return some of the pictures."""
        forbidden = None if self.forbidden is None else self.forbidden[rows]
        expected = None if self.expected is None else self.expected[rows]
        return _Pictures(self.projection.of(rows), forbidden, expected)


@dataclass(frozen=True, eq=False)
class Trained:
    """Encoder, decoder and vocabulary, ready to write."""

    config: Config
    encoder: Encoder
    decoder: Captioner
    vocabulary: Vocabulary
    confidence: Confidence = UNCALIBRATED
    tail: Tail | None = None
    """The encoder's last blocks, if they were trained."""
    detector: WordDetector | None = None
    """Tells which words people will use, if it was fitted (`captioning calibrate`)."""

    @cached_property
    def _forms(self) -> Int[Tensor, "vocabulary forms"]:
        return forms_of(self.vocabulary).to(self.decoder.bias.device)

    @torch.no_grad()
    def encode(
        self, pixels: UInt8[Tensor, "images 3 size size"]
    ) -> Float[Tensor, "images cells channels"]:
        """Return the features of pictures that were preprocessed."""
        pixels = pixels.to(self.decoder.bias.device)
        if self.tail is None:
            return self.encoder(pixels)
        return self.tail(Trunk(self.encoder, self.config.tune_blocks)(pixels))

    @torch.no_grad()
    def features(
        self, images: Shaped[Tensor, "images ..."]
    ) -> Float[Tensor, "images cells channels"]:
        """Return the features of pictures from what `captioning.data` gives of them."""
        if self.config.trains_encoder:
            return self.encode(images)
        images = images.to(self.decoder.bias.device)
        return self.tail(images) if self.tail and images.dim() == 2 else images

    @torch.no_grad()
    def write(
        self, features: Float[Tensor, "images cells channels"], beam: int, best: int = 1
    ) -> list[list[Sentence]]:
        """Return the `best` sentences about each picture, the best first, by beam search.

        Names that the encoder's classifier rules out are not written. Where the best sentence lacks
        a name that it is sure of, the search is done once more, and may copy it; and a third time,
        where it is copied more easily. With a detector of words all pictures are searched again for
        sentences with the words it expects, and it chooses among all that were found. Where the
        classifier is surer of a missing name than the captioner of its sentence, the sentence is
        begun with the name. Names outside the vocabulary are put in their places.
        """
        features = features.to(self.decoder.bias.device)
        width = max(beam, best)
        projection = self.decoder.project(features)
        names = self.decoder.names
        if names is None or not self.config.name_bonus:
            pictures = _Pictures(projection, None, self._expected(features))
            found = self._with_expected(pictures, width, self._search(pictures, width))
            return [sentences[:best] for sentences in found]
        probabilities = names(features[:, -1:] if self.tail else features)
        forbidden = names.ruled_out(probabilities, len(self.vocabulary))
        sure = names.sure(probabilities, len(self.vocabulary))
        pictures = _Pictures(projection, forbidden, self._expected(features, sure))
        found = self._search(pictures, width)
        for stronger in (1.0, 2.0):
            missing = names.missing(probabilities, [one[0].tokens for one in found])
            rows = missing.any(1).nonzero().flatten().tolist()
            if rows:
                gains = stronger * self.config.name_bonus * missing[rows]
                again = self._search(pictures.of(rows), width, (names.words, gains))
                for row, sentences in zip(rows, again, strict=True):
                    found[row] = sentences
        found = self._with_expected(pictures, width, found)
        written = [one[0].tokens for one in found]
        confidences = [one[0].confidence for one in found]
        for image, name, p in names.beginnings(probabilities, written, confidences):
            [begun] = self._search(pictures.of([image]), width, first=self._a(name))
            found[image] = [self._with_given(one, p) for one in begun]
        for image, pairs in enumerate(names.replaced(probabilities)):
            if pairs:
                found[image] = [_renamed(one, pairs) for one in found[image]]
        return [sentences[:best] for sentences in found]

    def _expected(
        self,
        features: Float[Tensor, "images cells channels"],
        sure: Float[Tensor, "images vocabulary"] | None = None,
    ) -> Float[Tensor, "images vocabulary"] | None:
        """Return the shares of people who will use each word, if there is a detector.

        Args:
            features: the pictures.
            sure: the probabilities of words that the classifier is sure of, 0 for the others.
        """
        if self.detector is None:
            return None
        expected = self.detector(features, len(self.vocabulary))
        return expected if sure is None else torch.maximum(expected, sure)

    def _with_expected(
        self, pictures: _Pictures, width: int, found: list[list[Sentence]]
    ) -> list[list[Sentence]]:
        """Search for expected words too; return the sentences that have the most of them first.

        Args:
            pictures: what they are about.
            width: that of the beam, and sentences of each picture.
            found: the sentences of the captioner alone.
        """
        if pictures.expected is None:
            return found
        gains = GAIN * pictures.expected.where(pictures.expected >= EXPECTED, 0.0)
        shares = pictures.expected.tolist()

        def rank(image: int, sentence: Sentence) -> float:
            length = len(sentence.tokens) + 1
            score = sentence.log_probability / length**self.config.length_penalty
            return score + WEIGHT * sum(shares[image][word] for word in set(sentence.tokens))

        words = gains.any(0).nonzero().squeeze(1)
        others = self._search(pictures, width, (words, gains[:, words]))
        ranked = []
        for image, (mine, more) in enumerate(zip(found, others, strict=True)):
            once = {one.tokens: one for one in (*more, *mine)}.values()
            ranked.append(sorted(once, key=lambda one, image=image: -rank(image, one))[:width])
        return ranked

    def _search(
        self,
        pictures: _Pictures,
        width: int,
        preferred: tuple[Int[Tensor, " words"], Float[Tensor, "images words"]] | None = None,
        first: Sequence[int] = (),
    ) -> list[list[Sentence]]:
        """Return the sentences of one beam search.

        Args:
            pictures: what they are about.
            width: that of the beam, and sentences of each picture.
            preferred: words to write rather than others, and what their logits gain.
            first: the words that all sentences begin with.
        """
        step = self.decoder.stepper(pictures.projection)
        state = self.decoder.initial_state(pictures.projection)
        if self.config.once:
            step, state = unrepeated(step, state, self._forms)
        if preferred:
            step, state = preferring(step, state, *preferred)
        if pictures.forbidden is not None:
            step = ruling_out(step, pictures.forbidden)
        if first:
            step, state = beginning(step, state, [first] * len(state[0]))
        found = beam_search(
            step,
            state,
            start=self.vocabulary.start,
            end=self.vocabulary.end,
            width=width,
            length=self.config.longest,
            penalty=self.config.length_penalty,
            forbidden=self.vocabulary.unspoken,
        )
        sentences = []
        for image, hypotheses in enumerate(found):
            shares = None if pictures.expected is None else pictures.expected[image].tolist()
            sentences.append([self._sentence(one, shares) for one in hypotheses])
        return sentences

    @torch.no_grad()
    def attention(
        self, features: Float[Tensor, "1 cells channels"], tokens: Sequence[int]
    ) -> Float[Tensor, "words cells"]:
        """Return the attention weights for each word of a sentence about one picture."""
        device = self.decoder.bias.device
        read = torch.tensor([[self.vocabulary.start, *tokens]], device=device)
        _, _, alphas = self.decoder(features.to(device), read)
        return alphas[0, : len(tokens)]

    def _a(self, word: int) -> tuple[int, ...]:
        """Return "a" or "an", and a word; the word alone if the captions had no articles."""
        article = "an" if self.vocabulary.decode([word])[0] in "aeiou" else "a"
        number = self.vocabulary.number(article)
        return (word,) if number == self.vocabulary.unknown else (number, word)

    def _with_given(self, sentence: Sentence, p: float) -> Sentence:
        """Return a sentence whose first words were given, and are right with probability p."""
        log_p = sentence.log_probability + math.log(p)
        confidence = self.confidence(log_p, len(sentence.words), sentence.expected)
        return sentence._replace(log_probability=log_p, confidence=confidence)

    def _sentence(self, hypothesis: Hypothesis, shares: Sequence[float] | None) -> Sentence:
        words = tuple(self.vocabulary.spoken(hypothesis.tokens))
        log_p = hypothesis.log_probability
        expected = 0.0
        if shares:  # those of function words are 0
            told = [shares[word] for word in set(hypothesis.tokens) if shares[word]]
            expected = mean_log_share(told)
        text = self.vocabulary.decode(hypothesis.tokens)
        confidence = self.confidence(log_p, len(words), expected)
        return Sentence(text, words, hypothesis.tokens, log_p, confidence, expected)


def _renamed(sentence: Sentence, pairs: Sequence[tuple[str, str]]) -> Sentence:
    """Return a sentence with words replaced by names that the vocabulary lacks."""
    words = replace_words(sentence.words, pairs)
    if words == list(sentence.words):
        return sentence
    return sentence._replace(text=joined(words), words=tuple(words))


def open_model(path: str | Path, device: torch.device | str) -> tuple[Trained, dict[str, Any]]:
    """Return a trained captioner and the checkpoint it came in.

    Raises:
        InputError: the file is no checkpoint of this application, or it was trained with other
            weights of the encoder than those at hand.
    """
    with checkpoint.opened(path, "captioning", Config) as (config, saved):
        encoder = open_encoder(config, saved, path)
        vocabulary = Vocabulary.from_json(saved["extras"]["vocabulary"])
        names = names_of(encoder, vocabulary, saved["extras"].get("floors"))
        weights = checkpoint.part(saved["weights"], "decoder")
        decoder = checkpoint.build(
            lambda: Captioner(config, encoder.channels, len(vocabulary), names), weights, path
        )
        tail = None
        if config.tune_blocks:
            tail = Tail(Trunk(encoder, config.tune_blocks))
            checkpoint.restore(tail, checkpoint.part(saved["weights"], "tail"), path)
            tail.to(device).eval()
        confidence = Confidence(*saved["extras"].get("confidence", ()))
        fitted = saved["extras"].get("detector")
        detector = WordDetector.from_saved(fitted).to(device) if fitted else None
        if detector:  # one that was altered fails here
            detector(torch.zeros(1, 1, encoder.channels, device=device), len(vocabulary))
    decoder.to(device).eval()
    return Trained(
        config, encoder.to(device), decoder, vocabulary, confidence, tail, detector
    ), saved
