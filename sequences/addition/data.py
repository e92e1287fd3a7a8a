"""The pairs of short numbers: which to learn from, which to hold out."""

from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from core import rng
from core.training import batches
from datasets.transducer import add, every_pair, random_pairs
from sequences.addition.config import Config

VALIDATION = 1000  # longer pairs for validation


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
    """Return three quarters of all pairs of short numbers, for training, and the held-out rest."""
    every = examples(every_pair(config.bits).to(device))
    random = rng.generator("cpu", config.loop.seed, "held out")
    order = torch.randperm(len(every), generator=random).to(device)
    held_out = len(every) // 4
    return every[order[held_out:]], every[order[:held_out]]


def validation(config: Config, device: torch.device | str) -> list[Examples]:
    """Return the validation examples: the held-out short pairs, and random longer ones.

    In short pairs a carry goes up to `bits` steps far. Longer pairs show which nets let it fade a
    little at each step.
    """
    random = rng.generator(device, config.loop.seed, "judge")
    longer = random_pairs(VALIDATION, config.validation_bits, random)
    _, held_out = split(config, device)
    return [held_out, examples(longer)]


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
        device = self.train.pairs.device
        chosen = batches.indices(loop.seed, step, len(self.train), loop.batch, device)
        batch = self.train[chosen[rows]]
        return batch.pairs, batch.sums
