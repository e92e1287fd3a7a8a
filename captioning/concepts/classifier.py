"""Visual concepts: classes that the encoder's own classifier detects, as words of the vocabulary.

EfficientNet-Lite0 knows the 1,000 classes of ImageNet. What people call them stands in
vision/imagenet_words.txt; the classes of one word are one concept (all breeds are "dog"). The
decoder reads the detected concepts (You et al. 2016, Yao et al. 2017):

    p = softmax(W mean_i f_i + b)             the classifier on the features f_i of the grid
    n = sum over concepts k of p_k E[word_k]  E being the decoder's table of words

How they constrain the search for a caption (`captioning.generation.search`):

- Copying (Yao et al. 2017). Where the caption lacks a concept with a probability of at least
  COPY_THRESHOLD, the logit of its word gains `name_bonus` * p_k until it is written.
- Thresholds. A captioner that has seen many dogs writes "dog" of grass, too. So a word is banned
  where the probability of its concept is below that of nearly all training pictures of which people
  use it (`captioning.concepts.thresholds`).
- Forced prefix (Anderson et al. 2017, constrained beam search). Where the concept is still missing
  and more probable than that the caption is right, the caption begins with it: "a squirrel ...".
- Out-of-vocabulary words. A concept that no caption showed is represented by a proxy, a common word
  like it; in the finished sentence its own word takes the place of the proxy: "a dog in the snow"
  becomes "a fox in the snow". (Hendricks et al. 2016 copy the weights of such a word.)
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from captioning.concepts.imagenet_words import table
from captioning.concepts.inflection import plural
from datasets.text.vocabulary import Vocabulary
from vision.encoder import CLASSES, Encoder

COPY_THRESHOLD = 0.2  # probability from which a concept may be copied


class Prefix(NamedTuple):
    """A word with which the caption of an image should begin."""

    image: int
    word: int
    """Its token."""
    probability: float


class ConceptClassifier(nn.Module):
    """The probabilities of concepts, from the features of a picture.

    Its weights are the encoder's and not in checkpoints of the decoder.

    Args:
        weight, bias: the classifier.
        words: the token that is written for each concept.
        groups: 1 where a class belongs to a concept.
        copyable: the concepts that sentences may copy.
        may_begin: the concepts that may begin a sentence.
        plurals: the tokens of plurals, by those of their words.
        proxies: for each concept that is not in the vocabulary, by its position, its own word and
            the word of the vocabulary that is written for it.
        thresholds: the probability below which a concept is not written.
    """

    weight: Tensor
    bias: Tensor
    words: Tensor
    groups: Tensor
    copyable: Tensor
    may_begin: Tensor
    thresholds: Tensor

    def __init__(
        self,
        weight: Float[Tensor, "classes channels"],
        bias: Float[Tensor, " classes"],
        words: Int[Tensor, " concepts"],
        groups: Float[Tensor, "classes concepts"],
        copyable: Bool[Tensor, " concepts"],
        may_begin: Bool[Tensor, " concepts"],
        plurals: Mapping[int, int],
        proxies: Mapping[int, tuple[str, str]],
        thresholds: Float[Tensor, " concepts"],
    ):
        super().__init__()
        self.register_buffer("weight", weight, persistent=False)
        self.register_buffer("bias", bias, persistent=False)
        self.register_buffer("words", words, persistent=False)
        self.register_buffer("groups", groups, persistent=False)
        self.register_buffer("copyable", copyable, persistent=False)
        self.register_buffer("may_begin", may_begin, persistent=False)
        self.register_buffer("thresholds", thresholds, persistent=False)
        self.plurals = plurals
        self.proxies = proxies

    def forward(
        self, features: Float[Tensor, "images cells channels"]
    ) -> Float[Tensor, "images concepts"]:
        """Return the probability of each concept; they sum to at most 1."""
        mean = features.to(self.weight.dtype).mean(1)
        logits = mean @ self.weight.T + self.bias
        return logits.softmax(-1) @ self.groups

    def word_probabilities(
        self, probabilities: Float[Tensor, "images concepts"]
    ) -> Float[Tensor, "images concepts"]:
        """Return for each concept the probability of all concepts written with the same word."""
        same = self.words[:, None] == self.words
        return probabilities @ same.to(probabilities.dtype)

    def banned_words(
        self, probabilities: Float[Tensor, "images concepts"], vocabulary: int
    ) -> Bool[Tensor, "images vocabulary"]:
        """Return the words below their thresholds on each image, plurals included."""
        words = self.words.tolist()
        plurals = torch.tensor([self.plurals.get(word, word) for word in words])
        below = self.word_probabilities(probabilities) < self.thresholds
        image, concept = below.nonzero(as_tuple=True)
        banned = torch.zeros(
            len(probabilities), vocabulary, dtype=torch.bool, device=self.words.device
        )
        banned[image, self.words[concept]] = True
        banned[image, plurals.to(concept.device)[concept]] = True
        return banned

    def missing(
        self, probabilities: Float[Tensor, "images concepts"], sentences: Sequence[Sequence[int]]
    ) -> Float[Tensor, "images concepts"]:
        """Return the probabilities of concepts to copy, 0 for all others.

        A concept is to be copied if it may be, if its probability reaches COPY_THRESHOLD, and if
        the sentence lacks its word.

        Args:
            probabilities: those of the concepts.
            sentences: the sentence about each image, as tokens.
        """
        detected = (probabilities >= COPY_THRESHOLD) & self.copyable
        missing = torch.zeros_like(probabilities)
        for image, concept in detected.nonzero().tolist():
            if self._lacks(sentences[image], concept):
                missing[image, concept] = probabilities[image, concept]
        return missing

    def copyable_words(
        self, probabilities: Float[Tensor, "images concepts"], vocabulary: int
    ) -> Float[Tensor, "images vocabulary"]:
        """Return the probabilities of words to copy, plurals included, 0 for all others."""
        by_word = self.word_probabilities(probabilities)
        detected = (by_word >= COPY_THRESHOLD) & self.copyable
        words = torch.zeros(len(probabilities), vocabulary, device=probabilities.device)
        for image, concept in detected.nonzero().tolist():
            word = int(self.words[concept])
            words[image, [word, self.plurals.get(word, word)]] = by_word[image, concept]
        return words

    def prefixes(
        self,
        probabilities: Float[Tensor, "images concepts"],
        sentences: Sequence[Sequence[int]],
        confidences: Sequence[float],
    ) -> list[Prefix]:
        """Return the words with which sentences should begin, for images where this is so.

        The word is that of the most probable concept of the image, and more probable than that the
        sentence, which lacks it, is right.

        Args:
            probabilities: those of the concepts.
            sentences: the sentence about each image, as tokens.
            confidences: the probability that each sentence is right.
        """
        prefixes = []
        by_word = self.word_probabilities(probabilities)
        for image, concept in enumerate(probabilities.argmax(1).tolist()):
            p = by_word[image, concept].item()
            threshold = max(COPY_THRESHOLD, self.thresholds[concept].item())
            if not self.may_begin[concept] or p < threshold or p <= confidences[image]:
                continue
            if self._lacks(sentences[image], concept):
                prefixes.append(Prefix(image, int(self.words[concept]), p))
        return prefixes

    def _lacks(self, sentence: Sequence[int], concept: int) -> bool:
        """Return whether a sentence has a concept neither in the singular nor in the plural."""
        word = int(self.words[concept])
        return not {word, self.plurals.get(word)} & set(sentence)

    def substitutions(
        self, probabilities: Float[Tensor, "images concepts"]
    ) -> list[list[tuple[str, str]]]:
        """Return for each image pairs of a proxy and the word that takes its place."""
        pairs: list[list[tuple[str, str]]] = [[] for _ in probabilities]
        words = self.words.tolist()
        for image, concept in (probabilities >= COPY_THRESHOLD).nonzero().tolist():
            rivals = [rival for rival, word in enumerate(words) if word == words[concept]]
            best = max(rivals, key=lambda rival: probabilities[image, rival].item())
            if concept == best and concept in self.proxies:
                word, proxy = self.proxies[concept]
                pairs[image] += [(proxy, word), (plural(proxy), plural(word))]
        return pairs


def concept_classifier(
    encoder: Encoder, vocabulary: Vocabulary, thresholds: Mapping[str, float] | None = None
) -> ConceptClassifier | None:
    """Return the concepts that can be written with a vocabulary, or None without a classifier.

    Args:
        encoder: the encoder as it was before training.
        vocabulary: the words of the captioner.
        thresholds: for some words the probability below which they are not written.
    """
    if encoder.classifier is None:
        return None

    def in_vocabulary(word: str) -> bool:
        return vocabulary.number(word) != vocabulary.unknown

    rows = []
    for row in table():
        if in_vocabulary(row.word) or (row.proxy and in_vocabulary(row.proxy)):
            rows.append(row)
    tokens = []
    plurals = {}
    proxies = {}
    groups = torch.zeros(CLASSES, len(rows))
    least = torch.zeros(len(rows))
    for concept, row in enumerate(rows):
        word = row.word if in_vocabulary(row.word) else row.proxy
        least[concept] = (thresholds or {}).get(word, 0.0)
        token = vocabulary.number(word)
        tokens.append(token)
        if in_vocabulary(plural(word)):
            plurals[token] = vocabulary.number(plural(word))
        if word != row.word:
            proxies[concept] = (row.word, word)
        groups[list(row.classes), concept] = 1.0
    weight, bias = encoder.classifier
    return ConceptClassifier(
        weight.float(),
        bias.float(),
        torch.tensor(tokens, dtype=torch.int64),
        groups,
        torch.tensor([row.copyable for row in rows], dtype=torch.bool),
        torch.tensor([row.may_begin for row in rows], dtype=torch.bool),
        plurals,
        proxies,
        least,
    )
