"""What is known of two nets that add, for a terminal: their mistakes, and the automaton."""

from collections.abc import Mapping

from rich.table import Table

from core.automaton import Extraction
from datasets.transducer import STATES, SYMBOLS, is_adder
from sequences.addition.config import Config
from sequences.addition.evaluate import NETS, RECURRENT, Count


def tables(results: Mapping[str, Mapping[str, Count]], config: Config) -> list[Table]:
    """Lay out the counts, a row for each length: wrong sums, and wrong bits of them."""
    caption = (
        f"both nets learned from at most {config.bits} bits; "
        f"the feed-forward one takes at most {config.width}"
    )
    compared = NETS[:2]  # a guess gets no whole sum right
    sums = Table("bits a number", "of", *compared, title="wrong sums", caption=caption)
    bits = Table("bits a number", "of", *NETS, title="wrong bits", caption=caption)
    for table in (sums, bits):
        for column in table.columns:
            column.justify = "right"
    for length, counts in results.items():
        total = counts[RECURRENT]
        wrong_sums = [_number(counts, name, "wrong_sums") for name in compared]
        wrong_bits = [_number(counts, name, "wrong_bits") for name in NETS]
        sums.add_row(length, f"{total.sums:,}", *wrong_sums)
        bits.add_row(length, f"{total.bits:,}", *wrong_bits)
    return [sums, bits]


def _number(counts: Mapping[str, Count], name: str, field: str) -> str:
    return f"{getattr(counts[name], field):,}" if name in counts else "too long"


def verdict(extraction: Extraction | None) -> str:
    """Say in a sentence which automaton was found."""
    if extraction is None:
        return "no automaton: the hidden states do not form clusters that lead from one to another"
    clusters = len(extraction.automaton.output)
    states = len(extraction.automaton.minimal().output)
    same = (
        "the adder's automaton" if is_adder(extraction.automaton) else "NOT the adder's automaton"
    )
    counts = f"{clusters} clusters of hidden states, {states} states when minimised"
    return f"{counts}: {same} (carry x printed bit)"


def automaton_table(extraction: Extraction) -> Table:
    """Lay out the clusters: their mean activity, and where each pair of bits leads to."""
    automaton = extraction.automaton
    units = extraction.centres.shape[1]
    table = Table(title="the automaton inside")
    table.add_column("state")
    for heading in (*(f"unit {n + 1}" for n in range(units)), *SYMBOLS):
        table.add_column(heading, justify="right")
    table.add_row("start", *["0.00"] * units, *map(str, automaton.first))
    for state, row in enumerate(automaton.step):
        activity = [f"{value:.2f}" for value in extraction.centres[state].tolist()]
        table.add_row(name(extraction, state), *activity, *map(str, row))
    return table


def name(extraction: Extraction, state: int) -> str:
    """Return what a cluster is in the adder, if that is the automaton that was found."""
    role = extraction.automaton.roles()[state]
    if role is not None and is_adder(extraction.automaton):
        return f"{state}: {STATES[role]}"
    return f"{state}: prints {extraction.automaton.output[state]}"
