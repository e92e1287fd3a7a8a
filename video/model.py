"""The labeller: a label for every frame (synced many-to-many, slide 17).

    a_t = relu(A encoder(frame_t))              what frame t shows
    h_t = core(a_t, h_{t-1})                    what was seen so far; both ways: and what comes
    p(y_t) = softmax(V h_t)

In one direction, a net that reads a stream frame by frame carries the same state as one that is given the whole
sequence.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from core.cells import State
from core.recurrent import with_biases
from core.training import distributed
from video.config import Config


class Labeller(nn.Module):
    """From what the encoder sees in each frame to the scores of labels."""

    def __init__(self, config: Config, features: int, classes: int):
        super().__init__()
        self.config = config
        self.frame = nn.Linear(features, config.frame)
        self.recurrent = None
        if config.cell != "none":
            self.recurrent = with_biases(
                config.cell,
                config.frame,
                config.hidden,
                layers=config.layers,
                dropout=config.dropout,
                bidirectional=config.bidirectional,
            )
        self.V = nn.Linear(self.recurrent.output_size if self.recurrent else config.frame, classes)

    def forward(
        self,
        features: Float[Tensor, "time batch features"],
        state: State | None = None,
        lengths: Int[Tensor, " batch"] | None = None,
    ) -> tuple[Float[Tensor, "time batch classes"], State | None]:
        """Return the scores of each frame's labels, and the state to go on from.

        With lengths, what lies beyond a clip's length has no influence: it would on what reads from the end.
        """
        dropout = self.config.dropout
        a = F.dropout(
            F.relu(self.frame(features.to(self.frame.weight.dtype))), dropout, self.training
        )
        if self.recurrent is None:
            return self.V(a), state
        h, state = self.recurrent(a, state, lengths)
        return self.V(F.dropout(h, dropout, self.training)), state


def describe(
    grid: Float[Tensor, "frames cells channels"], *, whole: bool
) -> Float[Tensor, "frames features"]:
    """Return what an encoder's grid says of each frame: the `whole` of it, or the mean and the maximum of the cells.

    A small thing fills few of the cells: it shows in the maximum and is lost in the mean.
    """
    return grid.flatten(1) if whole else torch.cat((grid.mean(1), grid.amax(1)), -1)


def loss(
    logits: Float[Tensor, "time batch classes"],
    labels: Int[Tensor, "time batch"],
    weights: Float[Tensor, " classes"],
    smooth: float,
) -> Float[Tensor, ""]:
    """Cross-entropy, weighted by class, and the truncated smoothing term of MS-TCN (Farha and Gall 2019, eqs. 7-9).

    That is the mean square of what log p changes by between two frames, as far as it is below 4: neighbours have
    the same label nearly always, and where they have not the change should be free. Labels below 0 are padding.
    Where many processes share a batch, the mean of their losses is that of the batch, however long each one's
    clips are.
    """
    log_p = F.log_softmax(logits, -1)
    right = F.nll_loss(
        log_p.flatten(0, 1), labels.flatten(), weights, ignore_index=-1, reduction="sum"
    )
    valid = labels >= 0
    both = valid[1:] & valid[:-1]
    change = (log_p[1:] - log_p[:-1].detach()).abs().clamp(max=4.0) ** 2
    seen, pairs = weights[labels.clamp(min=0)].mul(valid).sum(), both.sum()
    cross_entropy = right / distributed.total(seen).clamp(min=1e-8)
    smoothing = (change.mean(-1) * both).sum() / distributed.total(pairs).clamp(min=1)
    return distributed.world() * (cross_entropy + smooth * smoothing)
