"""glimpse/looking.c, compiled at first use (`core.engines.c.build`) and called on tensors."""

import ctypes
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from core.engines.c import build
from core.engines.c.binding import openmp
from core.engines.c.passes import CompiledTape
from core.engines.tape import Tape
from core.training import distributed

if TYPE_CHECKING:
    from glimpse.model import RecurrentAttention
    from glimpse.sensor import Prepared

SOURCE = Path(__file__).with_name("looking.c")


def _fields(kind: Any, names: str) -> list[tuple[str, Any]]:
    return [(name, kind) for name in names.split()]


class Retina(ctypes.Structure):
    """`retina` of sensor.c: numbers, and where tensors lie."""

    _fields_ = [
        *_fields(ctypes.c_int64, "batch channels height width scales size"),
        *_fields(ctypes.c_void_p, "edges images"),
    ]


class Linear(ctypes.Structure):
    """`linear` of looking.c."""

    _fields_ = [*_fields(ctypes.c_int64, "in_ out"), *_fields(ctypes.c_void_p, "W b packed")]


class Looking(ctypes.Structure):
    """`looking` of looking.c."""

    _fields_ = [
        ("eye", Retina),
        *_fields(Linear, "location what where combine input"),
        *_fields(ctypes.c_double, "location_scale input_scale"),
        *_fields(ctypes.c_int64, "widest threads"),
        *_fields(ctypes.c_void_p, "columns fork"),
    ]


class Glimpse(ctypes.Structure):
    """`glimpse` of looking.c."""

    _fields_ = [
        *_fields(ctypes.c_void_p, "h chosen mean location patches parts seen z"),
        ("stride", ctypes.c_int64),
    ]


class Objective(ctypes.Structure):
    """`objective` of objective.c."""

    _fields_ = [
        *_fields(ctypes.c_int64, "glimpses batch classes"),
        *_fields(ctypes.c_double, "std sure"),
        *_fields(ctypes.c_void_p, "logits means baselines chosen labels"),
        *_fields(ctypes.c_void_p, "d_logits d_means d_baselines rewards wrong_by terms"),
    ]


@functools.cache
def library() -> Any:
    """The loaded library, or None where it cannot be had."""
    loaded = build.load(SOURCE)
    if loaded is not None:
        loaded.see.argtypes = [
            ctypes.POINTER(Retina),
            *[ctypes.c_int64] * 2,
            *[ctypes.c_void_p] * 3,
        ]
        for function in (loaded.aim, loaded.glance):
            function.argtypes = [ctypes.POINTER(Looking), ctypes.POINTER(Glimpse)]
        loaded.pack.argtypes, loaded.judge.argtypes = (
            [ctypes.POINTER(Looking)],
            [ctypes.POINTER(Objective)],
        )
        loaded.packed_size.argtypes, loaded.packed_size.restype = (
            [ctypes.c_int64] * 2,
            ctypes.c_int64,
        )
        for function in (loaded.see, loaded.aim, loaded.glance, loaded.pack):
            function.restype = None
    return loaded


def reads(images: Tensor) -> bool:
    """Whether it can read these images: bytes in the memory of a CPU, so many that their sum fits 32 bits."""
    return (
        images.dtype == torch.uint8
        and images.is_cpu
        and not torch.compiler.is_compiling()
        and images.shape[-2] * images.shape[-1] <= 2**24
        and library() is not None
    )


def retina(
    images: UInt8[Tensor, "batch channels height width"], edges: Int[Tensor, "scales size+1"]
) -> Retina:
    """A retina with cells between these edges, before contiguous images."""
    return Retina(
        *images.shape, len(edges), edges.shape[1] - 1, edges.data_ptr(), images.data_ptr()
    )


def see(
    eye: Retina,
    widest: int,
    locations: Float[Tensor, "batch 2"],
    seen: Float[Tensor, "batch channels scales size size"],
) -> None:
    """Write to `seen` what is seen at `locations`; both float32, contiguous. `widest`: pixels of the widest patch."""
    columns = torch.empty(widest, dtype=torch.int32)
    library().see(eye, 0, eye.batch, *(each.data_ptr() for each in (locations, columns, seen)))


