"""Sentences as the classifier meets them: each batch a function of (seed, step)."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from core.errors import InputError
from core.training import batches
from datasets.labelled_text import Labelled
from datasets.spelling import spell
from datasets.text import Vocabulary
from sequences.sentiment.config import Config


class Sentence(NamedTuple):
    """The words of a sentence, at least one, and their numbers."""

    words: list[str]
    numbers: Int[Tensor, " words"]


class Sentences(NamedTuple):
    """Sentences side by side, filled up with <pad>, and how their words are spelled."""

    tokens: Int[Tensor, "time batch"]
    lengths: Int[Tensor, " batch"]
    grams: Int[Tensor, " grams"]  # of all different words, one word after another
    offsets: Int[Tensor, " words"]  # where in `grams` each of them begins
    which: Int[Tensor, "time batch"]  # the different word that is at each place

    def to(self, device: torch.device) -> "Sentences":
        """Return the same on `device`."""
        return Sentences(*(part.to(device) for part in self))


def encode(texts: Sequence[str], vocabulary: Vocabulary, longest: int) -> list[Sentence]:
    """Return the first `longest` words of each text; a text without a word is one unknown, empty word."""
    found = []
    for text in texts:
        words, numbers = vocabulary.words(text)[:longest], vocabulary.encode(text)[:longest]
        found.append(Sentence(words or [""], torch.tensor(numbers or [vocabulary.unknown])))
    return found


def side_by_side(sentences: Sequence[Sentence], buckets: int) -> Sentences:
    """Return sentences as one; `buckets` of the n-grams, or 0 for no spelling."""
    different: dict[str, int] = {}
    which = [
        torch.tensor([different.setdefault(w, len(different)) for w in each.words])
        for each in sentences
    ]
    spelled = [spell(word, buckets) for word in different] if buckets else []
    return Sentences(
        pad_sequence([each.numbers for each in sentences], padding_value=Vocabulary.pad),
        torch.tensor([len(each.numbers) for each in sentences]),
        torch.tensor([gram for grams in spelled for gram in grams], dtype=torch.long),
        torch.tensor(
            list(accumulate(map(len, spelled), initial=0))[: len(spelled)], dtype=torch.long
        ),
        pad_sequence(which),
    )


def label_numbers(
    rows: Sequence[Labelled], classes: Sequence[str], source: str
) -> Int[Tensor, " rows"]:
    """Return the number of each row's label; raises `InputError` for one that is not among `classes`."""
    index = {name: number for number, name in enumerate(classes)}
    if unknown := sorted({row.label for row in rows} - index.keys()):
        raise InputError(
            f"{source}: the label {unknown[0]!r} is none of those trained on: {', '.join(classes)}"
        )
    return torch.tensor([index[row.label] for row in rows])


@dataclass(frozen=True, eq=False)
class TrainingBatches:
    """Makes the batch of a step: labels, and what `Sentences` holds."""

    sentences: Sequence[Sentence]
    labels: Int[Tensor, " sentences"]
    config: Config
    device: torch.device

    def __call__(self, step: int, rows: slice) -> tuple[Tensor, ...]:
        """Return the labels and sentences `rows` of the batch of step `step`."""
        loop = self.config.loop
        chosen = batches.indices(loop.seed, step, len(self.sentences), loop.batch)[rows]
        shown = side_by_side([self.sentences[n] for n in chosen.tolist()], self.config.buckets)
        return self.labels[chosen].to(self.device), *shown.to(self.device)
