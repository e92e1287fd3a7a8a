"""Training the last blocks of an encoder on cached features of the blocks before them.

trunk = Trunk(encoder, last=5)      # stays as it is; its outputs are cached
tail = Tail(trunk)                  # a copy of the last blocks, to be trained
features = tail(trunk(pixels))      # [batch, cells + 1, channels]
"""

import copy

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from core.errors import InputError
from vision.encoder import Encoder
from vision.lite import Lite


class Trunk:
    """The blocks of an encoder that stay as they are where its last ones, a `Tail`, are trained.

    Called with pixels, it gives what a tail reads, in one row a picture, which is cached.

    Args:
        encoder: the whole encoder as it is before training: lite0, lite1 or lite2.
        last: the number of blocks that are trained.

    Raises:
        InputError: the encoder has no blocks, or not that many.
    """

    def __init__(self, encoder: Encoder, last: int):
        if not isinstance(encoder.network, Lite):
            raise InputError(f"{encoder.name} has no blocks to train alone: choose lite0 to lite2")
        blocks = len(encoder.network.blocks)
        if not 1 <= last < blocks:
            raise InputError(f"{encoder.name} has {blocks} blocks: train 1 to {blocks - 1} of them")
        self.encoder = encoder
        self.network = encoder.network
        self.last = last
        self.name = f"{encoder.name}-trunk-{last}"
        self.preprocessing = encoder.preprocessing
        self.mean = encoder.mean

    def __call__(self, pixels: UInt8[Tensor, "batch 3 size size"]) -> Float[Tensor, "batch values"]:
        """Return the last grid before the tail, then the mean of the whole encoder's features."""
        grid = self.network.begin(self.encoder.normalised(pixels), self.last)
        features = self.network.end(grid, self.last)
        return torch.cat((grid.flatten(1), features.mean((2, 3))), 1)

    @property
    def fingerprint(self) -> str:
        """A hash of all that its output depends on."""
        return self.encoder.fingerprint


class Tail(nn.Module):
    """A copy of an encoder's last blocks, to be trained.

    Args:
        trunk: what stands before it.
    """

    def __init__(self, trunk: Trunk):
        super().__init__()
        network = trunk.network
        kept = len(network.blocks) - trunk.last
        self.blocks = copy.deepcopy(network.blocks[kept:])
        self.head = copy.deepcopy(network.head)
        with torch.no_grad():
            size = trunk.preprocessing.size
            black = torch.zeros(1, 3, size, size, device=trunk.mean.device)
            self.shape = network.begin(black, trunk.last).shape[1:]

    def forward(
        self, given: Float[Tensor, "batch values"]
    ) -> Float[Tensor, "batch cells+1 channels"]:
        """Return the features of pictures from what their trunk gave.

        The last row of each is no cell: it is the mean of the features that the encoder gave before
        it was trained, which its classifier reads.
        """
        values = self.shape.numel()
        grid = given[:, :values].to(self.head.conv.weight.dtype).unflatten(1, self.shape)
        x = self.blocks(grid.contiguous(memory_format=torch.channels_last))
        features = F.relu6(self.head(x)).flatten(2).transpose(1, 2)
        return torch.cat((features, given[:, None, values:].to(features.dtype)), 1)
