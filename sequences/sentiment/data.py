"""Sentences as the classifier meets them: each batch a function of (seed, step)."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from core import batches
from core.errors import InputError
from datasets.labelled_text import Labelled
from datasets.text import Vocabulary
from sequences.sentiment.config import Config

Numbers = Sequence[Int[Tensor, " words"]]


def encode(texts: Sequence[str], vocabulary: Vocabulary, longest: int) -> list[Int[Tensor, " words"]]:
    """Return the numbers of the first `longest` words of each text; a text without a word is one unknown word."""
    return [torch.tensor(vocabulary.encode(text)[:longest] or [vocabulary.unknown]) for text in texts]


def pad(numbers: Numbers) -> tuple[Int[Tensor, "time batch"], Int[Tensor, " batch"]]:
    """Return sentences side by side, filled up with <pad>, and their lengths."""
    return pad_sequence(list(numbers), padding_value=Vocabulary.pad), torch.tensor([len(row) for row in numbers])


def label_numbers(rows: Sequence[Labelled], classes: Sequence[str], source: str) -> Int[Tensor, " rows"]:
    """Return the number of each row's label; raises `InputError` for one that is not among `classes`."""
    index = {name: number for number, name in enumerate(classes)}
    if unknown := sorted({row.label for row in rows} - index.keys()):
        raise InputError(f"{source}: the label {unknown[0]!r} is none of those trained on: {', '.join(classes)}")
    return torch.tensor([index[row.label] for row in rows])


@dataclass(frozen=True, eq=False)
class TrainingBatches:
    """Makes the batch of a step: sentences side by side, their lengths and labels."""

    sentences: Numbers
    labels: Int[Tensor, " sentences"]
    config: Config
    device: torch.device

    def __call__(
        self, step: int, rows: slice
    ) -> tuple[Int[Tensor, "time batch"], Int[Tensor, " batch"], Int[Tensor, " batch"]]:
        """Return the sentences `rows` of the batch of step `step`."""
        loop = self.config.loop
        chosen = batches.indices(loop.seed, step, len(self.sentences), loop.batch)[rows]
        tokens, lengths = pad([self.sentences[n] for n in chosen.tolist()])
        return tokens.to(self.device), lengths.to(self.device), self.labels[chosen].to(self.device)
