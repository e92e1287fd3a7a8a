"""The glimpse network: what is seen and where that is, in one vector (Mnih et al. 2014, fig. 1B).

    g_t = relu(W_g [relu(W_what rho_t), relu(W_where l_t)])

`GlimpseNetwork` is the paper's: rho_t are the pixels of the patches. Other nets inherit the
equation and read the patches first; rho_t are then their features (encoders.py, strided.py and
patch_encoders.py in this folder).
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from glimpse.config import Config


class GlimpseNetwork(nn.Module):
    """Encodes what was seen and where, in one vector, with a linear layer for the pixels.

    A net that reads the patches otherwise overrides `make_reader`, `features` and `flatten`.
    """

    where_range: float | None = 3.0
    """Initial weights of `where` lie between this and its negative; None: as in `nn.Linear`.

    Large ones make the code of a location differ clearly between places.
    """

    def __init__(self, channels: int, config: Config):
        super().__init__()
        self.input_scale = config.input_scale
        features = self.make_reader(channels, config)
        self.what = nn.Linear(features, config.what_units)
        self.where = nn.Linear(2, config.where_units)
        if self.where_range is not None:
            nn.init.uniform_(self.where.weight, -self.where_range, self.where_range)
        self.combine = nn.Linear(config.what_units + config.where_units, config.glimpse_units)

    def make_reader(self, channels: int, config: Config) -> int:
        """Make the layers that read the patches; return how many features they give."""
        return channels * config.scales * config.patch**2

    def features(
        self, patches: Float[Tensor, "batch channels scales size size"]
    ) -> Float[Tensor, "batch ..."]:
        """Return what is read of the patches: here the pixels themselves."""
        return patches.flatten(1) / self.input_scale

    def flatten(self, features: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch features"]:
        """Return the features as rho_t, a vector for each image."""
        return features

    def forward(
        self, features: Float[Tensor, "batch ..."], locations: Float[Tensor, "batch 2"]
    ) -> Float[Tensor, "batch glimpse_units"]:
        """Return g_t."""
        what = torch.relu(self.what(self.flatten(features)))
        where = torch.relu(self.where(locations))
        return torch.relu(self.combine(torch.cat((what, where), -1)))
