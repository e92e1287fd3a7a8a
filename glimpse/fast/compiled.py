"""Calls c/rollout.c, here, on tensors; it is compiled at first use (`core.engines.c.build`)."""

import ctypes
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from core.engines.c import build
from core.engines.c.binding import openmp

SOURCE = Path(__file__).parent / "c" / "rollout.c"
MOST_PIXELS = 2**24  # of which the sum of bytes fits 32 bits

Linear = tuple[Float[Tensor, "out in"], Float[Tensor, " out"]]
"""Weight and bias of a linear layer."""


class Weights(NamedTuple):
    """The linear layers of one glimpse, in the order of `network` in rollout.c."""

    location: Linear
    what: Linear
    where: Linear
    combine: Linear
    input: Linear


class Images(NamedTuple):
    """A batch of images that C reads where they lie, each of a size of its own."""

    pixels: Sequence[UInt8[Tensor, "channels height width"]]  # keeps the memory alive
    channels: int
    pointers: Int[Tensor, " batch"]
    sizes: Int[Tensor, "batch 2"]  # height and width


def _fields(kind: Any, names: str) -> list[tuple[str, Any]]:
    return [(name, kind) for name in names.split()]


class Sensor(ctypes.Structure):
    """`sensor` of sensor.c."""

    _fields_ = [
        *_fields(ctypes.c_int64, "batch channels scales size"),
        *_fields(ctypes.c_void_p, "edges sizes images"),
    ]


class LinearLayer(ctypes.Structure):
    """`linear` of rollout.c."""

    _fields_ = [*_fields(ctypes.c_int64, "in_ out"), *_fields(ctypes.c_void_p, "W b packed")]


class Network(ctypes.Structure):
    """`network` of rollout.c."""

    _fields_ = [
        ("sensor", Sensor),
        *_fields(LinearLayer, " ".join(Weights._fields)),
        *_fields(ctypes.c_double, "location_scale input_scale"),
        *_fields(ctypes.c_int64, "widest threads"),
        *_fields(ctypes.c_void_p, "columns fork"),
    ]


class Glimpse(ctypes.Structure):
    """`glimpse` of rollout.c."""

    _fields_ = [
        *_fields(ctypes.c_void_p, "h sampled mean location patches parts g z"),
        ("stride", ctypes.c_int64),
    ]


@functools.cache
def library() -> Any:
    """Return the loaded library, or None where there is no compiler."""
    loaded = build.load(SOURCE)
    if loaded is None:
        return None
    network = ctypes.POINTER(Network)
    sizes = [ctypes.c_int64, ctypes.c_int64]
    tensors = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p]
    loaded.extract.argtypes = [ctypes.POINTER(Sensor), *sizes, *tensors]
    loaded.extract.restype = None
    loaded.locate.argtypes = [network, ctypes.POINTER(Glimpse)]
    loaded.locate.restype = None
    loaded.glimpse_step.argtypes = [network, ctypes.POINTER(Glimpse)]
    loaded.glimpse_step.restype = None
    loaded.pack_weights.argtypes = [network]
    loaded.pack_weights.restype = None
    loaded.packed_size.argtypes = sizes
    loaded.packed_size.restype = ctypes.c_int64
    return loaded


def readable(images: Tensor | Sequence[Tensor]) -> bool:
    """Return whether C can read these images: plain bytes in CPU memory, not too large."""
    if torch.compiler.is_compiling() or library() is None:
        return False
    batch = [images] if isinstance(images, Tensor) else images
    return all(
        type(image) is Tensor
        and image.dtype == torch.uint8
        and image.is_cpu
        and image.shape[-2] * image.shape[-1] <= MOST_PIXELS
        for image in batch
    )


def take(images: Tensor | Sequence[Tensor]) -> Images:
    """Return where the `readable` images lie."""
    if isinstance(images, Tensor):
        images = images.contiguous()
        batch, channels, height, width = images.shape
        pointers = torch.arange(batch) * (channels * height * width) + images.data_ptr()
        sizes = torch.tensor([[height, width]]).repeat(batch, 1)
        return Images([images], channels, pointers, sizes)
    pixels = [image.contiguous() for image in images]
    pointers = torch.tensor([image.data_ptr() for image in pixels])
    sizes = torch.tensor([image.shape[1:] for image in pixels])
    return Images(pixels, pixels[0].shape[0], pointers, sizes)


def _sensor(images: Images, edges: Int[Tensor, "scales size+1"]) -> Sensor:
    pointers = edges.data_ptr(), images.sizes.data_ptr(), images.pointers.data_ptr()
    return Sensor(len(images.pointers), images.channels, len(edges), edges.shape[1] - 1, *pointers)


def extract(
    images: Images, edges: Int[Tensor, "scales size+1"], locations: Float[Tensor, "batch 2"]
) -> Float[Tensor, "batch channels scales size size"]:
    """Return the patches at `locations`, cut into cells at `edges`."""
    batch, scales, size = len(images.pointers), len(edges), edges.shape[1] - 1
    patches = torch.empty(batch, images.channels, scales, size, size)
    columns = torch.empty(int(edges[-1, -1]), dtype=torch.int32)
    locations = locations.float().contiguous()
    pointers = locations.data_ptr(), columns.data_ptr(), patches.data_ptr()
    library().extract(_sensor(images, edges), 0, batch, *pointers)
    return patches


class Steps:
    """The location network and the glimpse steps at a batch of images, with the weights of now."""

    def __init__(
        self,
        weights: Weights,
        images: Images,
        edges: Int[Tensor, "scales size+1"],
        location_scale: float,
        input_scale: float,
    ):
        threads = torch.get_num_threads()
        widest = int(edges[-1, -1])
        columns = torch.empty(threads, widest, dtype=torch.int32)
        layers = [(W.detach().contiguous(), b.detach().contiguous()) for W, b in weights]
        sizes = [library().packed_size(W.shape[1], len(W)) for W, _ in layers]
        packed = torch.empty(sum(sizes)).split(sizes)
        self._keep_alive = images, edges, layers, packed, columns
        self._network = Network(
            _sensor(images, edges),
            *(
                LinearLayer(W.shape[1], len(W), W.data_ptr(), b.data_ptr(), memory.data_ptr())
                for (W, b), memory in zip(layers, packed, strict=True)
            ),
            location_scale,
            input_scale,
            widest,
            threads,
            columns.data_ptr(),
            openmp()[0],
        )
        library().pack_weights(self._network)

    def locate(self, h: Float[Tensor, "batch hidden"], mean: Float[Tensor, "batch 2"]) -> None:
        """Write the mean of the policy in state h to `mean`."""
        library().locate(self._network, Glimpse(h=h.data_ptr(), mean=mean.data_ptr()))

    def glimpse_step(self, z: Float[Tensor, "batch gates_hidden"], **buffers: Tensor) -> None:
        """Read `sampled`; write `location`, `patches`, `parts` and `g`, and z = U g + b.

        All are contiguous float32 except z, whose rows may lie apart.
        """
        pointers = {name: tensor.data_ptr() for name, tensor in buffers.items()}
        library().glimpse_step(
            self._network, Glimpse(z=z.data_ptr(), stride=z.stride(0), **pointers)
        )
