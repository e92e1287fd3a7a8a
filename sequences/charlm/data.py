"""A text as the model reads it: windows of many rows; a batch is a function of (seed, step)."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Int, Integer
from torch import Tensor

from core.errors import InputError, counted
from core.rng import fold, generator
from datasets.text.alphabets import Alphabet
from datasets.text.corpora import Corpus, open_corpus
from datasets.text.toys import TOYS, toy_corpus
from sequences.charlm.config import Config

MOST_HELD_OUT = 1_000_000  # characters: so a validation takes minutes, however long the text
SEARCHED = 1_000_000  # characters that are searched for a line's end

Numbers = Integer[np.ndarray, " length"]


def read(config: Config, alphabet: Alphabet | None = None) -> Corpus:
    """Return the text that a configuration names.

    Args:
        config: the configuration.
        alphabet: of a model that was trained on this text; if it has the carriage return, the ends
            of lines are read as they are in the file.

    Raises:
        InputError: it names none, or as `open_corpus`.
    """
    if config.file:
        kept = alphabet if alphabet is not None and alphabet.has_returns else None
        return open_corpus(Path(config.file), as_bytes=config.bytes, alphabet=kept)
    if config.corpus:
        return toy_corpus(config.corpus, as_bytes=config.bytes)
    raise InputError(f"which text? Give a file, or --corpus {' or '.join(TOYS)}")


def split(corpus: Corpus, config: Config) -> int:
    """Return where the held-out tail of a text begins.

    Raises:
        InputError: the text is too short to train on the rest.
    """
    size = len(corpus.numbers)
    rows = config.loop.batch
    held_out = min(MOST_HELD_OUT, max(2, round(config.held_out * size)))
    if size - held_out < 2 * rows:
        length = counted(size, corpus.alphabet.unit)
        raise InputError(
            f"{corpus.name}: the whole text is {length}, too little for a batch of {rows} "
            f"rows of 2 each, and {held_out} held out: give a longer text, or a lower --batch"
        )
    return size - held_out


def first_number(corpus: Corpus) -> int:
    """Return the character to read before a text that has no beginning.

    It is a line's end or a space if the text has one, else the text's first character.
    """
    searched = corpus.numbers[:SEARCHED]
    for character in "\n ":
        if not corpus.alphabet.unseen(character):
            number = corpus.alphabet.encode(character)[0]
            if (searched == number).any():
                return int(number)
    return int(searched[0])


@dataclass(frozen=True, eq=False)
class TrainingBatches:
    """Makes the batch of a step: the next window of every row.

    The text is a ring. Each epoch begins at a place of its own and cuts the ring into as many
    stretches as a batch has rows. Each row reads its stretch window by window, so that the state
    after a window is the one that the next starts from. What is left of a stretch after its last
    whole window is read in other epochs.

    Some windows start from the zero state (`reset_rate`): sampling starts from it, and a model
    that sees it only where an epoch begins unlearns it.
    """

    numbers: Numbers
    config: Config
    device: torch.device

    @property
    def window(self) -> int:
        """Characters of a window: those of the configuration, or a stretch if it is shorter."""
        return min(self.config.window, self._stretch)

    @property
    def windows(self) -> int:
        """Steps of an epoch."""
        return self._stretch // self.window

    @property
    def _stretch(self) -> int:
        return len(self.numbers) // self.config.loop.batch

    def __call__(
        self, step: int, rows: slice
    ) -> tuple[Int[Tensor, "time batch"], Int[Tensor, "time batch"], Bool[Tensor, " batch"]]:
        """Return the characters read, the character after each, and which rows start from zeros."""
        loop = self.config.loop
        epoch, number = divmod(step, self.windows)
        begin = fold(loop.seed, epoch, "begin") % len(self.numbers) + number * self.window
        starts = begin + np.arange(loop.batch)[rows] * self._stretch
        places = (np.arange(self.window + 1)[:, None] + starts) % len(self.numbers)
        read = torch.from_numpy(self.numbers[places].astype(np.int64)).to(self.device)
        zero = self._reset(step) | (number == 0)
        return read[:-1], read[1:], zero[rows].to(self.device)

    def _reset(self, step: int) -> Bool[Tensor, " batch"]:
        loop = self.config.loop
        draws = torch.rand(loop.batch, generator=generator("cpu", loop.seed, step, "reset"))
        return draws < self.config.reset_rate
