"""The labeller: a label for every frame (synced many-to-many, slide 18).

    a_t = relu(A encoder(frame_t))              what frame t shows
    h_t = cell(a_t, h_{t-1})                    what was seen so far; both ways: and what comes
    p(y_t) = softmax(V h_t)                     or a sigmoid for each behaviour that can occur

In one direction, a net that reads a stream frame by frame carries the same state as one that is
given the whole sequence.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, Shaped, UInt8
from torch import Tensor, nn

from core.base_cell import State
from core.recurrent import with_biases
from core.training import distributed
from video.config import Config

LEAST_DEVIATION = 0.05  # added to that of a feature, so that one that hardly changes stays small
LARGEST_CHANGE = 4.0  # of log p between two frames, that the smoothing term counts


class Labeller(nn.Module):
    """From the encoder's features of each frame to the logits of labels.

    Args:
        config: sizes and cell.
        features: numbers that describe a frame.
        classes: labels.
        multi: whether several labels can occur at once; then `thresholds` has the probability from
            which on each does.
    """

    thresholds: Tensor
    mean: Tensor
    deviation: Tensor

    def __init__(self, config: Config, features: int, classes: int, *, multi: bool = False):
        super().__init__()
        self.config = config
        self.multi = multi
        if config.standardises:
            self.register_buffer("mean", torch.zeros(features))
            self.register_buffer("deviation", torch.ones(features))
        self.frame = nn.Linear(features, config.frame)
        self.recurrent = None
        outputs = config.frame
        if config.cell != "none":
            self.recurrent = with_biases(
                config.cell,
                config.frame,
                config.hidden,
                layers=config.layers,
                dropout=config.dropout,
                bidirectional=config.bidirectional,
            )
            outputs = self.recurrent.output_size
        self.V = nn.Linear(outputs, classes)
        if multi:
            self.register_buffer("thresholds", torch.full((classes,), 0.5))

    def forward(
        self,
        features: Float[Tensor, "time batch features"],
        state: State | None = None,
        lengths: Int[Tensor, " batch"] | None = None,
    ) -> tuple[Float[Tensor, "time batch classes"], State | None]:
        """Return the logits of each frame's labels, and the state to go on from.

        With lengths, what lies beyond a clip's length has no influence: it would on what reads
        from the end.
        """
        dropout = self.config.dropout
        x = features.to(self.frame.weight.dtype)
        if self.config.standardises:
            x = (x - self.mean) / self.deviation
        a = F.relu(self.frame(x))
        a = F.dropout(a, dropout, self.training)
        if self.recurrent is None:
            return self.V(a), state
        h, state = self.recurrent(a, state, lengths)
        return self.V(F.dropout(h, dropout, self.training)), state

    def standardise(self, features: Shaped[Tensor, "frames features"]) -> None:
        """Set mean and deviation to those of the features of the training clips."""
        x = features.float()
        self.mean.copy_(x.mean(0))
        self.deviation.copy_(x.std(0) + LEAST_DEVIATION)

    def log_p(self, logits: Float[Tensor, "*batch classes"]) -> Float[Tensor, "*batch classes"]:
        """Return the log-probability of each label: exclusive ones sum to 1."""
        if self.multi:
            return F.logsigmoid(logits)
        return logits.log_softmax(-1)


def encode(
    encoder: nn.Module, pixels: UInt8[Tensor, "frames channels size size"], *, whole: bool
) -> Float[Tensor, "frames features"]:
    """Return the features of frames of three channels, or of six: motion follows the frame."""
    pictures = pixels.split(3, 1)
    return torch.cat([describe(encoder(picture), whole=whole) for picture in pictures], -1)


def describe(
    grid: Float[Tensor, "frames cells channels"], *, whole: bool
) -> Float[Tensor, "frames features"]:
    """Return the `whole` of an encoder's grid, or the mean and the maximum of its cells.

    A small thing fills few of the cells: it shows in the maximum and is lost in the mean.
    """
    if whole:
        return grid.flatten(1)
    return torch.cat((grid.mean(1), grid.amax(1)), -1)


def loss(
    logits: Float[Tensor, "time batch classes"],
    labels: Int[Tensor, "time batch"],
    weights: Float[Tensor, " classes"],
    smooth: float,
) -> Float[Tensor, ""]:
    """Weighted cross-entropy, and the smoothing term of MS-TCN (Farha and Gall 2019, eqs. 7-9).

    That term is the mean square of the change of log p between two frames, truncated at 4:
    neighbours have the same label nearly always, and where they have not the change should be
    free. Labels below 0 are padding or were not scored. Where many processes share a batch, the
    mean of their losses is that of the batch, however long each one's clips are.
    """
    log_p = F.log_softmax(logits, -1)
    valid = labels >= 0
    targets = labels.clamp(min=-1).flatten()
    wrong = F.nll_loss(log_p.flatten(0, 1), targets, weights, ignore_index=-1, reduction="sum")
    total = weights[labels.clamp(min=0)].mul(valid).sum()
    cross_entropy = wrong / distributed.all_reduce_sum(total).clamp(min=1e-8)
    both = valid[1:] & valid[:-1]
    smoothing = (_changes(log_p).mean(-1) * both).sum()
    smoothing = smoothing / distributed.all_reduce_sum(both.sum()).clamp(min=1)
    return distributed.world_size() * (cross_entropy + smooth * smoothing)


def behaviours_loss(
    logits: Float[Tensor, "time batch classes"],
    labels: Int[Tensor, "time batch classes"],
    weights: Float[Tensor, "2 classes"],
    smooth: float,
) -> Float[Tensor, ""]:
    """The loss of several behaviours at once: a binary cross-entropy for each.

    The smoothing sees the changes of log p of occurrence only, not those of log(1 - p): going from
    0.001 to 0.01 costs the square of 2.3 nats, from 0.99 to 0.999 almost nothing. So of sure
    frames it is mainly those without the behaviour that are kept smooth.

    The weights are those of frames in which each behaviour is absent (row 0) and occurs (row 1).
    """
    valid = labels >= 0
    occurs = labels.clamp(min=0)
    weight = torch.where(occurs == 1, weights[1], weights[0]) * valid
    wrong = F.binary_cross_entropy_with_logits(logits, occurs.float(), weight, reduction="sum")
    cross_entropy = wrong / distributed.all_reduce_sum(weight.sum()).clamp(min=1e-8)
    both = valid[1:] & valid[:-1]
    smoothing = (_changes(F.logsigmoid(logits)) * both).sum()
    smoothing = smoothing / distributed.all_reduce_sum(both.sum()).clamp(min=1)
    return distributed.world_size() * (cross_entropy + smooth * smoothing)


def _changes(log_p: Float[Tensor, "time batch classes"]) -> Float[Tensor, "time_1 batch classes"]:
    """Return the truncated square of what changes from each frame to the next."""
    return (log_p[1:] - log_p[:-1].detach()).abs().clamp(max=LARGEST_CHANGE) ** 2
