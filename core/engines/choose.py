"""The engines of `core.recurrent`: three ways to run one layer in one direction over a batch of sequences.

reference   a Python loop over the cell under autograd: the truth; twice differentiable, torch.func knows it too
bptt        the pass derived by hand (`core.engines.bptt`), any activations
fused       torch.nn's kernels (cuDNN, oneDNN or ATen's loop), the activations they know

Each is a function `(cell, x, state, lengths, reverse) -> outputs, final state`, the parts of the first state [batch,
hidden], those of the final one [1, batch, hidden]. With lengths [batch], outputs
beyond a sequence's end are 0 and the final state is the one at its end; in reverse each sequence starts at
its own end. Inputs that are integers stand for one-hot vectors.

Under autocast `reference` and `fused` multiply in its dtype; `bptt` computes in that of the weights. States
go in and out in that of the weights, and inside all but `fused` keep the LSTM's c in it.
"""

import functools
import warnings
from array import array
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from core.cells import Cell, State, map_state
from core.engines import bptt, tape
from core.engines.c import passes
from core.engines.c.binding import followed, kernel_serves
from core.engines.steps import GRUSteps, LSTMSteps, RNNSteps, steps_of
from core.engines.tape import weights_of

Inputs = bptt.Sequences
Outputs = Float[Tensor, "time batch hidden"]
Lengths = Int[Tensor, " batch"] | None
Engine = Callable[[Cell, Inputs, State, Lengths, bool], tuple[Outputs, State]]

MOST = 2**62
ANY = range(MOST)


class Rule(NamedTuple):
    """An engine, and the work it is taken for."""

    engine: str
    kernels: tuple[type, ...] = (RNNSteps, LSTMSteps, GRUSteps)
    training: tuple[bool, ...] = (True, False)
    lengths: tuple[bool, ...] = (True, False)
    sizes: tuple[range, range, range] = (ANY, ANY, ANY)  # time, batch, hidden


INFERENCE, NO_LENGTHS = (False,), (False,)
ONE_STEP = Rule("reference", training=INFERENCE, lengths=NO_LENGTHS, sizes=(range(2), ANY, ANY))
RULES: dict[str, tuple[Rule, ...]] = {
    "kernel.c": (  # float32 on a CPU
        ONE_STEP._replace(sizes=(range(2), range(2, MOST), range(512, MOST))),
        Rule(
            "fused",
            (LSTMSteps,),
            INFERENCE,
            NO_LENGTHS,
            (range(20, MOST), range(32, MOST), range(128, MOST)),
        ),
        Rule("bptt"),
    ),
    "torch, float32": (  # activations that kernel.c does not know, or no compiler
        ONE_STEP,
        Rule("fused", training=INFERENCE),
        Rule("fused", (LSTMSteps,), lengths=NO_LENGTHS),
        Rule("bptt"),
    ),
    "torch": (
        ONE_STEP,
        Rule("fused", training=INFERENCE),
        Rule("bptt"),
    ),  # other dtypes; torch.compile
}
"""How "auto" is chosen on a CPU: the first rule that fits; "fused" only where torch.nn knows the activations.

Measured with the jobs of `benchmarks/recurrent.py` on one thread of an Intel Xeon (Emerald Rapids, AVX-512), torch
2.15, 2026-11-25. The passes kernel was the fastest at every shape, but without gradient in two cases: oneDNN's LSTM
is ahead by up to 10 % where batch and net are large; and for a single step of several sequences through a large net
the weights are not worth laying out. A single step that others take is taken cell by cell, as they first copy all
weights. torch.compile has rules of its own as it cannot train oneDNN's LSTM.
"""


def reference(
    cell: Cell, x: Inputs, state: Any, lengths: Lengths, reverse: bool
) -> tuple[Outputs, State]:
    """The cell, step by step; where a sequence has ended (in reverse: not begun) its state stays."""
    alive = None
    if lengths is not None:
        alive = torch.arange(len(x), device=x.device)[:, None] < lengths.to(x.device)
        x = x.where(
            alive if x.dim() == 2 else alive[:, :, None], 0
        )  # padding may hold anything, NaN too
        alive = alive[:, :, None]
    times, inputs, outputs, start = range(len(x)), x.unbind(0), [], state
    for t in times[::-1] if reverse else times:
        output, new = cell(inputs[t], state)
        if alive is not None:
            output = torch.where(alive[t], output, 0)
            new = map_state(functools.partial(torch.where, alive[t]), new, state)
        outputs.append(output)
        state = new
    final = map_state(lambda end, begin: end.to(begin.dtype)[None], state, start)
    return torch.stack(outputs[::-1] if reverse else outputs), final


