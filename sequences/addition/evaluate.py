"""Count the mistakes of both nets by the number of bits; find the recurrent net's automaton."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from core import rng
from core.automaton import Extraction, extract
from core.training import batches
from datasets.transducer import SYMBOLS, random_pairs, to_symbols
from sequences.addition.config import Config
from sequences.addition.data import Examples, examples
from sequences.addition.model import Adder, Pairs

BATCH = 1000  # pairs added at a time
RECORDED_PAIRS, RECORDED_BITS = 100, 64  # of the record in which the automaton is found
COMPARED_BITS = 1000  # of the pairs on which it is compared with the net

RECURRENT, FEEDFORWARD, GUESS = NETS = ("recurrent", "feed-forward", "guess")
Net = Callable[[Pairs], Float[Tensor, "time batch"]]


@dataclass
class Count:
    """The mistakes of a net. A sum is right if all of its bits are."""

    sums: int = 0
    bits: int = 0
    wrong_sums: int = 0
    wrong_bits: int = 0


@torch.no_grad()
def count(nets: Mapping[str, Net], parts: Iterable[Examples]) -> dict[str, Count]:
    """Count the mistakes of several nets on the same pairs of numbers."""
    counts = {name: Count() for name in nets}
    for part in parts:
        for name, net in nets.items():
            wrong = (net(part.pairs)[: len(part.sums)] > 0) != part.sums.bool()
            counted = counts[name]
            counted.sums += len(part)
            counted.bits += wrong.numel()
            counted.wrong_sums += int(wrong.any(0).sum())
            counted.wrong_bits += int(wrong.sum())
    return counts


def random_examples(config: Config, bits: int, device: torch.device) -> Iterator[Examples]:
    """Yield random pairs of numbers of `bits` bits, a function of the seed."""
    for part in batches.in_order(config.pairs, BATCH):
        random = rng.generator(device, config.loop.seed, bits, part.start, "test")
        yield examples(random_pairs(part.stop - part.start, bits, random))


def always_1(pairs: Pairs) -> Float[Tensor, "time batch"]:
    """Guess 1 for every bit."""
    return torch.ones(pairs.shape[:2], device=pairs.device)


def measure(
    config: Config, adder: Adder, feedforward: Net, held_out: Examples, device: torch.device
) -> dict[str, dict[str, Count]]:
    """Count the mistakes of both nets and a guess: on held-out pairs, then on random longer ones.

    The feed-forward net is left out where the numbers are wider than it takes. The guess is the
    more frequent bit.
    """
    nets: dict[str, Net] = {RECURRENT: adder, FEEDFORWARD: feedforward, GUESS: always_1}
    results = {f"up to {config.bits}, held out": count(nets, [held_out])}
    for bits in config.lengths:
        fitting = dict(nets)
        if bits > config.width:
            del fitting[FEEDFORWARD]
        results[str(bits)] = count(fitting, random_examples(config, bits, device))
    for counts in results.values():
        guess = counts[GUESS]
        guess.wrong_bits = min(guess.wrong_bits, guess.bits - guess.wrong_bits)
    return results


def find_automaton(adder: Adder, seed: int, device: torch.device) -> Extraction | None:
    """Return the automaton in a trained net, found in a record of random numbers, or None."""
    generator = rng.generator(device, seed, "record")
    pairs = random_pairs(RECORDED_PAIRS, RECORDED_BITS, generator)
    printed = (adder(pairs) > 0).long()
    return extract(adder.activity(pairs), to_symbols(pairs), printed, len(SYMBOLS), seed=seed)


def agreement(adder: Adder, extraction: Extraction, seed: int, device: torch.device) -> int:
    """Count the bits of long sums in which the net differs from the automaton found in it."""
    generator = rng.generator(device, seed, "agreement")
    pairs = random_pairs(RECORDED_PAIRS, COMPARED_BITS, generator)
    return int(((adder(pairs) > 0) != extraction.automaton.print(to_symbols(pairs)).bool()).sum())
