"""One step of each cell, forward and backward, on preallocated buffers; and which cells have them.

The equations are those of `core.cells`. Here they run without autograd and write to a tape exactly
what the backward pass reads. `core.engines.bptt` holds the derivation; `core.engines.tape` loops
over the steps.

A class of steps has four methods and the attribute `has_dq`. `buffers` allocates the tape: tensors
[rows, width], of which the first holds the preactivations and the last h (the plain RNN needs only
one, for both). `state` finds the state in the tape. `step` finds U x_t + b in the first buffer and
fills the others. `backward_step` turns d = dE/dstate_t into the preactivation gradients `dz`, as
the input product U x_t sees them, and overwrites d with dE/dstate_{t-1}. With `has_dq` the
recurrent product of the last gate sees `dq` in place of the last part of dz, as the GRU's candidate
does.

To make a cell of your own fast, write such a class and add it to `STEPS`. Its recurrent products
must be W_k h_{t-1}.
"""

from typing import ClassVar, NamedTuple

import torch
from torch import Tensor
from torch.nn.modules import module as torch_module
from torch.nn.utils import parametrize

from core.activations import Activation
from core.base_cell import Cell, State
from core.cells import GRUCell, LSTMCell, RNNCell
from core.engines.products import Weights

Buffers = tuple[Tensor, ...]  # each [rows, width]: a whole sequence or, after a split, one step


class RNNSteps:
    """h_t = sigma(U x_t + W h_{t-1})."""

    has_dq: ClassVar[bool] = False

    def __init__(self, cell: RNNCell):
        self.sigma = cell.sigma

    def buffers(self, rows: int, W: Tensor) -> Buffers:
        """One buffer: h takes the place of its preactivation."""
        return (W.new_empty(rows, W.shape[1]),)

    def state(self, tape: Buffers) -> State:
        """(h,)."""
        return tape

    def step(self, tape: Buffers, state: State, W_T: Tensor, b_W: Tensor | None) -> None:
        """Fill the tape."""
        (z,), (h,) = tape, state
        z.addmm_(h, W_T)
        self.sigma.into(z, z)

    def backward_step(
        self, tape: Buffers, before: State, d: State, W: Tensor, dz: Tensor, dq: Tensor
    ) -> None:
        """dz_t = dh_t sigma'(z_t); dh_{t-1} = dz_t W."""
        (h,), (dh,) = tape, d
        self.sigma.backward(dh, h, dz)
        torch.mm(dz, W, out=dh)


class LSTMSteps:
    """c_t = f c_{t-1} + i g; h_t = o sigma_h(c_t)."""

    has_dq: ClassVar[bool] = False

    def __init__(self, cell: LSTMCell):
        self.sigma_g = cell.sigma_g
        self.sigma_c = cell.sigma_c
        self.sigma_h = cell.sigma_h

    def buffers(self, rows: int, W: Tensor) -> Buffers:
        """Gates i f g o, c, sigma_h(c), h."""
        return W.new_empty(rows, W.shape[0]), *(W.new_empty(rows, W.shape[1]) for _ in range(3))

    def state(self, tape: Buffers) -> State:
        """(h, c)."""
        return tape[-1], tape[1]

    def step(self, tape: Buffers, state: State, W_T: Tensor, b_W: Tensor | None) -> None:
        """Fill the tape."""
        (gates, c, s, h), (h_before, c_before) = tape, state
        gates.addmm_(h_before, W_T)
        i_f, g, o = gates.split([2 * h.shape[1], h.shape[1], h.shape[1]], 1)
        self.sigma_g.into(i_f, i_f)
        self.sigma_c.into(g, g)
        self.sigma_g.into(o, o)
        i, f = i_f.chunk(2, 1)
        torch.mul(f, c_before, out=c).addcmul_(i, g)
        torch.mul(o, self.sigma_h.into(c, s), out=h)

    def backward_step(
        self, tape: Buffers, before: State, d: State, W: Tensor, dz: Tensor, dq: Tensor
    ) -> None:
        """dc_t += dh_t o sigma_h'; gates: dc_t (o: dh_t) times the partner; dc_{t-1} = dc_t f."""
        (gates, _, s, _), (_, c_before), (dh, dc) = tape, before, d
        i, f, g, o = gates.chunk(4, 1)
        di, df, dg, do = dz.chunk(4, 1)
        ds = dh * o
        dc += self.sigma_h.backward(ds, s, ds)
        torch.mul(dc, g, out=di)
        torch.mul(dc, c_before, out=df)
        torch.mul(dc, i, out=dg)
        torch.mul(dh, s, out=do)
        dc *= f
        d_i_f, i_f = dz[:, : 2 * i.shape[1]], gates[:, : 2 * i.shape[1]]
        self.sigma_g.backward(d_i_f, i_f, d_i_f)
        self.sigma_c.backward(dg, g, dg)
        self.sigma_g.backward(do, o, do)
        torch.mm(dz, W, out=dh)


