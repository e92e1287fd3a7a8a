"""Many processes under `torchrun`: each computes its own rows of the global batch, and only rank 0
writes.

    torchrun --nproc-per-node 2 -m glimpse.train    # gives what one process gives

Only what a step draws at random, as the units of dropout, is other than in one process.

A program that `torchrun` did not start is a world of one, in which nothing here costs anything.
"""

import os

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from core.errors import InputError


def rank() -> int:
    """The number of this process, 0 <= rank < world size."""
    return int(os.environ.get("RANK", "0"))


def world_size() -> int:
    """How many processes train together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def gpu() -> torch.device:
    """The GPU of this process: each of a machine's processes has its own."""
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))


def rows(batch: int) -> slice:
    """This process's rows of a global batch.

    Raises:
        InputError: the batch cannot be shared equally, so the mean of the processes' gradients
            would not be the gradient of the mean.
    """
    if batch % world_size():
        raise InputError(f"a batch of {batch} cannot be shared equally by {world_size()} processes")
    share = batch // world_size()
    return slice(rank() * share, (rank() + 1) * share)


def replicate(model: nn.Module) -> nn.Module:
    """The model as each process must call it: `backward` then averages the gradients over all
    processes.
    """
    if world_size() == 1:
        return model
    device = next(model.parameters()).device
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    # Buffers that change, as a carried state, change alike in every process: none is sent.
    return DistributedDataParallel(model, broadcast_buffers=False)


def finish() -> None:
    """Leave the other processes."""
    if world_size() > 1:
        dist.destroy_process_group()


def weight_of_mean(count: Tensor | int, device: torch.device) -> Tensor | float:
    """The factor of a mean over `count` numbers of this process.

    Multiplied by it, the mean of the processes' means is the mean over the numbers of all. 1 in a
    single process.
    """
    if world_size() == 1:
        return 1.0
    own = torch.as_tensor(count, dtype=torch.float32, device=device)
    return own * world_size() / all_reduce_sum(own)


def all_reduce_sum(value: Tensor) -> Tensor:
    """The sum of `value` over the processes."""
    return _reduced(value, dist.ReduceOp.SUM)


def all_reduce_min(value: Tensor) -> Tensor:
    """The minimum of `value` over the processes."""
    return _reduced(value, dist.ReduceOp.MIN)


def any_process(flag: bool, device: torch.device) -> bool:
    """Whether the flag is set in any process."""
    if world_size() == 1:
        return flag
    return all_reduce_sum(torch.tensor(float(flag), device=device)).item() > 0


def _reduced(value: Tensor, operation: dist.ReduceOp.RedOpType) -> Tensor:
    if world_size() == 1:
        return value
    value = value.clone()
    dist.all_reduce(value, operation)
    return value
