"""Everything that decides what a run of the adder becomes, and the presets."""

from dataclasses import dataclass, field, replace
from typing import Literal

from core.errors import InputError
from core.training.config import LoopConfig, require_at_least


@dataclass(frozen=True)
class Config:
    """Two nets that learn to add binary numbers; the presets below are instances of it."""

    bits: int = 8
    """Bits of the longest numbers to learn from; three quarters of all pairs of such numbers are."""
    hidden: int = 3
    """Units of the recurrent net."""
    activation: Literal["tanh", "sigmoid"] = "tanh"
    """Their activation."""
    error: Literal["cross_entropy", "squared_error"] = "cross_entropy"
    """The error function; the slides have the squared error."""
    candidates: int = 8
    """Recurrent nets that learn side by side, each alone; the surest is kept."""
    judged: int = 64
    """Bits of the random pairs that decide, with the held-out short ones, which is the surest; they only judge."""
    width: int = 16
    """Bits a number may have at most for the feed-forward net; it learns from the same numbers."""
    feedforward: int = 256
    """Hidden units of the feed-forward net."""

    lengths: tuple[int, ...] = (9, 10, 12, 16, 32, 100, 1000)
    """Bits of the numbers that both nets are tested on."""
    pairs: int = 10_000
    """Random pairs of each of these lengths."""

    loop: LoopConfig = field(default_factory=LoopConfig)
    """The training loop."""

    def __post_init__(self):
        require_at_least(1, self, "hidden", "candidates", "feedforward", "judged", "pairs")
        if not 2 <= self.bits <= 10:
            raise InputError(
                f"bits must be from 2 to 10, for all pairs are listed, not {self.bits}"
            )
        if self.width < self.bits:
            raise InputError(
                f"the feed-forward net must hold what it learns from: width {self.width} is below bits"
            )
        if min(self.lengths, default=0) < 1:
            raise InputError("lengths must be one or more numbers of bits, each at least 1")


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