def by_hand(
    cell: Cell, x: Inputs, state: Any, lengths: Lengths, reverse: bool
) -> tuple[Outputs, State]:
    """Backpropagation through time derived by hand; the batch shrinks as sequences end."""
    return _over_rows(functools.partial(bptt.run, tape), cell, x, state, lengths, reverse)


def by_kernel(
    cell: Cell, x: Inputs, state: Any, lengths: Lengths, reverse: bool
) -> tuple[Outputs, State]:
    """The same, its steps those of kernel.c."""
    if lengths is None and not reverse:
        time, batch, *_ = x.shape
        return bptt.run(passes, cell, [batch] * time, x, state)
    return _over_rows(functools.partial(bptt.run, passes), cell, x, state, lengths, reverse)


def without_gradient(
    cells: Sequence[Cell], x: Inputs, state: State | None
) -> tuple[Outputs, State]:
    """All layers of a net in one direction by kernel.c: a small net takes less time than Python between its layers.

    The state is that of all layers, [layers, batch, hidden], None for zeros.
    """
    start, stack = state or (), [weights_of(cell) for cell in cells]
    sizes = array("q", [x.shape[1]]) * x.shape[0]
    outputs, final = passes.infer(
        steps_of(cells[0]), stack, sizes, bptt.computed(x, stack[0].U), start, cells[0]
    )
    return outputs, final


def fused(
    cell: Cell, x: Inputs, state: Any, lengths: Lengths, reverse: bool
) -> tuple[Outputs, State]:
    """torch.nn's kernels; ValueError where they do not know the cell's activations."""
    if cell.torch_function() is None:
        raise ValueError('engine="fused" has no kernel with these activations; engine="bptt" has')
    return _over_rows(_fused_rows, cell, x, state, lengths, reverse)


def choose(name: str, cells: Sequence[Cell], x: Inputs, state: Any, lengths: Lengths) -> Engine:
    """The engine called so; "auto": the fastest that can do the work (`RULES`; on a GPU torch.nn's).

    Cells with hooks are left to `reference`.
    """
    if any(cell._forward_pre_hooks or cell._forward_hooks for cell in cells):
        return reference  # it alone calls the cells, which runs their hooks: pruning makes the weights in one
    if name not in ("auto", "bptt"):
        return ENGINES[name]
    kernel = steps_of(cells[0])
    if kernel is None:
        return reference
    known = cells[0].torch_function() is not None
    tensors: list[Any] = [each for cell in cells for each in weights_of(cell)]
    serves = kernel_serves(kernel, x, tensors if state is None else (*tensors, *state))
    if (
        name == "auto"
        and not serves
        and (followed() or any(isinstance(size, torch.SymInt) for size in x.shape))
    ):
        return reference  # torch.nn's kernels and the pass by hand know no transforms, nor batches of any size
    if not tensors[0].is_cpu:
        if name == "bptt" or not known:
            return by_hand
        return fused
    if name == "auto":
        compiling = torch.compiler.is_compiling() and not torch.compiler.is_exporting()
        whole = tensors[0].dtype == torch.float32 and not compiling
        rules = "kernel.c" if serves else "torch, float32" if whole else "torch"
        time, batch, *_ = x.shape
        sizes = time, batch, cells[0].hidden_size
        name = _first(
            rules, known, type(kernel), torch.is_grad_enabled(), lengths is not None, sizes
        )
    return by_kernel if name == "bptt" and serves else ENGINES[name]


@functools.lru_cache(maxsize=4096)
def _first(rules: str, known: bool, *work: Any) -> str:
    """The engine of the first rule that fits, remembered: a small net is done sooner than it is found."""
    return next(
        rule.engine
        for rule in RULES[rules]
        if (known or rule.engine != "fused") and _fits(rule, *work)
    )


def _fits(rule: Rule, kernel: type, training: bool, lengths: bool, sizes: tuple[int, ...]) -> bool:
    return (
        kernel in rule.kernels
        and training in rule.training
        and lengths in rule.lengths
        and all(
            each.start <= size < each.stop for each, size in zip(rule.sizes, sizes, strict=True)
        )
    )


ENGINES: dict[str, Engine] = {
    "reference": reference,
    "bptt": by_hand,
    "fused": fused,
}


def _computing(device: str, weights: torch.dtype) -> torch.dtype:
    """The dtype of matrix products: that of the weights, or of autocast."""
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else weights


