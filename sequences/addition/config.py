"""Everything that decides what a run of the adder becomes, and the presets."""

from dataclasses import dataclass, field, replace
from typing import Literal

from core.errors import InputError
from core.training.config import LoopConfig, require_at_least, require_within

LONGEST = 10_000  # bits: a thousand such pairs are added at a time


@dataclass(frozen=True)
class Config:
    """Two nets that learn to add binary numbers."""

    bits: int = 8
    """Bits of the longest training numbers; three quarters of all their pairs are used."""
    hidden: int = 3
    """Units of the recurrent net."""
    activation: Literal["tanh", "sigmoid"] = "tanh"
    """Activation of these units."""
    error: Literal["cross_entropy", "squared_error"] = "cross_entropy"
    """The error function; the slides have the squared error."""
    candidates: int = 8
    """Recurrent nets that are trained side by side; the one with the largest margin is kept."""
    validation_bits: int = 64
    """Bits of the random pairs that, with the held-out short ones, decide which is kept."""
    width: int = 16
    """Bits of a number that the feed-forward net takes; it learns from the same numbers."""
    feedforward: int = 256
    """Hidden units of the feed-forward net."""

    lengths: tuple[int, ...] = (9, 10, 12, 16, 32, 100, 1000)
    """Bits of the numbers that both nets are tested on."""
    pairs: int = 10_000
    """Random pairs of each of these lengths."""

    loop: LoopConfig = field(default_factory=LoopConfig)
    """The training loop."""

    def __post_init__(self):
        require_at_least(1, self, "hidden", "candidates", "feedforward", "pairs")
        if not 2 <= self.bits <= 10:
            hint = "as all pairs are listed"
            raise InputError(f"bits must be from 2 to 10, {hint}, not {self.bits}")
        if self.width < self.bits:
            hint = "the feed-forward net must take the training numbers"
            raise InputError(f"width {self.width} is below bits {self.bits}: {hint}")
        if not self.lengths or not all(1 <= bits <= LONGEST for bits in self.lengths):
            raise InputError(f"lengths must be one or more numbers of bits from 1 to {LONGEST}")
        require_within(1, LONGEST, self, "validation_bits")


THREE_UNITS = Config(
    loop=LoopConfig(steps=2000, batch=128, learning_rate=0.05, log_every=500, validate_every=500),
)
PRESETS = {
    "three-units": THREE_UNITS,
    "squared-error": replace(THREE_UNITS, error="squared_error"),
    "sigmoid": replace(
        THREE_UNITS, activation="sigmoid", loop=replace(THREE_UNITS.loop, learning_rate=0.1)
    ),
}
EXPECTED = {
    "three-units": "no mistake in 10,000 sums of 1,000 bits from 10 of 10 seeds, 25 CPU seconds",
    "squared-error": "not measured yet",
    "sigmoid": "not measured yet",
}
"""For each preset the result to expect and its time on one core (benchmarks/RESULTS.md)."""
