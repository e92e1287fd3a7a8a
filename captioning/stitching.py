"""Another encoder for a trained decoder: its first layer is fitted to say the same of new cells.

The layer V_0 of a trained captioner reads cells f of its encoder's grid. For cells g of another
encoder, the layer that is nearest to it on training pictures is (Lenc and Vedaldi 2015)

    V_1 = argmin_V  sum over cells |V g - V_0 f|^2 + r |V|^2

where a grid of V_0 f of another size is interpolated to that of g. Training then goes on from a
captioner that already sees something.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from captioning.sources import Source
from core.training import batches

PICTURES = 1500  # whose cells are fitted, spread over all
BATCH = 50
RIDGE = 1e-3  # r, as a share of the mean square of a channel


@torch.no_grad()
def stitch(
    layer: nn.Linear,
    features: Callable[[Tensor], Float[Tensor, "images cells channels"]],
    source: Source,
    old: nn.Linear,
    old_source: Source,
) -> None:
    """Fit a layer to features of the same pictures as another layer reads.

    Args:
        layer: V_1, which is set.
        features: makes features of what `source` gives.
        source: the pictures as the new encoder sees them.
        old: V_0.
        old_source: features of the same pictures of the encoder that it was trained on.
    """
    chosen = range(0, len(source), max(1, len(source) // PICTURES))
    channels, outputs = layer.in_features, layer.out_features
    # The last row and column are those of the constant 1, for the bias.
    square = torch.zeros(channels + 1, channels + 1, device=layer.weight.device)
    product = torch.zeros(channels + 1, outputs, device=layer.weight.device)
    for rows in batches.in_order(len(chosen), BATCH):
        pictures = chosen[rows.start : rows.stop]
        cells = features(source(pictures)).to(layer.weight.dtype)
        targets = resized(old(old_source(pictures).to(old.weight)), cells.shape[1])
        cells = F.pad(cells, (0, 1), value=1.0).flatten(0, 1)
        square += cells.T @ cells
        product += cells.T @ targets.flatten(0, 1)
    ridge = RIDGE * square.diagonal()[:-1].mean()
    square.diagonal()[:-1].add_(ridge)
    fitted = torch.linalg.solve(square.double(), product.double()).to(layer.weight.dtype)
    layer.weight.copy_(fitted[:-1].T)
    layer.bias.copy_(fitted[-1])


def resized(
    grids: Float[Tensor, "images cells channels"], cells: int
) -> Float[Tensor, "images wanted channels"]:
    """Return square grids, row by row, interpolated to another number of cells."""
    side = round(grids.shape[1] ** 0.5)
    wanted = round(cells**0.5)
    maps = grids.transpose(1, 2).unflatten(2, (side, side))
    maps = F.interpolate(maps, (wanted, wanted), mode="bilinear", align_corners=False)
    return maps.flatten(2).transpose(1, 2)
