"""A training step as CUDA graphs: recorded once for each combination of shapes, from then on one
launch.

The step of a small net is some hundred kernels of a few microseconds each. To launch them one by
one takes the host longer than the device needs to run them; a graph is launched at once. For that
the step must be the same work on the same memory each time:

    the batch         copied into buffers of the graph's own
    learning rate     a tensor, written before the launch (`core.training.optim`)
    metrics           summed into tensors that stay (`core.training.sums`)
    random numbers    a launch hands the generator's seed and offset to the graph; the seed is set
                      before each step, so draws are functions of (seed, step), as without a graph
    the host          neither reads the device nor decides anything by what is there

A step that needs the host runs as it is; one line says why. So do shapes too rare or too many to be
worth a graph.
"""

import sys
from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from core.errors import InputError

# Steps of a shape before it is captured: libraries choose algorithms, the optimiser makes buffers.
WARM_UP = 3
MOST = 8  # graphs

aten = torch.ops.aten
NEED_HOST = {
    aten._local_scalar_dense.default,  # item(), bool(), float(), int()
    aten.equal.default,
    aten.masked_select.default,
    aten.nonzero.default,
    aten.bincount.default,
    aten._unique2.default,
    aten.unique_consecutive.default,
}
INDEXING = {
    aten.index.Tensor,
    aten.index_put_.default,
    aten.index_put.default,
    aten._index_put_impl_.default,
}
COPIES = {aten._to_copy.default, aten.copy_.default}


class Backend(Protocol):
    """The calls of a device that can capture."""

    def aside(self, work: Callable[[], object]) -> None:
        """Do the work now, where captures are made."""
        ...

    def capture(self, work: Callable[[], object]) -> Callable[[], None]:
        """Capture the work without running it; return a function that replays it."""
        ...


class Cuda:
    """The calls of CUDA. All graphs share one pool of memory: only one runs at a time."""

    def __init__(self, device: torch.device):
        self.device = device
        with torch.cuda.device(device):
            self.stream, self.pool = torch.cuda.Stream(), torch.cuda.graph_pool_handle()

    def aside(self, work: Callable[[], object]) -> None:
        """Do the work on the stream of the captures, in its order with all other work."""
        here = torch.cuda.current_stream(self.device)
        self.stream.wait_stream(here)
        with torch.cuda.stream(self.stream):
            work()
        here.wait_stream(self.stream)

    def capture(self, work: Callable[[], object]) -> Callable[[], None]:
        """Record the work as a graph; the function returned launches it."""
        graph = torch.cuda.CUDAGraph()
        graph.register_generator_state(torch.cuda.default_generators[self.device.index])
        with (
            torch.cuda.device(self.device),
            torch.cuda.graph(graph, pool=self.pool, stream=self.stream),
        ):
            work()
        return graph.replay


def backend(device: torch.device) -> Backend | None:
    """The calls of a device, or None where there are no graphs."""
    return Cuda(device) if device.type == "cuda" else None


class HostReads(TorchDispatchMode):
    """Notes, while it is entered, the operations that a graph cannot hold.

    Those are the ones that tell the host what is on the device, whose result has a shape that
    depends on it, or that copy between the two.
    """

    def __init__(self) -> None:
        super().__init__()
        self.operations: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Do the operation, and note it if it is one of them."""
        result = func(*args, **(kwargs or {}))
        if func in NEED_HOST or _by_mask(func, args) or _between_devices(func, args, result):
            self.operations.append(str(func))
        return result


class Graphs:
    """A step that is called with a batch like the function it is made of, and captured where that
    can be done.

    Args:
        step: works on its arguments and on tensors that stay the same from call to call; what it
            returns is not used.
        backend: of the device.
        device: where every tensor of a batch must be.
        most: shapes to be captured at most; each graph keeps its memory.
    """

    def __init__(
        self, step: Callable[..., object], backend: Backend, device: torch.device, most: int = MOST
    ):
        self.step, self.backend, self.device, self.most = step, backend, device, most
        self.calls: Counter[Any] = Counter()
        self.graphs: dict[Any, tuple[list[Tensor], Callable[[], None]]] = {}
        self.noted = False

    def __call__(self, *batch: Tensor) -> None:
        """Do one step; raises InputError if capturing it fails."""
        shapes = tuple((tensor.shape, tensor.dtype) for tensor in batch)
        if shapes not in self.graphs:
            self.calls[shapes] += 1
            if self.calls[shapes] <= WARM_UP or len(self.graphs) >= self.most:
                self._as_it_is(
                    batch, watched=self.calls[shapes] == 1 and len(self.graphs) < self.most
                )
                return
            buffers = [tensor.clone() for tensor in batch]
            self.graphs[shapes] = buffers, self._captured(buffers)
        buffers, launch = self.graphs[shapes]
        for buffer, tensor in zip(buffers, batch, strict=True):
            buffer.copy_(tensor)
        launch()

    def _captured(self, buffers: list[Tensor]) -> Callable[[], None]:
        try:
            return self.backend.capture(lambda: self.step(*buffers))
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            # After a failed capture CUDA's random numbers are unreliable, so training stops.
            why = str(error).partition("\n")[0]
            raise InputError(
                f"the training step cannot be captured as a CUDA graph ({why}): leave out --graph"
            ) from error

    def _as_it_is(self, batch: tuple[Tensor, ...], *, watched: bool) -> None:
        with HostReads() if watched else nullcontext() as reads:
            self.backend.aside(lambda: self.step(*batch))
        if reads and (reads.operations or any(tensor.device != self.device for tensor in batch)):
            self.most = 0
            reasons = ", ".join(dict.fromkeys(reads.operations)) or "a batch that is there"
            self._note(f"it needs the host ({reasons})")
        elif self.most and len(self.graphs) >= self.most:
            self._note(f"{self.most} shapes are, this batch has another")

    def _note(self, why: str) -> None:
        if not self.noted:
            print(
                f"note: this training step is not captured as a CUDA graph: {why}", file=sys.stderr
            )
        self.noted = True


def _by_mask(func: Any, args: Any) -> bool:
    """Whether an indexing operation selects by true and false."""
    return func in INDEXING and any(
        tensor is not None and tensor.dtype in (torch.bool, torch.uint8) for tensor in args[1]
    )


def _between_devices(func: Any, args: Any, result: Any) -> bool:
    sources = args[1:2] if func is aten.copy_.default else args[:1]
    return func in COPIES and any(tensor.device != result.device for tensor in sources)
