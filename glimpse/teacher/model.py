"""A convolutional net that reads the whole image: a baseline, and a teacher of where to look.

    f = convolutions(view of the image)           features at every cell
    p = softmax(W max_cells f)                    the class: each feature counts where it is largest
    map_y = W_y f                                 how much each cell speaks for class y

It learns from the classes alone. As each feature counts at one cell only, the cells that speak for
the right class show where the thing is (weakly supervised localisation: Oquab et al. 2015, Is
object localization for free?). A searching model learns from these places as from boxes.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from glimpse.config import Config
from glimpse.networks.encoders import coarse_view, convolution
from glimpse.networks.locators import peak
from glimpse.sensor import Batch


class Teacher(nn.Module):
    """Classifies a view of the whole image in `config.context` x `config.context` cells."""

    def __init__(self, config: Config, channels: int, classes: int):
        super().__init__()
        self.cells = config.context
        filters = config.filters
        self.convolutions = nn.Sequential(
            convolution(channels, filters // 4, 5, stride=2),
            convolution(filters // 4, filters // 2, stride=2),
            convolution(filters // 2, 3 * filters // 4),
            convolution(3 * filters // 4, filters),
        )
        self.action = nn.Linear(filters, classes)

    def features(self, images: Batch) -> Float[Tensor, "batch filters rows rows"]:
        """Return the features at every cell: a quarter as many rows as the view has."""
        return self.convolutions(coarse_view(images, self.cells) - 0.5)

    def classify(self, images: Batch) -> Float[Tensor, "batch classes"]:
        """Return the logits of the classes."""
        return self.action(self.features(images).amax((-2, -1)))

    def locate(
        self, images: Batch, labels: Int[Tensor, " batch"]
    ) -> tuple[Float[Tensor, "batch 2"], Float[Tensor, " batch"]]:
        """Return where the images show their classes, and how probable the classes are."""
        features = self.features(images)
        logits = self.action(features.amax((-2, -1)))
        maps = torch.einsum("bf,bfyx->byx", self.action.weight[labels], features)
        return peak(maps), logits.softmax(-1).gather(1, labels[:, None]).squeeze(1)