class GRUSteps:
    """n = sigma_c(U_n x_t + r q) with q = W_n h_{t-1} + b_W; h_t = (1 - u) n + u h_{t-1}.

    As in `core.engines.bptt`, u is the update gate, which is z in `core.cells`.
    """

    has_dq: ClassVar[bool] = True

    def __init__(self, cell: GRUCell):
        self.sigma_g = cell.sigma_g
        self.sigma_c = cell.sigma_c

    def buffers(self, rows: int, W: Tensor) -> Buffers:
        """Gates r u n, q, h."""
        return W.new_empty(rows, W.shape[0]), *(W.new_empty(rows, W.shape[1]) for _ in range(2))

    def state(self, tape: Buffers) -> State:
        """(h,)."""
        return tape[-1:]

    def step(self, tape: Buffers, state: State, W_T: Tensor, b_W: Tensor | None) -> None:
        """Fill the tape."""
        (gates, q, h), (h_before,) = tape, state
        r_u, n = gates.split([2 * h.shape[1], h.shape[1]], 1)
        # With `out`, autocast does not take half precision.
        product = torch.mm(h_before, W_T, out=torch.empty_like(gates))
        a_r_u, a_n = product.split([2 * h.shape[1], h.shape[1]], 1)
        self.sigma_g.into(r_u.add_(a_r_u), r_u)
        r, u = r_u.chunk(2, 1)
        if b_W is None:
            q.copy_(a_n)
        else:
            torch.add(a_n, b_W, out=q)
        self.sigma_c.into(n.addcmul_(r, q), n)
        torch.lerp(n, h_before, u, out=h)

    def backward_step(
        self, tape: Buffers, before: State, d: State, W: Tensor, dz: Tensor, dq: Tensor
    ) -> None:
        """As derived in `core.engines.bptt`; dr, du and dn end as those of preactivations."""
        (gates, q, _), (h_before,), (dh,) = tape, before, d
        r, u, n = gates.chunk(3, 1)
        dr, du, dn = dz.chunk(3, 1)
        torch.mul(dh, h_before - n, out=du)
        dh_carried = dh * u
        self.sigma_c.backward(torch.sub(dh, dh_carried, out=dn), n, dn)
        torch.mul(dn, q, out=dr)
        hidden2 = 2 * n.shape[1]
        self.sigma_g.backward(dz[:, :hidden2], gates[:, :hidden2], dz[:, :hidden2])
        torch.mul(dn, r, out=dq)
        torch.addmm(dh_carried, dq, W[hidden2:], out=dh).addmm_(dz[:, :hidden2], W[:hidden2])


Steps = RNNSteps | LSTMSteps | GRUSteps
STEPS: dict[type[Cell], type[Steps]] = {
    RNNCell: RNNSteps,
    LSTMCell: LSTMSteps,
    GRUCell: GRUSteps,
}


class FastCell(NamedTuple):
    """A cell with its weights and steps, looked up once a call for `bptt` and `fused`."""

    cell: Cell
    steps: Steps
    weights: Weights


def fast_cell(cell: Cell) -> FastCell | None:
    """Return the cell with its steps and weights, or None if only the reference can run it.

    Steps belong to exactly one class, as a subclass may have other equations; so may a cell whose
    `forward` or `initial_state` was assigned on the instance. An activation that is a plain
    function has no known derivative. Weights of other shapes than the class declares, which torch
    may broadcast, are left to the reference too: the compiled kernel reads memory by the declared
    shapes.
    """
    kind = type(cell)
    if kind not in STEPS and parametrize.is_parametrized(cell):
        kind = parametrize.type_before_parametrizations(cell)
    assigned = {"forward", "initial_state"} & vars(cell).keys()
    if kind not in STEPS or assigned:
        return None
    weights = weights_of(cell)
    steps = STEPS[kind](cell)  # type: ignore[arg-type]
    named = all(type(sigma) is Activation for sigma in vars(steps).values())
    if not named or not _as_declared(cell, weights):
        return None
    return FastCell(cell, steps, weights)


def no_steps(cell: Cell, engine: str) -> str:
    """The message for a cell that this engine cannot run."""
    return (
        f'engine="{engine}" cannot run this {type(cell).__name__}: it has no steps in '
        "core.engines.steps, or its forward, its activations or the shapes of its weights are "
        'not those of its class; engine="auto" takes the reference'
    )


def weights_of(cell: Cell) -> Weights:
    """Return a cell's weights."""
    parameters = cell._parameters  # read directly: `nn.Module.__getattr__` takes microseconds
    found = [
        parameters[name] if name in parameters else getattr(cell, name) for name in Weights._fields
    ]
    return Weights(*found)  # type: ignore[arg-type]


def _as_declared(cell: Cell, weights: Weights) -> bool:
    U, W, b, b_W = weights
    hidden = cell.hidden_size
    rows = cell.gates * hidden
    return (
        U.shape == (rows, cell.input_size)
        and W.shape == (rows, hidden)
        and (b is None or b.shape == (rows,))
        and (b_W is None or (cell.has_recurrent_bias and b_W.shape == (hidden,)))
    )


def has_hooks(cell: Cell) -> bool:
    """Return whether calling the cell runs hooks; only the reference calls it."""
    return bool(
        cell._forward_hooks
        or cell._forward_pre_hooks
        or cell._backward_hooks
        or cell._backward_pre_hooks
        or torch_module._global_forward_hooks
        or torch_module._global_forward_pre_hooks
        or torch_module._global_backward_hooks
        or torch_module._global_backward_pre_hooks
    )
