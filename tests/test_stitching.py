"""The first layer of a decoder, fitted to the features of another encoder."""

import torch
from torch import nn

from captioning.stitching import resized, stitch


def test_features_that_are_a_linear_map_of_the_old_ones_give_the_same():
    torch.manual_seed(0)
    cells = torch.randn(40, 9, 6)
    turn, _ = torch.linalg.qr(torch.randn(6, 6))
    old, layer = nn.Linear(6, 4), nn.Linear(6, 4)

    class Kept:
        """Features by number."""

        def __init__(self, features: torch.Tensor):
            self.features = features

        def __len__(self) -> int:
            return len(self.features)

        def __call__(self, rows) -> torch.Tensor:
            return self.features[list(rows)]

    stitch(layer, lambda half: 2 * half, Kept(cells @ turn / 2 + 1), old, Kept(cells))
    wanted = old(cells)
    found = layer(cells @ turn + 2)
    assert (found - wanted).square().mean() < 1e-4 * wanted.var()


def test_grids_are_resized_row_by_row():
    rows = torch.arange(4.0)[:, None].expand(4, 4)  # a value for each row of the grid
    small = resized(rows.reshape(1, 16, 1), 4).view(2, 2)
    assert torch.equal(small, torch.tensor([[0.5, 0.5], [2.5, 2.5]]))
    assert torch.equal(resized(rows.reshape(1, 16, 1), 16).view(4, 4), rows)
