"""A random network to decode, and all its sequences, scored."""

import itertools

import torch
import torch.nn.functional as F

from core.cells import CELLS

START, END = 0, 1


class Model:
    """A random network whose logits depend on all that was written and on its first row."""

    def __init__(self, vocabulary=4, cell="rnn", batch=1, seed=0, hidden=6):
        torch.manual_seed(seed)
        self.words = torch.randn(vocabulary, 3, dtype=torch.float64) * 2
        self.cell = CELLS[cell](3, hidden, dtype=torch.float64)
        self.V = torch.randn(vocabulary, hidden, dtype=torch.float64) * 2
        self.bias = torch.zeros(vocabulary, dtype=torch.float64)
        h = torch.randn(batch, hidden, dtype=torch.float64)
        self.state = (h, torch.randn_like(h)) if cell == "lstm" else (h,)

    def row(self, index):
        """The state of a single row."""
        return tuple(part[index : index + 1] for part in self.state)

    def __call__(self, tokens, state):
        with torch.no_grad():
            h, state = self.cell(self.words[tokens], state)
            return h @ self.V.T + self.bias, state

    def log_p(self, tokens, state):
        """log p of a sequence, token by token."""
        total, last = 0.0, START
        for token in tokens:
            logits, state = self(torch.tensor([last]), state)
            total += F.log_softmax(logits[0], -1)[token].item()
            last = token
        return total


def exhaustive(model, state, length, penalty, forbidden=()):
    """All sequences there are, the best first: (score, tokens without end, finished)."""
    allowed = [token for token in range(len(model.V)) if token not in forbidden]
    words = [token for token in allowed if token != END]
    whole: list[tuple[int, ...]] = list(itertools.product(words, repeat=length))
    whole += [
        (*t, END)
        for n in range(length)
        for t in itertools.product(words, repeat=n)
        if END in allowed
    ]
    scored = [(model.log_p(t, state) / len(t) ** penalty, t) for t in whole]
    return [
        (s, t[:-1] if t[-1] == END else t, t[-1] == END)
        for s, t in sorted(scored, reverse=True)
        if s > -1e30
    ]
