"""Where tensors live: the device a command computes on, and how data get there."""

import os

import torch
from torch import Tensor

from core.errors import InputError
from core.training import distributed

MOST_THREADS_A_CORE = 4


def send(tensor: Tensor, device: torch.device) -> Tensor:
    """The tensor on `device`; a GPU is not waited for."""
    if device.type != "cuda" or tensor.is_cuda:
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def fits(size: int, device: torch.device) -> bool:
    """Whether `size` bytes of data may live on a GPU: at most half of what is free there. Always
    False on other devices.
    """
    return device.type == "cuda" and 2 * size <= torch.cuda.mem_get_info(device)[0]


def select(name: str = "auto", threads: int = 1) -> torch.device:
    """Set the number of CPU threads; return the device of that name.

    Raises:
        InputError: this machine has no such device, or far fewer cores than `threads`.
    """
    most = MOST_THREADS_A_CORE * (os.cpu_count() or 1)
    if not 1 <= threads <= most:
        raise InputError(f"threads must be from 1 to {most} on this machine, not {threads}")
    torch.set_num_threads(threads)
    available = ["cpu"]
    if torch.backends.mps.is_available():
        available.insert(0, "mps")
    if torch.cuda.is_available():
        available.insert(0, "cuda")
    if name == "auto":
        name = available[0]
    if name not in available:
        devices = " and ".join(available)
        raise InputError(f"this machine has no device {name}, only {devices}: change --device")
    if name != "cuda":
        return torch.device(name)
    gpus = torch.cuda.device_count()
    if distributed.gpu().index >= gpus:
        raise InputError(f"there are {gpus} GPUs, one a process: lower --nproc-per-node")
    return distributed.gpu()
