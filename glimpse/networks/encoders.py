"""Convolutional nets that read patches, and a coarse view of the whole image.

`ConvGlimpseNetwork` replaces the linear layer that reads the patches in the paper's glimpse
network: one small net, shared by the scales, since a wider patch shows the same things smaller.
`ContextNetwork` reads a coarse view of the whole image, to tell a locator where to begin (Ba, Mnih,
Kavukcuoglu 2015, Multiple Object Recognition with Visual Attention). The recurrent state never sees
that view: the classifier would learn to do without glimpses. (With `absence`, two numbers of the
map that begins with it reach the logits: see `locators.py`.)

Batch normalisation makes these nets learn in minutes. Under torchrun each process keeps the
statistics of its own rows; those of the first process are saved.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from glimpse.config import Config
from glimpse.networks.glimpse_network import GlimpseNetwork
from glimpse.sensor import Batch

CONTEXT_FILTERS = 32
FEATURES = 8  # rows and columns of a patch's features, at most


def convolution(
    inputs: int, outputs: int, size: int = 3, *, stride: int = 1, dilation: int = 1
) -> nn.Sequential:
    """Return a convolution that keeps rows and columns, normalised over the batch, and a relu."""
    padding = size // 2 * dilation
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, size, stride, padding, dilation, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


class ConvGlimpseNetwork(GlimpseNetwork):
    """Encodes what was seen and where, in one vector, with a convolutional net for the patches."""

    where_range = None

    def make_reader(self, channels: int, config: Config) -> int:
        """Make the convolutions; return how many features they give."""
        filters = config.filters
        large = config.patch >= 4 * FEATURES
        self.convolutions = nn.Sequential(
            convolution(channels, filters // 4, 5, stride=2 if large else 1),
            convolution(filters // 4, filters // 2),
            nn.MaxPool2d(2, ceil_mode=True),
            convolution(filters // 2, filters),
            convolution(filters, filters),
        )
        self.pool = nn.MaxPool2d(2, ceil_mode=True)
        self.dropout = nn.Dropout(config.dropout)
        rows = (config.patch + 1) // 2 if large else config.patch
        pooled = ((rows + 1) // 2 + 1) // 2
        return config.scales * filters * pooled**2

    def features(
        self, patches: Float[Tensor, "batch channels scales size size"]
    ) -> Float[Tensor, "batch scales filters rows rows"]:
        """Return the features of every patch, each read by the same net."""
        images = patches.transpose(1, 2).flatten(0, 1)
        return self.convolutions(images - 0.5).unflatten(0, (-1, patches.shape[2]))

    def flatten(
        self, features: Float[Tensor, "batch scales filters rows rows"]
    ) -> Float[Tensor, "batch features"]:
        """Return the largest of every four neighbours."""
        pooled = self.pool(features.flatten(0, 1)).unflatten(0, features.shape[:2])
        return self.dropout(pooled.flatten(1))


class ContextNetwork(nn.Module):
    """Reads a view of the whole image in `cells` x `cells` cells, each the mean of its pixels."""

    def __init__(self, channels: int, cells: int):
        super().__init__()
        self.cells = cells
        whole = CONTEXT_FILTERS
        half = whole // 2
        self.convolutions = nn.Sequential(
            convolution(channels, half),
            convolution(half, whole, stride=2),
            convolution(whole, whole),
            convolution(whole, whole, dilation=2),
            convolution(whole, whole, dilation=2),
        )

    def forward(self, images: Batch) -> Float[Tensor, "batch filters rows rows"]:
        """Return features of half as many rows as the view has cells."""
        return self.convolutions(coarse_view(images, self.cells) - 0.5)


def coarse_view(images: Batch, cells: int) -> Float[Tensor, "batch channels cells cells"]:
    """Return the means of `cells` x `cells` parts of each image; bytes are read as value / 255."""
    if not isinstance(images, Tensor):
        return torch.cat([coarse_view(image[None], cells) for image in images])
    pixels = images if images.is_floating_point() else images.float() / 255
    if torch.compiler.is_exporting():
        # ONNX pools images of one size only; products with matrices take any.
        rows = _averages(cells, pixels.shape[2])
        columns = _averages(cells, pixels.shape[3])
        return rows @ pixels @ columns.T
    return F.adaptive_avg_pool2d(pixels, cells)


def _averages(cells: int, size: int) -> Float[Tensor, "cells size"]:
    """Return the matrix whose product with `size` pixels is the means of `cells` parts of them.

    The parts are those of `adaptive_avg_pool2d`: they overlap where `size` is no multiple.
    """
    pixels = torch.arange(size)
    parts = torch.arange(cells)[:, None]
    first = parts * size // cells
    end = ((parts + 1) * size + cells - 1) // cells
    inside = (first <= pixels) & (pixels < end)
    return inside / (end - first)
