"""An LSTM trained by gradients written out by hand; watch how far back they reach.

    uv run python examples/lstm_by_hand.py

Each input is a number and a mark; the target is the sum of the two marked numbers, up to 30 steps
back (the adding problem, Hochreiter & Schmidhuber 1997). Always answering 1 costs 0.167. The last
column, ||dE/dh_1|| / ||dE/dh_T||, says what is left of the gradient after 29 steps: the error falls
as it grows.
"""

import torch
from torch import Tensor

from core.cells import LSTMCell

TIME, BATCH, HIDDEN = 30, 64, 32


def backpropagate(cell: LSTMCell, V: Tensor, x: Tensor, d: Tensor) -> tuple[float, list[float]]:
    """Set all gradients of the mean of (V h_T - d)^2; return it, and ||dE/dh_t|| for t = T..1."""
    assert cell.b is not None
    h = c = torch.zeros(BATCH, HIDDEN)
    tape = []
    for x_t in x:  # slide 28
        i, f, g, o = (x_t @ cell.U.T + h @ cell.W.T + cell.b).chunk(4, -1)
        i, f, g, o = i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()
        tape.append((x_t, h, c, i, f, g, o))
        c = f * c + i * g
        h = o * c.tanh()
    difference = h @ V - d
    V.grad = 2 / BATCH * difference @ h
    dh = 2 / BATCH * difference[:, None] * V
    dc = torch.zeros_like(c)
    dU, dW, db = (torch.zeros_like(weight) for weight in cell.parameters())
    norms = []
    for x_t, h, c, i, f, g, o in reversed(tape):  # slide 26, for the LSTM
        norms.append(dh.norm().item())
        sigma_h = (f * c + i * g).tanh()
        dc = dc + dh * o * (1 - sigma_h**2)
        di, df, dg, do = dc * g, dc * c, dc * i, dh * sigma_h
        slopes = i * (1 - i), f * (1 - f), 1 - g**2, o * (1 - o)
        dz = torch.cat([di, df, dg, do], -1) * torch.cat(slopes, -1)
        dU += dz.T @ x_t
        dW += dz.T @ h
        db += dz.sum(0)
        dh = dz @ cell.W
        dc = dc * f
    cell.U.grad, cell.W.grad, cell.b.grad = dU, dW, db
    return difference.square().mean().item(), norms


@torch.no_grad()
def main(steps: int = 1000) -> float:
    """Train; return the mean error of the last 100 steps."""
    torch.manual_seed(0)
    cell = LSTMCell(2, HIDDEN, bias=True, forget_bias=1.0)
    V = torch.nn.Parameter(0.1 * torch.randn(HIDDEN))
    adam = torch.optim.Adam([*cell.parameters(), V], lr=5e-3)
    errors = []
    for step in range(steps):
        numbers = torch.rand(TIME, BATCH)
        marks = (torch.rand(TIME, BATCH).argsort(0) < 2).float()
        x, d = torch.stack([numbers, marks], -1), (numbers * marks).sum(0)
        error, norms = backpropagate(cell, V, x, d)
        adam.step()
        errors.append(error)
        if step % 100 == 99:
            recent = sum(errors[-100:]) / 100
            print(f"step {step + 1:5}  error {recent:.4f}  left {norms[-1] / norms[0]:.3f}")
    return sum(errors[-100:]) / 100


if __name__ == "__main__":
    main()
