"""Binary addition, bit by bit, as a finite transducer reads and prints it (slides 13-14).

Pairs of numbers are [time, batch, 2]: two bits a step, the least significant first. The last step
is two zeros, so that the sums, [time, batch], have room for the last carry.
"""

import torch
from jaxtyping import Int
from torch import Tensor

from core.automaton import Automaton

SYMBOLS = ("00", "01", "10", "11")  # the pairs of bits, in the order of `to_symbols`

# A state is the number of ones added last, 0 to 3; its two bits are the carry and the printed bit.
ADDER = Automaton(
    first=(0, 1, 1, 2),
    step=tuple(tuple(carry + ones for ones in (0, 1, 1, 2)) for carry in (0, 0, 1, 1)),
    output=(0, 1, 0, 1),
)
STATES = ("no carry, prints 0", "no carry, prints 1", "carry, prints 0", "carry, prints 1")
"""The states of `ADDER`."""


def is_adder(automaton: Automaton) -> bool:
    """Whether a machine is equivalent to `ADDER`."""
    return automaton.minimal() == ADDER.minimal()


def to_symbols(pairs: Int[Tensor, "time batch 2"]) -> Int[Tensor, "time batch"]:
    """Return the two bits of each step as one of four symbols."""
    return 2 * pairs[..., 0] + pairs[..., 1]


def add(pairs: Int[Tensor, "time batch 2"]) -> Int[Tensor, "time batch"]:
    """Return the bits of the sums."""
    return ADDER.print(to_symbols(pairs))


def to_bits(numbers: Int[Tensor, "*batch"], length: int) -> Int[Tensor, "{length} *batch"]:
    """Return the lowest `length` bits of numbers below 2^63."""
    return torch.stack([numbers >> t & 1 for t in range(length)])


def to_numbers(bits: Int[Tensor, "time batch"]) -> list[int]:
    """Return the numbers that have these bits, however long."""
    return [int("".join(map(str, reversed(column))), 2) for column in bits.t().tolist()]


def every_pair(bits: int) -> Int[Tensor, "time batch 2"]:
    """Return all pairs of numbers of at most `bits` bits: 4^bits of them, in bits + 1 steps."""
    pairs = torch.cartesian_prod(torch.arange(2**bits), torch.arange(2**bits))
    return to_bits(pairs, bits + 1)


def random_pairs(count: int, bits: int, generator: torch.Generator) -> Int[Tensor, "time batch 2"]:
    """Return `count` pairs of numbers of exactly `bits` bits, in bits + 1 steps."""
    pairs = torch.randint(2, (bits + 1, count, 2), generator=generator, device=generator.device)
    pairs[-1] = 0
    pairs[-2] = 1
    return pairs
