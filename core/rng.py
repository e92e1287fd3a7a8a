"""Random numbers as functions of a key: the same key always gives the same stream."""

import hashlib

import torch


def fold(*key: int | str) -> int:
    """A seed in [0, 2^63) for a key such as (seed, step, "noise").

    Different keys give independent seeds.
    """
    return int.from_bytes(hashlib.blake2b(repr(key).encode(), digest_size=8).digest(), "big") >> 1


def generator(device: torch.device | str, *key: int | str) -> torch.Generator:
    """A random generator on `device` whose stream is a function of the key."""
    return torch.Generator(device).manual_seed(fold(*key))


def reseed(device: torch.device, *key: int | str) -> None:
    """Make what torch draws without a named generator, e.g. for dropout, a function of the key.

    This is torch.manual_seed for the CPU and `device` alone; where there is no GPU, that one takes
    0.15 ms.
    """
    torch.default_generator.manual_seed(fold(*key))
    if device.type == "cuda":
        torch.cuda.manual_seed(fold(*key))
    elif device.type == "mps":
        torch.mps.manual_seed(fold(*key))
