"""Which engine runs a cell: the one named, or for "auto" the fastest that can do the work.

    reference   a Python loop over the cell under autograd, for any cell: all others equal it
    bptt        backpropagation through time derived by hand, in C or in torch
    fused       torch.nn's functions, for the activations they know

Each has a module of its name in `core.engines`.

`choose` returns a `Choice`; its `run(x, state, lengths, reverse)` returns the outputs and the final
state. The parts of the first state are [batch, hidden], those of the final one [1, batch, hidden].
With lengths [batch], outputs beyond a sequence's end are 0 and the final state is the one at its
end; in reverse each sequence starts at its own end. Integer inputs stand for one-hot vectors.

Under autocast `reference` and `fused` multiply in its dtype; `bptt` computes in that of the
weights. States go in and out in that of the weights, and inside all but `fused` keep the LSTM's c
in it.
"""

import functools
from array import array
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

from core.base_cell import Cell, State
from core.cells import LSTMCell
from core.engines import bptt, tape
from core.engines.c import passes
from core.engines.c.binding import is_followed, kernel_serves
from core.engines.fused import fused
from core.engines.lengths import over_rows
from core.engines.reference import Lengths, Outputs, Sequences, reference
from core.engines.steps import FastCell, fast_cell, has_hooks, no_steps

ENGINES = ("reference", "bptt", "fused")
MOST = 2**62
ANY = range(MOST)


class Rule(NamedTuple):
    """An engine, and the work it is taken for."""

    engine: str
    cells: tuple[type[Cell], ...] = (Cell,)
    training: tuple[bool, ...] = (True, False)
    lengths: tuple[bool, ...] = (True, False)
    sizes: tuple[range, range, range] = (ANY, ANY, ANY)  # time, batch, hidden


INFERENCE, NO_LENGTHS = (False,), (False,)
ONE_STEP = Rule("reference", training=INFERENCE, lengths=NO_LENGTHS, sizes=(range(2), ANY, ANY))
LARGE = (range(20, MOST), range(32, MOST), range(128, MOST))
RULES: dict[str, tuple[Rule, ...]] = {
    "kernel.c": (  # float32 on a CPU
        ONE_STEP._replace(sizes=(range(2), range(2, MOST), range(512, MOST))),
        Rule("fused", (LSTMCell,), INFERENCE, NO_LENGTHS, LARGE),
        Rule("bptt"),
    ),
    "torch, float32": (  # activations that kernel.c does not know, or no compiler
        ONE_STEP,
        Rule("fused", training=INFERENCE),
        Rule("fused", (LSTMCell,), lengths=NO_LENGTHS),
        Rule("bptt"),
    ),
    "torch": (  # other dtypes; torch.compile
        ONE_STEP,
        Rule("fused", training=INFERENCE),
        Rule("bptt"),
    ),
}
"""How "auto" chooses on a CPU: the first rule that fits; "fused" if torch.nn has the activations.

Measured with the jobs of `benchmarks/recurrent.py` on one thread of an Intel Xeon (Emerald Rapids,
AVX-512), torch 2.15, 2026-11-25. kernel.c was the fastest at every shape but for two cases of
inference: oneDNN's LSTM is ahead by up to 10 % where batch and net are large; and for a single step
of several sequences through a large net, packing the weights does not pay. For a single step the
other engines use `reference`: the fused kernels copy all weights first. torch.compile has its own
rules as it cannot train oneDNN's LSTM.
"""


class Choice(NamedTuple):
    """An engine bound to the cell it is to run."""

    engine: str
    cell: Cell
    fast: FastCell | None = None
    in_c: bool = False

    def run(
        self, x: Sequences, state: State | None, lengths: Lengths | None, reverse: bool
    ) -> tuple[Outputs, State]:
        """Run the cell over x; None is a state of zeros."""
        if self.fast is not None and self.in_c and lengths is None and not reverse:
            time, batch, *_ = x.shape
            return bptt.run(passes, self.fast, [batch] * time, x, state)
        if state is None:
            state = self.cell.initial_state(x.shape[1])
        if self.fast is None:
            return reference(self.cell, x, state, lengths, reverse)
        if self.engine == "fused":
            return fused(self.fast, x, state, lengths, reverse)
        run = functools.partial(bptt.run, passes if self.in_c else tape)
        return over_rows(run, self.fast, x, state, lengths, reverse)