def serves(model: "RecurrentAttention", prepared: "Prepared", tape: Tape) -> bool:
    """Whether `Steps` serve: the retina reads images directly, the core has compiled steps, precision is whole."""
    whole = not torch.is_autocast_enabled("cpu")
    return (
        prepared.direct
        and isinstance(tape, CompiledTape)
        and model.recurrent.b is not None
        and whole
    )


class Steps:
    """`aim` and `glance` of a `RecurrentAttention`, in C, at these images and with its weights as they are now."""

    def __init__(self, model: "RecurrentAttention", prepared: "Prepared"):
        core, net, config = model.recurrent, model.glimpse, model.config
        modules = model.location, net.what, net.where, net.combine
        layers = [*((each.weight, each.bias) for each in modules), (core.U, cast(Tensor, core.b))]
        layers = [(W.detach().contiguous(), b.detach().contiguous()) for W, b in layers]
        threads, widest = torch.get_num_threads(), model.sensor.widths[-1]
        sizes = [library().packed_size(W.shape[1], len(W)) for W, _ in layers]
        room = torch.empty(sum(sizes)).split(sizes)
        columns = torch.empty(threads, widest, dtype=torch.int32)
        self._keep = prepared.tables, layers, room, columns
        self._looking = Looking(
            retina(*prepared.tables),
            *(
                Linear(W.shape[1], len(W), W.data_ptr(), b.data_ptr(), packed.data_ptr())
                for (W, b), packed in zip(layers, room, strict=True)
            ),
            config.location_scale,
            config.input_scale,
            widest,
            threads,
            columns.data_ptr(),
            openmp()[0],
        )
        library().pack(self._looking)

    def aim(
        self, h: Float[Tensor, "batch hidden"], mean: Float[Tensor, "batch 2"]
    ) -> Float[Tensor, "batch 2"]:
        """As `RecurrentAttention.aim`."""
        library().aim(self._looking, Glimpse(h=h.data_ptr(), mean=mean.data_ptr()))
        return mean

    def glance(
        self,
        tape: Tape,
        prepared: "Prepared",
        chosen: Float[Tensor, "batch 2"],
        location: Float[Tensor, "batch 2"],
        patches: Float[Tensor, "batch channels scales size size"],
        parts: Float[Tensor, "batch parts"],
        seen: Float[Tensor, "batch size"],
    ) -> Float[Tensor, "batch hidden"]:
        """As `RecurrentAttention.glance`."""
        z, chosen = tape.place(), chosen.float().contiguous()
        places = {
            "chosen": chosen,
            "location": location,
            "patches": patches,
            "parts": parts,
            "seen": seen,
            "z": z,
        }
        pointers = {name: tensor.data_ptr() for name, tensor in places.items()}
        library().glance(self._looking, Glimpse(**pointers, stride=z.stride(0)))
        return tape.advance()


def judges(values: Sequence[Tensor]) -> bool:
    """Whether `judge` reads these: float32 in the memory of a CPU, of one process."""
    ours = all(each.is_cpu and each.dtype == torch.float32 for each in values)
    return ours and distributed.world() == 1 and library() is not None


def judge(
    values: Sequence[Tensor], labels: Int[Tensor, " batch"], std: float, sure: float
) -> tuple[list[Tensor], Float[Tensor, "3"]]:
    """The gradients of the terms of `glimpse.objective` in logits, means and baselines, and the terms themselves.

    `values` are these three and the locations chosen, [glimpses, batch, ...].
    """
    values, labels = [each.contiguous() for each in values], labels.long().contiguous()
    gradients, terms = [torch.empty_like(each) for each in values[:3]], torch.empty(3)
    scratch = torch.empty(2, *values[0].shape[:2])
    pointers = (each.data_ptr() for each in (*values, labels, *gradients, *scratch, terms))
    if library().judge(Objective(*values[0].shape, std, sure, *pointers)):
        raise IndexError(f"labels must be from 0 to {values[0].shape[-1] - 1}")
    return gradients, terms
