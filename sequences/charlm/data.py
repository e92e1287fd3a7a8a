"""A text as the model meets it: windows of many rows at once, each batch a function of (seed, step)."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Int, Integer
from torch import Tensor

from core.errors import InputError
from core.rng import fold, generator
from datasets.corpora import Corpus, open_corpus
from datasets.toy_texts import TOYS, toy_corpus
from sequences.charlm.config import Config

Numbers = Integer[np.ndarray, " length"]


def read(config: Config) -> Corpus:
    """Return the text that a configuration names.

    Raises:
        InputError: it names none, or as `open_corpus`.
    """
    if config.file:
        return open_corpus(Path(config.file), as_bytes=config.bytes)
    if config.corpus:
        return toy_corpus(config.corpus, as_bytes=config.bytes)
    raise InputError(f"which text? Give a file, or --corpus {' or '.join(TOYS)}")


def split(corpus: Corpus, config: Config) -> int:
    """Return where the tail of a text begins that is held out.

    Raises:
        InputError: the text is too short to train on the rest.
    """
    size, unit, rows = len(corpus.numbers), corpus.alphabet.unit, config.loop.batch
    held_out = max(2, round(config.held_out * size))
    if size - held_out < 2 * rows:
        raise InputError(
            f"{corpus.name}: the whole text is {size} {unit}{'s' * (size != 1)}, too little for a batch of {rows} "
            f"rows that read 2 each, and {held_out} held out: give a longer text, or a lower --batch"
        )
    return size - held_out


def first_number(corpus: Corpus) -> int:
    """Return what to read before a text without a beginning: the end of a line, if the text has one."""
    alphabet = corpus.alphabet
    return int(corpus.numbers[0] if alphabet.unseen("\n") else alphabet.encode("\n")[0])


@dataclass(frozen=True, eq=False)
class TrainingBatches:
    """Makes the batch of a step: the next window of every row.

    The text is a ring. In each epoch it is cut at a place of its own into as many stretches as a batch has rows,
    and each row reads its stretch window by window, so that the state a window ends with is the one that the next
    starts from. What is left of a stretch after its last whole window comes in other epochs.

    Now and then a row begins a window from the state 0. A net that met it only where an epoch begins would drift away
    from it, and be lost wherever it is asked to begin.
    """

    numbers: Numbers
    config: Config
    device: torch.device

    @property
    def window(self) -> int:
        """Characters of a window: fewer than asked for where a stretch is shorter."""
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
        """Return what is read, the character after each, and which rows begin anew."""
        loop = self.config.loop
        epoch, number = divmod(step, self.windows)
        begin = fold(loop.seed, epoch, "begin") % len(self.numbers) + number * self.window
        starts = begin + np.arange(loop.batch)[rows] * self._stretch
        places = (np.arange(self.window + 1)[:, None] + starts) % len(self.numbers)
        read = torch.from_numpy(self.numbers[places].astype(np.int64)).to(self.device)
        return read[:-1], read[1:], (self._reset(step) | (number == 0))[rows].to(self.device)

    def _reset(self, step: int) -> Bool[Tensor, " batch"]:
        loop = self.config.loop
        return (
            torch.rand(loop.batch, generator=generator("cpu", loop.seed, step, "reset"))
            < self.config.reset_rate
        )