def choose(
    name: str, cell: Cell, x: Sequences, state: State | None, lengths: Lengths | None
) -> Choice:
    """The engine of this name; for "auto" the fastest that can do the work (`RULES`).

    On a GPU that is torch.nn's.

    Cells with hooks are left to the reference, which alone calls them.

    Raises:
        ValueError: if the engine was asked for by name and cannot run this cell.
    """
    if name == "reference" or has_hooks(cell):
        return Choice("reference", cell)
    fast = fast_cell(cell)
    if fast is None and name != "auto":
        raise ValueError(no_steps(cell, name))
    if fast is None:
        return Choice("reference", cell)
    if name == "fused":
        return Choice(name, cell, fast)
    serves = kernel_serves(fast, x, state or ())
    if name == "auto":
        name = _fastest(fast, serves, x, lengths)
    if name == "reference":
        return Choice(name, cell)
    return Choice(name, cell, fast, serves and name == "bptt")


def _fastest(fast: FastCell, serves: bool, x: Sequences, lengths: Lengths | None) -> str:
    batch_of_any_size = any(isinstance(size, torch.SymInt) for size in x.shape)
    if not serves and (is_followed() or batch_of_any_size):
        return "reference"  # the other engines in torch know neither transforms nor symbolic sizes
    U = fast.weights.U
    in_torch_nn = fast.cell.torch_function() is not None
    if not U.is_cpu:
        return "fused" if in_torch_nn else "bptt"
    compiling = torch.compiler.is_compiling() and not torch.compiler.is_exporting()
    rules = "torch"
    if serves:
        rules = "kernel.c"
    elif U.dtype == torch.float32 and not compiling:
        rules = "torch, float32"
    time, batch, *_ = x.shape
    sizes = (time, batch, fast.cell.hidden_size)
    training = torch.is_grad_enabled()
    return _first(rules, in_torch_nn, type(fast.cell), training, lengths is not None, sizes)


@functools.lru_cache(maxsize=4096)
def _first(rules: str, in_torch_nn: bool, *work: Any) -> str:
    """The engine of the first rule that fits; cached, as the search outlasts a small net."""
    fitting = (rule.engine for rule in RULES[rules] if _fits(rule, *work))
    return next(engine for engine in fitting if in_torch_nn or engine != "fused")


def _fits(
    rule: Rule, cell: type[Cell], training: bool, lengths: bool, sizes: tuple[int, ...]
) -> bool:
    return (
        issubclass(cell, rule.cells)
        and training in rule.training
        and lengths in rule.lengths
        and all(size in allowed for size, allowed in zip(sizes, rule.sizes, strict=True))
    )


def infer(choices: Sequence[Choice], x: Sequences, state: State | None) -> tuple[Outputs, State]:
    """Run all layers of a net by kernel.c in one call, as Python between them takes longer.

    The state is that of all layers, [layers, batch, hidden], None for zeros.
    """
    cells = [choice.fast for choice in choices if choice.fast is not None]
    sizes = array("q", [x.shape[1]]) * x.shape[0]
    x = bptt.in_weight_dtype(x, cells[0].weights.U)
    return passes.infer(cells, sizes, x, state or ())


def infers_in_c(choices: Sequence[Choice]) -> bool:
    """Whether `infer` can run these layers: all in C, of the same sizes and parts of state."""
    first = choices[0].cell
    return all(
        choice.in_c
        and choice.cell.hidden_size == first.hidden_size
        and choice.cell.state_parts == first.state_parts
        for choice in choices
    )
