"""Whether three units learn to add from every seed, and which automaton they become.

    uv run python -m benchmarks.addition               # ten seeds, about half a CPU minute each
    uv run python -m benchmarks.addition --seeds 3     # the first three
    uv run python -m benchmarks.addition --check

With --check the exit code is 1 if 2 of 10 seeds make a mistake, or one takes 2 minutes.

Each seed is a run of its own: training on numbers of at most 8 bits, then 10,000 pairs of
1,000-bit numbers. The time is the CPU time of both.
"""

import tempfile
import time
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.entry import script
from core.errors import InputError
from core.training.arguments import Training
from datasets.transducer import is_adder
from sequences.addition.config import PRESETS, Config
from sequences.addition.evaluate import agreement, count, find_automaton, random_examples
from sequences.addition.train import learn, open_model

BITS = 1000  # of the numbers tested
SECONDS = 120  # that a seed may take
SHARE = 0.9  # of the seeds make no mistake
DEVICE = torch.device("cpu")


def measure(seed: int, options: list[str]) -> tuple[dict[str, str], int, float]:
    """Train and test one seed; return what to print, the wrong bits and the CPU seconds."""
    start = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        flags = ["--seed", str(seed), "--runs", folder, "--quiet", *options]
        arguments = Training(Config, PRESETS, {}).parse("sequences addition", flags)
        config, _, run = arguments.start()
        learn(config, run, DEVICE)
        trained, config = open_model(Path(run.directory), DEVICE)
    wrong = count({"recurrent": trained.adder}, random_examples(config, BITS, DEVICE))["recurrent"]
    seconds = time.process_time() - start
    found = find_automaton(trained.adder, seed, DEVICE)
    row = {
        "seed": str(seed),
        "wrong sums": f"{wrong.wrong_sums:,} of {wrong.sums:,}",
        "wrong bits": f"{wrong.wrong_bits:,} of {wrong.bits:,}",
        "learned": f"{sum(margin > 0 for margin in trained.margins)} of {len(trained.margins)}",
        "clusters": str(len(found.automaton.output)) if found else "-",
        "the adder": "yes" if found and is_adder(found.automaton) else "no",
        "bits unlike it": str(agreement(trained.adder, found, seed, DEVICE)) if found else "-",
        "CPU s": f"{seconds:.0f}",
    }
    return row, wrong.wrong_bits, seconds


def main(seeds: int = 10, preset: str = "three-units", check: bool = False) -> int:
    """Measure the seeds 0, 1 ... and print a table.

    Args:
        seeds: how many.
        preset: of `sequences addition`.
        check: exit with code 1 if too many make a mistake, or one takes too long.

    Raises:
        InputError: there is no seed.
    """
    if seeds < 1:
        raise InputError(f"seeds must be at least 1, not {seeds}")
    torch.set_num_threads(1)
    rows, wrong, seconds = zip(
        *(measure(seed, ["--preset", preset]) for seed in range(seeds)), strict=True
    )
    laid = Table(title=f"{preset}, {BITS}-bit numbers, one thread, torch {torch.__version__}")
    for heading in rows[0]:
        laid.add_column(heading, justify="right")
    for row in rows:
        laid.add_row(*row.values())
    Console().print(laid)
    right = sum(bits == 0 for bits in wrong)
    print(f"{right} of {seeds} seeds make no mistake; the slowest takes {max(seconds):.0f} CPU s")
    return int(check and (right < SHARE * seeds or max(seconds) > SECONDS))


if __name__ == "__main__":
    script(main)
