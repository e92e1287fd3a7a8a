"""Learning to search from hints: boxes of what matters, known in training only.

A share of the glimpses of training is placed at a box, so that the glimpse network learns what the
things look like, slightly off their centres as well; the others go where the locator says, so that
it learns what to do there. The map of a `BeliefMap` learns by cross-entropy where the boxes are.

An image without a box teaches the map nothing. Where there may be nothing to find, an image of a
class of which no image has a box teaches that it is nowhere.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from datasets.images.boxes import Boxes
from glimpse.model import Policy
from glimpse.networks.locators import cell_centres

SPREAD = 0.6  # standard deviation of a hint on the map, in cells


def centres(boxes: Boxes) -> Float[Tensor, "count most 2"]:
    """Return the centres (x, y) of the boxes."""
    return (boxes[..., :2] + boxes[..., 2:]) / 2


def guided(places: Float[Tensor, "glimpses batch 2"], policy: Policy) -> Policy:
    """Return a policy around the given places, and around the locator's where they are NaN."""

    def guided_policy(t: int, mean: Float[Tensor, "batch 2"]) -> Float[Tensor, "batch 2"]:
        return policy(t, torch.where(places[t].isnan(), mean, places[t]))

    return guided_policy


def choose_places(
    boxes: Boxes, share: float, draws: Float[Tensor, "glimpses batch most+1"]
) -> Float[Tensor, "glimpses batch 2"]:
    """Return a hint for a share of the glimpses, one of the image's boxes each; NaN for the rest.

    `draws` are numbers from 0 to 1: one for each box, and one that says whether there is a hint.
    """
    priorities = draws[..., :-1].masked_fill(boxes[..., 0].isnan(), -1)
    rows = torch.arange(len(boxes), device=boxes.device)
    places = centres(boxes)[rows, priorities.argmax(-1)]
    return places.masked_fill(draws[..., -1:] >= share, torch.nan)


def targets(boxes: Boxes, rows: int) -> Float[Tensor, "count rows rows"]:
    """Return for each image a distribution on the cells of a map, around the centres of its boxes.

    It is 0 everywhere for an image without a box.
    """
    offsets = (centres(boxes)[..., None] - cell_centres(rows).to(boxes)) * (rows / 2)
    x, y = torch.exp(-offsets.square() / (2 * SPREAD**2)).nan_to_num(0).unbind(2)
    mass = torch.einsum("bmy,bmx->byx", y, x)
    return mass / mass.sum((1, 2), keepdim=True).clamp(min=torch.finfo(mass.dtype).tiny)


def empty_classes(
    boxes: Boxes, labels: Int[Tensor, " count"], classes: int
) -> Bool[Tensor, " classes"]:
    """Return which classes have no image with a box: there is nothing to find in their images."""
    with_box = ~boxes[:, 0, 0].isnan()
    return torch.bincount(labels[with_box], minlength=classes) == 0


def search_loss(
    beliefs: Float[Tensor, "glimpses batch rows rows"],
    boxes: Boxes,
    empty: Bool[Tensor, " batch"] | None = None,
) -> Float[Tensor, ""]:
    """Return the cross-entropy of the map before each glimpse with where the boxes are.

    Args:
        beliefs: the maps.
        boxes: those of each image. An image without a box counts as 0, unless it is empty.
        empty: which images have nothing to find; without it everything is somewhere.
    """
    wanted = targets(boxes, beliefs.shape[-1]).flatten(1)
    beliefs = beliefs.flatten(2)
    if empty is not None:
        wanted = torch.cat((wanted, empty[:, None].to(wanted)), 1)
        beliefs = F.pad(beliefs, (0, 1))
    return -(wanted * beliefs.log_softmax(-1)).sum(-1).mean()


def on_box(
    locations: Float[Tensor, "glimpses count 2"], boxes: Boxes
) -> Float[Tensor, "glimpses count"]:
    """Return 1 where a glimpse's centre lies in a box of its image, 0 elsewhere."""
    x, y = locations[:, :, None].unbind(-1)
    inside = (x >= boxes[..., 0]) & (x <= boxes[..., 2])
    inside &= (y >= boxes[..., 1]) & (y <= boxes[..., 3])
    return inside.any(-1).float()
