"""The two nets that add: one bit by bit with three units, one all bits at once (slides 12-15).

    recurrent       h_t = sigma(U x_t + W h_{t-1} + b),  h_0 = 0
                    p(bit t of the sum is 1) = sigmoid(V h_t + c)
    feed-forward    p(all bits) = sigmoid(V relu(U x + b) + c),  x: all bits of both numbers

x_t holds one bit of each number, the least significant first. The feed-forward net has other
weights for every bit: what it learns about one bit it does not know about the next, and the number
of bits is fixed in advance.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from core.losses import squared_error
from core.recurrent import Recurrent
from sequences.addition.config import Config

Pairs = Int[Tensor, "time batch 2"]  # as in datasets/transducer.py
Sums = Int[Tensor, "time batch"]


class Adder(nn.Module):
    """The recurrent net: it prints one bit of the sum at every step."""

    def __init__(self, config: Config):
        super().__init__()
        self.recurrent = Recurrent("rnn", 2, config.hidden, bias=True, activation=config.activation)
        self.V = nn.Linear(config.hidden, 1)

    def forward(self, pairs: Pairs) -> Float[Tensor, "time batch"]:
        """Return the logits of the sum's bits, above 0 for a 1."""
        h, _ = self.recurrent(pairs.float())
        return self.V(h)[..., 0]

    @torch.no_grad()
    def activity(self, pairs: Pairs) -> Float[Tensor, "time batch hidden"]:
        """Return h_t at every step."""
        return self.recurrent(pairs.float())[0]


class FeedForward(nn.Module):
    """The net of a fixed width: shorter numbers are padded with zeros, longer ones do not fit."""

    def __init__(self, config: Config):
        super().__init__()
        self.width = config.width
        self.U = nn.Linear(2 * config.width, config.feedforward)
        self.V = nn.Linear(config.feedforward, config.width + 1)

    def forward(self, pairs: Pairs) -> Float[Tensor, "{self.width}+1 batch"]:
        """Return the logits of all width + 1 bits, whatever the length of the numbers.

        Raises:
            ValueError: the numbers have more than `width` bits.
        """
        if len(pairs) > self.width + 1:
            raise ValueError(f"numbers of {len(pairs) - 1} bits do not fit into {self.width}")
        x = F.pad(pairs[: self.width], (0, 0, 0, 0, 0, max(0, self.width - len(pairs))))
        return self.V(F.relu(self.U(x.float().permute(1, 0, 2).flatten(1)))).t()


class Learner(nn.Module):
    """Both nets, and their errors.

    From some initial weights three units learn nothing. So there are several candidates, which
    share the batches and nothing else: the gradient of the sum of their errors is, for each
    candidate, that of its own error.
    """

    def __init__(self, config: Config):
        super().__init__()
        self.error = config.error
        self.candidates = nn.ModuleList(Adder(config) for _ in range(config.candidates))
        self.feedforward = FeedForward(config)

    def forward(
        self, pairs: Pairs, sums: Sums
    ) -> tuple[Float[Tensor, ""], dict[str, Float[Tensor, ""]]]:
        """Learn from a batch; return the loss and what to log."""
        errors = torch.stack([self._error(adder(pairs), sums) for adder in self.candidates])
        wide = self.feedforward(pairs)
        feedforward = self._error(wide, F.pad(sums, (0, 0, 0, len(wide) - len(sums))))
        return errors.sum() + feedforward, {"recurrent": errors.min(), "feed-forward": feedforward}

    def _error(self, logits: Float[Tensor, "time batch"], sums: Sums) -> Float[Tensor, ""]:
        if self.error == "squared_error":
            return squared_error(logits.sigmoid()[..., None], sums.float()[..., None])
        return F.binary_cross_entropy_with_logits(logits, sums.float())


@torch.no_grad()
def margins(learner: Learner, pairs: Pairs, sums: Sums) -> Float[Tensor, " candidates"]:
    """Return each candidate's margin: its smallest logit, with the sign of the right bit.

    The margin predicts better than the mean error which candidate adds long numbers: a net whose
    carry fades a little at each step is right about short ones, with a smaller margin where the
    carry goes far.
    """
    return torch.stack([(adder(pairs) * (2 * sums - 1)).min() for adder in learner.candidates])
