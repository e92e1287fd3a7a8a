"""A pretrained encoder that reads the patches, for photographs (vision/encoder.py).

    patches of all scales -> encoder -> mean over its grid -> linear layer, with where they lie

The encoder is frozen: what is learned is where to look and what the features mean. It was trained
on larger pictures and still tells things apart on patches of 64 to 128 cells. Its weights are part
of every checkpoint, so a trained model needs no other file.
"""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from core.errors import InputError
from glimpse.config import Config
from glimpse.networks.glimpse_network import GlimpseNetwork
from vision.encoder import make_encoder, preprocessing_of
from vision.options import FROM_SCRATCH

LEAST = 32  # cells of a patch: encoders see one feature for so many pixels


class EncoderGlimpseNetwork(GlimpseNetwork):
    """Encodes what was seen and where, in one vector, with a pretrained encoder for the patches.

    The encoder has no weights until `load_pretrained` or the weights of a checkpoint are loaded.

    Raises `InputError` for a name that no pretrained encoder has, or patches too small for it.
    """

    where_range = None

    def make_reader(self, channels: int, config: Config) -> int:
        """Make the encoder; return how many features it gives."""
        if config.patch < LEAST:
            raise InputError(
                f"--what {config.what} needs a --patch of at least {LEAST} cells, "
                f"not {config.patch}"
            )
        if config.what in FROM_SCRATCH:
            raise InputError(f"the encoder {config.what} is not pretrained: choose --what lite0")
        preprocessing = replace(preprocessing_of(config.what), size=config.patch)
        self.encoder = make_encoder(config.what, pretrained=False, preprocessing=preprocessing)
        self.encoder.requires_grad_(False)
        self.grey = channels == 1
        self.dropout = nn.Dropout(config.dropout)
        return config.scales * self.encoder.channels

    def load_pretrained(self, download: bool = False) -> None:
        """Load the encoder's pretrained weights; torchvision's are looked for in its own cache.

        Raises `InputError` if they are missing and `download` is False or fails.
        """
        name = self.encoder.name
        pretrained = make_encoder(name, download=download, preprocessing=self.encoder.preprocessing)
        self.encoder.load_state_dict(pretrained.state_dict())

    def features(
        self, patches: Float[Tensor, "batch channels scales size size"]
    ) -> Float[Tensor, "batch scales features"]:
        """Return the mean over the encoder's grid for every patch, without a gradient."""
        images = patches.transpose(1, 2).flatten(0, 1)
        if self.grey:
            images = images.expand(-1, 3, -1, -1)
        with torch.no_grad():
            grid = self.encoder(255 * images)
        return grid.mean(1).unflatten(0, (-1, patches.shape[2]))

    def flatten(
        self, features: Float[Tensor, "batch scales features"]
    ) -> Float[Tensor, "batch all_features"]:
        """Return all features in a row."""
        return self.dropout(features.flatten(1))
