"""Names for what the encoder's own classifier recognises, as words of the vocabulary.

EfficientNet-Lite0 knows the 1,000 classes of ImageNet. What people call them stands in
vision/imagenet_words.txt; the classes of one word are one name (all breeds are "dog"). The decoder
takes the names as attributes (You et al. 2016, Yao et al. 2017):

    p = softmax(W mean_i f_i + b)             the classifier on the features f_i of the grid
    n = sum over names k of p_k E[word_k]     E being the decoder's table of words

A sentence that lacks a name of which the classifier is sure is written once more, and may copy it
(Yao et al. 2017): its logit gains `bonus` * p_k in each step until the name is written.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from core.cell import State
from datasets.text import Vocabulary
from vision.encoder import CLASSES, Encoder

SURE = 0.3  # probability from which a name may be copied
TABLE = Path(__file__).parents[1] / "vision" / "imagenet_words.txt"


@cache
def class_words() -> dict[int, str]:
    """Return the word for each class of ImageNet that has one."""
    words: dict[int, str] = {}
    for word, *ranges in _rows():
        for numbers in ranges:
            first, _, last = numbers.partition("-")
            for number in range(int(first), int(last or first) + 1):
                words[number] = word.removeprefix("*")
    return words


@cache
def copied_words() -> frozenset[str]:
    """Return the words that captions may copy."""
    return frozenset(word.removeprefix("*") for word, *_ in _rows() if word.startswith("*"))


def _rows() -> list[list[str]]:
    lines = TABLE.read_text().splitlines()
    return [line.split() for line in lines if not line.startswith("#")]


class Names(nn.Module):
    """The probabilities of names, from the features of a picture.

    Its weights are the encoder's and not in checkpoints of the decoder.
    """

    weight: Tensor
    bias: Tensor
    words: Tensor
    groups: Tensor
    copied: Tensor

    def __init__(
        self,
        weight: Float[Tensor, "classes channels"],
        bias: Float[Tensor, " classes"],
        words: Int[Tensor, " names"],
        groups: Float[Tensor, "classes names"],
        copied: Bool[Tensor, " names"],
        plurals: Mapping[int, int],
    ):
        super().__init__()
        self.register_buffer("weight", weight, persistent=False)
        self.register_buffer("bias", bias, persistent=False)
        self.register_buffer("words", words, persistent=False)
        self.register_buffer("groups", groups, persistent=False)
        self.register_buffer("copied", copied, persistent=False)
        self.plurals = plurals

    def forward(
        self, features: Float[Tensor, "images cells channels"]
    ) -> Float[Tensor, "images names"]:
        """Return the probability of each name; they sum to at most 1."""
        mean = features.to(self.weight.dtype).mean(1)
        logits = mean @ self.weight.T + self.bias
        return logits.softmax(-1) @ self.groups

    def missing(
        self, probabilities: Float[Tensor, "images names"], sentences: Sequence[Sequence[int]]
    ) -> Float[Tensor, "images names"]:
        """Return the probabilities of names to copy: 0 if unsure, not to be copied, or written.

        Args:
            probabilities: those of the names.
            sentences: what was written about each image, as numbers of words.
        """
        sure = (probabilities >= SURE) & self.copied
        missing = torch.zeros_like(probabilities)
        words = self.words.tolist()
        for image, name in sure.nonzero().tolist():
            word = words[name]
            if not {word, self.plurals.get(word)} & set(sentences[image]):
                missing[image, name] = probabilities[image, name]
        return missing


def names_of(encoder: Encoder, vocabulary: Vocabulary) -> Names | None:
    """Return the names that are in a vocabulary, or None for an encoder without a classifier."""
    if encoder.classifier is None:
        return None
    numbers = {word: vocabulary.number(word) for word in set(class_words().values())}
    words = sorted(number for number in numbers.values() if number != vocabulary.unknown)
    plurals = {}
    for word, number in numbers.items():
        for plural in (f"{word}s", f"{word}es"):
            if vocabulary.number(plural) != vocabulary.unknown:
                plurals[number] = vocabulary.number(plural)
    may_copy = {numbers[word] for word in copied_words()}
    copied = torch.tensor([number in may_copy for number in words], dtype=torch.bool)
    column = {word: place for place, word in enumerate(words)}
    groups = torch.zeros(CLASSES, len(words))
    for number, word in class_words().items():
        if numbers[word] in column:
            groups[number, column[numbers[word]]] = 1.0
    weight, bias = encoder.classifier
    numbered = torch.tensor(words, dtype=torch.int64)
    return Names(weight.float(), bias.float(), numbered, groups, copied, plurals)


def copying(
    step: Callable[[Tensor, State], tuple[Tensor, State]],
    state: State,
    words: Int[Tensor, " names"],
    probabilities: Float[Tensor, "images names"],
    bonus: float,
) -> tuple[Callable[[Tensor, State], tuple[Tensor, State]], State]:
    """Return a step function, and its first state, that prefers to write certain names.

    Args:
        step: the step function of `core.decoding`.
        state: its first state, a row an image.
        words: the word of each name.
        probabilities: those of the names to copy, 0 for the others.
        bonus: what the logit of a name of probability 1 gains, until the name is written.
    """
    gains = bonus * probabilities
    written = torch.zeros_like(probabilities, dtype=torch.bool)

    def prefer(tokens: Int[Tensor, " rows"], state: State) -> tuple[Tensor, State]:
        *inner, written = state
        logits, after = step(tokens, tuple(inner))
        written = written | (tokens[:, None] == words)
        rows = gains.repeat_interleave(len(tokens) // len(gains), 0)
        logits = logits.index_add(1, words, rows.masked_fill(written, 0.0).to(logits.dtype))
        return logits, (*after, written)

    return prefer, (*state, written)
