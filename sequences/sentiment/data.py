"""Sentences as the classifier reads them; a batch is a function of (seed, step)."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, chain
from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from core.errors import InputError
from core.training import batches
from datasets.text.labelled import Labelled
from datasets.text.spelling import spell
from datasets.text.vocabulary import Vocabulary
from sequences.sentiment.config import Config


class Sentence(NamedTuple):
    """The words of a sentence, at least one, and their numbers."""

    words: list[str]
    numbers: Int[Tensor, " words"]


class Sentences(NamedTuple):
    """Sentences side by side, padded with <pad>, and the character n-grams of their words."""

    tokens: Int[Tensor, "time batch"]
    lengths: Int[Tensor, " batch"]
    grams: Int[Tensor, " grams"]  # of all different words, one word after another
    offsets: Int[Tensor, " words"]  # where in `grams` each of them begins
    which: Int[Tensor, "time batch"]  # the different word that is at each place

    def to(self, device: torch.device) -> "Sentences":
        """Return the same on `device`."""
        return Sentences(*(tensor.to(device) for tensor in self))


def encode(texts: Sequence[str], vocabulary: Vocabulary, longest: int) -> list[Sentence]:
    """Return the first `longest` words of each text; a text without words is one unknown word."""
    sentences = []
    for text in texts:
        words = vocabulary.words(text)[:longest] or [""]
        numbers = vocabulary.encode(text)[:longest] or [vocabulary.unknown]
        sentences.append(Sentence(words, torch.tensor(numbers)))
    return sentences


def collate(sentences: Sequence[Sentence], buckets: int) -> Sentences:
    """Return sentences as tensors; n-grams are hashed into `buckets`, 0 for none."""
    different: dict[str, int] = {}
    which = []
    for sentence in sentences:
        indices = [different.setdefault(word, len(different)) for word in sentence.words]
        which.append(torch.tensor(indices))
    spelled = [spell(word, buckets) for word in different] if buckets else []
    offsets = [0, *accumulate(map(len, spelled))][: len(spelled)]
    return Sentences(
        pad_sequence([sentence.numbers for sentence in sentences], padding_value=Vocabulary.pad),
        torch.tensor([len(sentence.numbers) for sentence in sentences]),
        torch.tensor(list(chain.from_iterable(spelled)), dtype=torch.long),
        torch.tensor(offsets, dtype=torch.long),
        pad_sequence(which),
    )


def label_numbers(
    rows: Sequence[Labelled], classes: Sequence[str], source: str
) -> Int[Tensor, " rows"]:
    """Return the number of each row's label.

    Raises:
        InputError: a label is not among `classes`; the line names it and `source`.
    """
    index = {name: number for number, name in enumerate(classes)}
    if unknown := sorted({row.label for row in rows} - index.keys()):
        names = ", ".join(classes)
        raise InputError(f"{source}: the label {unknown[0]!r} is none of those trained on: {names}")
    return torch.tensor([index[row.label] for row in rows])


@dataclass(frozen=True, eq=False)
class TrainingBatches:
    """Makes the batch of a step: labels, and the fields of `Sentences`."""

    sentences: Sequence[Sentence]
    labels: Int[Tensor, " sentences"]
    config: Config
    device: torch.device

    def __call__(self, step: int, rows: slice) -> tuple[Tensor, ...]:
        """Return the labels and sentences `rows` of the batch of step `step`."""
        loop = self.config.loop
        chosen = batches.indices(loop.seed, step, len(self.sentences), loop.batch)[rows]
        batch = collate([self.sentences[n] for n in chosen.tolist()], self.config.buckets)
        return self.labels[chosen].to(self.device), *batch.to(self.device)
