"""What benchmarks of a GPU share: interleaved times of jobs, and a line on the machine."""

import time
from collections.abc import Callable, Mapping
from statistics import median

import torch

from core.errors import InputError

WARM_UP = 3  # rounds that do not count, where there are that many others


def about(device: torch.device) -> str:
    """Device and versions."""
    name = (
        torch.cuda.get_device_name(device)
        if device.type == "cuda"
        else f"CPU, {torch.get_num_threads()} thread(s)"
    )
    cudnn = f", cuDNN {torch.backends.cudnn.version()}" if device.type == "cuda" else ""
    return f"{name}, torch {torch.__version__}{cudnn}"


def require_rounds(rounds: int) -> None:
    """Raise InputError unless there is something to take a median of."""
    if rounds < 1:
        raise InputError(f"rounds must be at least 1, not {rounds}")


def times(
    jobs: Mapping[str, Callable[[], object]], device: torch.device, rounds: int
) -> dict[str, float]:
    """Median milliseconds of each job; each round does every job once and waits for the device."""
    measured: dict[str, list[float]] = {name: [] for name in jobs}
    warm_up = min(WARM_UP, rounds - 1)
    for number in range(warm_up + rounds):
        for name, job in jobs.items():
            wait(device)
            start = time.perf_counter()
            job()
            wait(device)
            if number >= warm_up:
                measured[name].append(1e3 * (time.perf_counter() - start))
    return {name: median(milliseconds) for name, milliseconds in measured.items()}


def wait(device: torch.device) -> None:
    """Until the device has done all that it was asked for."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
