"""One step of each cell, forward and back, written for preallocated buffers.

The equations are those of `core.cells`; here they run without autograd and leave on a tape exactly what the
way back reads. `core.engines.bptt` loops over them and holds the derivation.

A kernel has four methods. `buffers` allocates the tape: tensors [rows, ...] whose first holds the
preactivations and whose last holds h (a plain RNN needs only one, for both). `state` finds the state in a
tape. `step` finds U x_t + b in the first buffer and fills the rest. `step_back` turns d = dE/dstate_t into
the preactivation gradients `dz`, as the input product U x_t sees them (of the GRU, the recurrent product sees
`dq` in place of dn), and overwrites d with dE/dstate_{t-1}.
"""

import torch
from torch import Tensor

from core.cells import Cell, GRUCell, LSTMCell, RNNCell, State

Buffers = tuple[Tensor, ...]  # one [rows, width] each: a whole sequence or, split, one step


class RNNSteps:
    """h_t = sigma(U x_t + W h_{t-1})."""

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

    def step_back(
        self, tape: Buffers, before: State, d: State, W: Tensor, dz: Tensor, dq: Tensor
    ) -> None:
        """dz_t = dh_t sigma'(z_t); dh_{t-1} = dz_t W."""
        (h,), (dh,) = tape, d
        self.sigma.backward(dh, h, dz)
        torch.mm(dz, W, out=dh)


class LSTMSteps:
    """c_t = f c_{t-1} + i g; h_t = o sigma_h(c_t)."""

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

    def step_back(
        self, tape: Buffers, before: State, d: State, W: Tensor, dz: Tensor, dq: Tensor
    ) -> None:
        """dc_t += dh_t o sigma_h'; each gate gets dc_t (o: dh_t) times its partner; dc_{t-1} = dc_t f."""
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
    """n = sigma_c(U_n x_t + r q) with q = W_n h_{t-1} + b_W; h_t = (1 - z) n + z h_{t-1}."""

    def __init__(self, cell: GRUCell):
        self.sigma_g = cell.sigma_g
        self.sigma_c = cell.sigma_c

    def buffers(self, rows: int, W: Tensor) -> Buffers:
        """Gates r z n, q, h."""
        return W.new_empty(rows, W.shape[0]), *(W.new_empty(rows, W.shape[1]) for _ in range(2))

    def state(self, tape: Buffers) -> State:
        """(h,)."""
        return tape[-1:]

    def step(self, tape: Buffers, state: State, W_T: Tensor, b_W: Tensor | None) -> None:
        """Fill the tape."""
        (gates, q, h), (h_before,) = tape, state
        r_z, n = gates.split([2 * h.shape[1], h.shape[1]], 1)
        product = torch.mm(
            h_before, W_T, out=torch.empty_like(gates)
        )  # out=: no autocast to half precision
        a_r_z, a_n = product.split([2 * h.shape[1], h.shape[1]], 1)
        self.sigma_g.into(r_z.add_(a_r_z), r_z)
        r, z = r_z.chunk(2, 1)
        q.copy_(a_n) if b_W is None else torch.add(a_n, b_W, out=q)
        self.sigma_c.into(n.addcmul_(r, q), n)
        torch.lerp(n, h_before, z, out=h)

    def step_back(
        self, tape: Buffers, before: State, d: State, W: Tensor, dz: Tensor, dq: Tensor
    ) -> None:
        """dn = dh (1 - z), dq = r dn sigma_c', dr = q dn sigma_c', dz = dh (h_{t-1} - n)."""
        (gates, q, _), (h_before,), (dh,) = tape, before, d
        r, z, n = gates.chunk(3, 1)
        dr, du, dn = dz.chunk(3, 1)  # du: the gradient of the update gate z
        torch.mul(dh, h_before - n, out=du)
        dh_carried = dh * z
        self.sigma_c.backward(torch.sub(dh, dh_carried, out=dn), n, dn)
        torch.mul(dn, q, out=dr)
        hidden2 = 2 * n.shape[1]
        self.sigma_g.backward(dz[:, :hidden2], gates[:, :hidden2], dz[:, :hidden2])
        torch.mul(dn, r, out=dq)
        torch.addmm(dh_carried, dq, W[hidden2:], out=dh).addmm_(dz[:, :hidden2], W[:hidden2])


Steps = RNNSteps | LSTMSteps | GRUSteps
STEPS: dict[type[Cell], type[Steps]] = {RNNCell: RNNSteps, LSTMCell: LSTMSteps, GRUCell: GRUSteps}


def steps_of(cell: Cell) -> Steps | None:
    """The steps of exactly this class of cells, or None: a subclass may have other equations."""
    made = STEPS.get(type(cell))
    return None if made is None else made(cell)  # type: ignore[arg-type]