def _over_rows(
    run: Callable, cell: Cell, x: Inputs, state: Any, lengths: Lengths, reverse: bool
) -> tuple[Outputs, State]:
    """Lay the steps out as rows, one step after another and none for padding, and `run` over these."""
    time, batch = x.shape[:2]
    if lengths is None:
        outputs, final = run(cell, [batch] * time, x.flip(0) if reverse else x, state)
        return outputs.flip(0) if reverse else outputs, final

    rows, order, batch_sizes = _pack(lengths.cpu(), batch, reverse)
    if not batch_sizes:
        return cell.U.new_zeros(time, batch, cell.hidden_size), map_state(
            lambda part: part[None], state
        )
    rows, order = rows.to(x.device), order.to(x.device)
    done, final = run(
        cell, batch_sizes, x.flatten(0, 1)[rows], map_state(lambda part: part[order], state)
    )
    outputs = done.new_zeros(time * batch, cell.hidden_size).index_copy(0, rows, done)
    return outputs.unflatten(0, (time, batch)), map_state(
        lambda part: part[:, order.argsort()], final
    )


def _pack(
    lengths: Int[Tensor, " batch"], batch: int, reverse: bool
) -> tuple[Tensor, Tensor, list[int]]:
    """Rows t * batch + b in the order of reading, sequences by falling length; their order; batch sizes."""
    lengths, order = lengths.sort(descending=True, stable=True)
    t = torch.arange(int(lengths[0]))[:, None]
    alive = t < lengths
    when = lengths - 1 - t if reverse else t
    return (when * batch + order)[alive], order, alive.sum(1).tolist()


def _fused_rows(
    cell: Cell, batch_sizes: Sequence[int], x: Tensor, state: State
) -> tuple[Tensor, State]:
    if not x.is_floating_point():  # these kernels only multiply
        x = F.one_hot(x.long(), cell.input_size).to(cell.U.dtype)
    weights, first, device = _torch_weights(cell), batch_sizes[0], x.device.type
    begin = state
    start = [part[None, :first] for part in begin]
    if device == "cpu" and not torch.is_autocast_enabled("cpu"):
        outputs, *end = _torch_kernel(cell, batch_sizes, x, start, weights)
    else:
        dtype = _computing(device, cell.W.dtype)
        x, start, weights = (
            x.to(dtype),
            [part.to(dtype) for part in start],
            [each.to(dtype) for each in weights],
        )
        with (
            warnings.catch_warnings(),
            torch.autocast(device, enabled=False),
        ):  # its rule for cuDNN is float16
            warnings.filterwarnings(
                "ignore", "RNN module weights"
            )  # cuDNN copies them into one block: small work
            outputs, *end = _torch_kernel(cell, batch_sizes, x, start, weights)
    final = [part.to(old.dtype) for part, old in zip(end, begin, strict=True)]
    if first < len(begin[0]):  # sequences of length 0
        final = [
            torch.cat([part, old[None, first:]], 1) for part, old in zip(final, begin, strict=True)
        ]
    return outputs, tuple(final)


def _torch_kernel(
    cell: Cell, batch_sizes: Sequence[int], x: Tensor, start: list[Tensor], weights: list[Tensor]
) -> tuple[Tensor, ...]:
    """torch.nn's function on [time, batch] or on rows; start and end are [1, batch, hidden]."""
    keep = torch.is_grad_enabled()  # is called `training`, but means: keep what backward will read
    options = (
        cell.b is not None,
        1,
        0.0,
        keep,
        False,
    )  # biases, layers, dropout, training, bidirectional
    kernel, first = cell.torch_function(), batch_sizes[0]
    assert kernel is not None
    begin = [part.contiguous() for part in start]
    begin = begin if len(begin) > 1 else begin[0]
    if first != batch_sizes[-1]:
        return kernel(x, torch.tensor(batch_sizes), begin, weights, *options)
    outputs, *end = kernel(x.view(len(batch_sizes), first, -1), begin, weights, *options, False)
    return outputs if x.dim() > 2 else outputs.flatten(0, 1), *end


def _torch_weights(cell: Cell) -> list[Tensor]:
    """U, W and, where there is a bias, torch.nn's two: one added to U x, one to W h."""
    if cell.b is None:
        return [cell.U, cell.W]
    zeros = torch.zeros_like(cell.b)
    b_W = zeros if cell.b_W is None else torch.cat([zeros[: -cell.hidden_size], cell.b_W])
    return [cell.U, cell.W, cell.b, b_W]
