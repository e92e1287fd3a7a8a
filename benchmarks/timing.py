"""Timing side by side: every job once a round, so that a disturbance reaches all alike."""

import random
import time
from collections.abc import Callable, Mapping
from statistics import median

import torch

Job = Callable[[], object]


def interleaved(jobs: Mapping[str, Job], rounds: int, warm_up: int = 2) -> dict[str, list[float]]:
    """Milliseconds of each job in each round.

    CPU time on one thread, else wall-clock time, which needs a quiet machine.
    """
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    times: dict[str, list[float]] = {name: [] for name in jobs}
    order = random.Random(0)
    names = list(jobs)
    for number in range(rounds + warm_up):
        # A random order: no job always finds the caches as the same other job left them.
        order.shuffle(names)
        for name in names:
            start = clock()
            jobs[name]()
            if number >= warm_up:
                times[name].append(1e3 * (clock() - start))
    return times


def ratio(slow: list[float], fast: list[float]) -> float:
    """How many times as fast `fast` is: the median of the ratios within a round."""
    return median(s / f for s, f in zip(slow, fast, strict=True))


def product_rate(rounds: int = 9) -> float:
    """Floating-point operations a millisecond of a large matrix product in float32."""
    size = 1536
    a, b, out = (torch.randn(size, size) for _ in range(3))
    return 2 * size**3 / median(interleaved({"": lambda: torch.mm(a, b, out=out)}, rounds)[""])
