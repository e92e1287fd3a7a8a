"""The pairs of short numbers: which to learn from, which to hold out."""

from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from core import rng
from core.training import batches
from datasets.transducer import add, every_pair, random_pairs
from sequences.addition.config import Config

JUDGES = 1000  # longer pairs by which candidates are judged


@dataclass(frozen=True, eq=False)
class Examples:
    """Pairs of numbers and their sums, bit by bit (see datasets/transducer.py)."""

    pairs: Int[Tensor, "time batch 2"]
    sums: Int[Tensor, "time batch"]

    def __len__(self) -> int:
        return self.pairs.shape[1]

    def __getitem__(self, chosen: Int[Tensor, " chosen"] | slice) -> "Examples":
        return Examples(self.pairs[:, chosen], self.sums[:, chosen])


def examples(pairs: Int[Tensor, "time batch 2"]) -> Examples:
    """Return the pairs with their sums."""
    return Examples(pairs, add(pairs))


def split(config: Config, device: torch.device | str) -> tuple[Examples, Examples]:
    """Return three quarters of all pairs of short numbers, to learn from, and the rest, held out."""
    every = examples(every_pair(config.bits).to(device))
    random = rng.generator("cpu", config.loop.seed, "held out")
    order = torch.randperm(len(every), generator=random).to(device)
    held_out = len(every) // 4
    return every[order[held_out:]], every[order[:held_out]]


def judges(config: Config, device: torch.device | str) -> list[Examples]:
    """Return what the candidates are judged by: the held-out short pairs, and random longer ones.

    In short pairs a carry goes up to `bits` steps far. A net that lets it fade a little at each step is found out
    where it goes further.
    """
    random = rng.generator(device, config.loop.seed, "judge")
    return [split(config, device)[1], examples(random_pairs(JUDGES, config.judged, random))]


@dataclass(frozen=True, eq=False)
class TrainingBatches:
    """Makes the batch of a step: pairs and their sums."""

    train: Examples
    config: Config

    def __call__(
        self, step: int, rows: slice
    ) -> tuple[Int[Tensor, "time batch 2"], Int[Tensor, "time batch"]]:
        """Return the rows `rows` of the batch of step `step`."""
        loop = self.config.loop
        chosen = batches.indices(
            loop.seed, step, len(self.train), loop.batch, self.train.pairs.device
        )[rows]
        batch = self.train[chosen]
        return batch.pairs, batch.sums
