"""How well both nets add, by the number of bits, and which automaton the recurrent one has become."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from rich.table import Table
from torch import Tensor

from core import rng
from core.automaton import Extraction, extract
from core.training import batches
from datasets.transducer import STATES, SYMBOLS, is_adder, random_pairs, to_symbols
from sequences.addition.config import Config
from sequences.addition.data import Examples, examples
from sequences.addition.model import Adder, Pairs

TOGETHER = 1000  # pairs added at a time
RECORD = 100, 64  # pairs, and bits of each, in the record from which the automaton is read
CHECK = 1000  # bits of the pairs on which it is compared with the net

NETS = "recurrent", "feed-forward", "guess"  # the last says always what is the more frequent bit
Net = Callable[[Pairs], Float[Tensor, "time batch"]]


@dataclass
class Count:
    """What a net did wrong. A sum is right if all of its bits are."""

    sums: int = 0
    bits: int = 0
    wrong_sums: int = 0
    wrong_bits: int = 0


@torch.no_grad()
def count(nets: Mapping[str, Net], parts: Iterable[Examples]) -> dict[str, Count]:
    """Count what each of some nets does wrong about the same pairs of numbers."""
    counts = {name: Count() for name in nets}
    for part in parts:
        for name, net in nets.items():
            wrong = (net(part.pairs)[: len(part.sums)] > 0) != part.sums.bool()
            found = counts[name]
            found.sums, found.bits = found.sums + len(part), found.bits + wrong.numel()
            found.wrong_sums += int(wrong.any(0).sum())
            found.wrong_bits += int(wrong.sum())
    return counts


def random_examples(config: Config, bits: int, device: torch.device) -> Iterator[Examples]:
    """Yield random pairs of numbers of `bits` bits, a function of the seed."""
    for part in batches.in_order(config.pairs, TOGETHER):
        random = rng.generator(device, config.loop.seed, bits, part.start, "test")
        yield examples(random_pairs(part.stop - part.start, bits, random))


def always_1(pairs: Pairs) -> Float[Tensor, "time batch"]:
    """Guess."""
    return torch.ones(pairs.shape[:2], device=pairs.device)


def measure(
    config: Config, adder: Adder, feedforward: Net, held_out: Examples, device: torch.device
) -> dict[str, dict[str, Count]]:
    """Count what both nets and a guess do wrong: on held-out short numbers, then on random ones of each length."""
    nets: dict[str, Net] = dict(zip(NETS, (adder, feedforward, always_1), strict=True))
    results = {f"up to {config.bits}, held out": count(nets, [held_out])}
    for bits in config.lengths:
        fitting = {
            name: net
            for name, net in nets.items()
            if net is not feedforward or bits <= config.width
        }
        results[str(bits)] = count(fitting, random_examples(config, bits, device))
    for counts in results.values():
        guess = counts[NETS[2]]
        guess.wrong_bits = min(
            guess.wrong_bits, guess.bits - guess.wrong_bits
        )  # the better of always 1, always 0
    return results


def tables(results: Mapping[str, Mapping[str, Count]], config: Config) -> list[Table]:
    """Lay the counts out, a row for each length: wrong sums, and wrong bits of them."""
    room = f"both nets learned from at most {config.bits} bits; the feed-forward one has room for {config.width}"
    sums, bits = (Table(title=f"wrong {what}", caption=room) for what in ("sums", "bits"))
    for laid, columns in ((sums, NETS[:2]), (bits, NETS)):
        for heading in ("bits a number", "of", *columns):
            laid.add_column(heading, justify="right")
    for length, counts in results.items():
        found = [counts.get(name) for name in NETS]
        sums.add_row(
            length,
            f"{counts[NETS[0]].sums:,}",
            *(f"{c.wrong_sums:,}" if c else "no room" for c in found[:2]),
        )
        bits.add_row(
            length,
            f"{counts[NETS[0]].bits:,}",
            *(f"{c.wrong_bits:,}" if c else "no room" for c in found),
        )
    return [sums, bits]


def find_automaton(adder: Adder, seed: int, device: torch.device) -> Extraction | None:
    """Look for the automaton in a trained net, in a record of random numbers."""
    pairs = random_pairs(*RECORD, rng.generator(device, seed, "record"))
    printed = (adder(pairs) > 0).long()
    return extract(adder.activity(pairs), to_symbols(pairs), printed, len(SYMBOLS), seed=seed)


def agreement(adder: Adder, found: Extraction, seed: int, device: torch.device) -> int:
    """Count in how many bits of long sums the net differs from the automaton that was read from it."""
    pairs = random_pairs(RECORD[0], CHECK, rng.generator(device, seed, "agreement"))
    return int(((adder(pairs) > 0) != found.automaton.print(to_symbols(pairs)).bool()).sum())


def verdict(found: Extraction | None) -> str:
    """Say in a sentence which machine was found."""
    if found is None:
        return "no automaton: the hidden states do not fall into clusters that lead from one to another"
    clusters, states = len(found.automaton.output), len(found.automaton.minimal().output)
    how = f"{clusters} clusters of hidden states, {states} states when minimised"
    same = "the same machine as" if is_adder(found.automaton) else "NOT the machine of"
    return f"{how}: {same} the adder, carry x printed bit"


def automaton_table(found: Extraction) -> Table:
    """Lay out the clusters: the mean activity, what is printed, and the cluster that each pair of bits leads to."""
    automaton = found.automaton
    laid = Table(title="the automaton inside")
    laid.add_column("state")
    for n in range(found.centres.shape[1]):
        laid.add_column(f"unit {n + 1}", justify="right")
    for heading in SYMBOLS:
        laid.add_column(heading, justify="right")
    laid.add_row("start", *["0.00"] * found.centres.shape[1], *map(str, automaton.first))
    for state, row in enumerate(automaton.step):
        activity = (f"{value:.2f}" for value in found.centres[state].tolist())
        laid.add_row(name(found, state), *activity, *map(str, row))
    return laid


def name(found: Extraction, state: int) -> str:
    """What a cluster is in the adder, if that is what was found."""
    role = found.automaton.roles()[state]
    if role is not None and is_adder(found.automaton):
        return f"{state}: {STATES[role]}"
    return f"{state}: prints {found.automaton.output[state]}"
