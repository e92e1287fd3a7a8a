"""What proposes the next location: the paper's network, a coarse view or a scan with it, or a map.

A locator is called as in `RecurrentAttention.rollout`. Its memory is what it knows beside the
recurrent state h: nothing, a coarse view of the whole image, where a scan of the image goes next,
or a map of where the thing may be.

    memory = locator.start(images)
    mean = locator.mean(h, memory)                    # the mean of the policy
    memory = locator.update(memory, features, location, half_sizes)    # after the glimpse

`BeliefMap` searches as an ideal observer does (Najemnik & Geisler 2005): it adds up log-odds.

    B_0 = prior(coarse view of the image)             a log-probability for each cell of a map
    m_t = peak of B_{t-1}                             the most probable cell, refined between cells
    B_t = B_{t-1} + evidence(features at l_t)         added where the patches lay

Evidence against a place turns the search elsewhere (inhibition of return), evidence beside the
centre of a patch moves the next glimpse there. Both are learned from hints: the cross-entropy of
softmax(B) with the true place (glimpse/hints.py).

Where there may be nothing to find, "nowhere" is one more place, and its log-probability is always
0 before the softmax. The largest of B and the log-odds of "anywhere" then add to the class logits:

    logits = V_a h_t + V_p [max B_t, log sum exp B_t]
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from glimpse.config import Config
from glimpse.networks.encoders import CONTEXT_FILTERS, ContextNetwork
from glimpse.sensor import Batch, Retina, half_sizes


def make_locator(
    channels: int, classes: int, config: Config, retina: Retina
) -> "LocationNetwork | BeliefMap":
    """Return the locator that a configuration asks for."""
    if config.locator == "map":
        return BeliefMap(channels, classes, config, retina)
    if config.locator == "scan":
        return ScanLocation(config, retina)
    if config.context:
        return ContextLocation(channels, config)
    return LocationNetwork(config)


class LocationNetwork(nn.Linear):
    """The paper's, kept within the image by tanh: m_t = tanh(s V_l h_{t-1}).

    The paper has V_l h alone, and emits it from h_t for the glimpse after: see glimpse/model.py.
    """

    def __init__(self, config: Config):
        super().__init__(config.hidden, 2)
        self.scale = config.location_scale
        nn.init.zeros_(self.bias)  # the first glimpse starts at the image's centre

    def start(self, images: Batch) -> Float[Tensor, "batch steps 2"] | None:
        """Return what is added at the glimpses to come, over and over: nothing."""
        return None

    def mean(
        self, h: Float[Tensor, "batch hidden"], memory: Float[Tensor, "batch steps 2"] | None
    ) -> Float[Tensor, "batch 2"]:
        """Return m_t."""
        located = self(h) if memory is None else self(h) + memory[:, 0]
        mean = torch.tanh(self.scale * located)
        return mean.to(self.weight.dtype)  # autocast would round it to bfloat16

    def update(
        self,
        memory: Float[Tensor, "batch steps 2"] | None,
        features: Tensor,
        location: Tensor,
        half_sizes: Tensor,
    ) -> Float[Tensor, "batch steps 2"] | None:
        """Return what is added from the next glimpse on."""
        return None if memory is None else memory.roll(-1, 1)

    def memories(
        self, memory: Float[Tensor, "batch steps 2"] | None, glimpses: int
    ) -> Float[Tensor, "glimpses batch steps 2"] | None:
        """Return what `update` gives, before each of so many glimpses."""
        if memory is None:
            return None
        return torch.stack([memory.roll(-t, 1) for t in range(glimpses)])

    def class_logits(self, memory: Tensor | None) -> Float[Tensor, "batch classes"] | float:
        """Return what is added to the logits of the classes: nothing."""
        return 0.0


class ContextLocation(LocationNetwork):
    """The paper's with a coarse view: m_t = tanh(s (V_l h_{t-1} + V_c context(image)))."""

    def __init__(self, channels: int, config: Config):
        super().__init__(config)
        self.context = ContextNetwork(channels, config.context)
        rows = 4  # the context's features are pooled to: where things are matters here
        self.pool = nn.AdaptiveAvgPool2d(rows)
        self.project = nn.Linear(CONTEXT_FILTERS * rows**2, 2)

    def start(self, images: Batch) -> Float[Tensor, "batch 1 2"]:
        """Return V_c context(image), which is added at every glimpse."""
        return self.project(self.pool(self.context(images)).flatten(1))[:, None]


class ScanLocation(LocationNetwork):
    """The paper's, begun as a scan: m_t = tanh(s (V_l h_{t-1} + p_t) + artanh(tile_t)).

    The tiles lie side by side around the image's centre, one for each glimpse of training, nearest
    first. What the scan becomes is learned: p_t and V_l are 0 at first. Further glimpses begin the
    scan again.
    """

    grid: Tensor

    def __init__(self, config: Config, retina: Retina):
        super().__init__(config)
        self.width = retina.widths[0]
        self.register_buffer("grid", tile_grid(config.glimpses), persistent=False)
        self.offsets = nn.Parameter(torch.zeros(config.glimpses, 2))  # p_t
        nn.init.zeros_(self.weight)

    def start(self, images: Batch) -> Float[Tensor, "batch glimpses 2"]:
        """Return p_t + artanh(tile_t) / s for all glimpses."""
        sizes = 2 * half_sizes(images, self.weight.device)
        return self.offsets + torch.atanh(tiles(self.grid, self.width, sizes)) / self.scale


class BeliefMap(nn.Module):
    """Proposes the peak of a map of log-probabilities, to which every glimpse adds its evidence."""

    centres: Tensor

    def __init__(self, channels: int, classes: int, config: Config, retina: Retina):
        super().__init__()
        self.widths = retina.widths
        self.context = ContextNetwork(channels, config.context)
        self.prior = nn.Conv2d(CONTEXT_FILTERS, 1, 1)
        self.evidence = nn.Conv2d(config.filters, 1, 1)
        rows = math.ceil(config.context / 2)
        self.presence = None
        if config.absence:
            self.presence = nn.Linear(2, classes, bias=False)
            # As probable at first that there is nothing as that it is in any of the cells.
            nn.init.constant_(self.prior.bias, -2 * math.log(rows))  # pyright: ignore
        self.register_buffer("centres", cell_centres(rows), persistent=False)

    def start(self, images: Batch) -> Float[Tensor, "batch rows rows"]:
        """Return B_0."""
        return self.prior(self.context(images)).squeeze(1).float()

    def mean(
        self, h: Float[Tensor, "batch hidden"], memory: Float[Tensor, "batch rows rows"]
    ) -> Float[Tensor, "batch 2"]:
        """Return the peak of B_{t-1}."""
        return peak(memory.detach()).to(self.prior.weight.dtype)

    def update(
        self,
        memory: Float[Tensor, "batch rows rows"],
        features: Float[Tensor, "batch scales filters rows rows"],
        location: Float[Tensor, "batch 2"],
        half_sizes: Float[Tensor, "batch 2"],
    ) -> Float[Tensor, "batch rows rows"]:
        """Return B_t: each patch's evidence is added where the patch lay."""
        evidence = self.evidence(features.flatten(0, 1)).unflatten(0, features.shape[:2])
        offsets = self.centres - location[..., None]  # [batch, 2, rows], of the cells' centres
        pixels = offsets * half_sizes[..., None]
        for scale, width in enumerate(self.widths):
            x, y = (pixels * (2 / width)).unbind(1)  # within -1 and 1 in the patch
            x, y = torch.broadcast_tensors(x[:, None, :], y[:, :, None])
            places = torch.stack((x, y), -1).to(evidence.dtype)
            added = F.grid_sample(evidence[:, scale], places, align_corners=False)
            memory = memory + added.squeeze(1)
        return memory

    def class_logits(
        self, memory: Float[Tensor, "batch rows rows"]
    ) -> Float[Tensor, "batch classes"] | float:
        """Return what is added to the logits of the classes, if there may be nothing to find."""
        if self.presence is None:
            return 0.0
        belief = memory.flatten(1)
        odds = torch.stack((belief.amax(1), belief.logsumexp(1)), 1)
        return self.presence(odds.to(self.presence.weight.dtype))


def tile_grid(number: int) -> Float[Tensor, "number 2"]:
    """Return where (x, y) tiles of width 1 lie around a centre, nearest first.

    Of equally near ones each is followed by the one opposite to it, from the right on upwards.
    """
    columns = math.isqrt(number)
    rows = math.ceil(number / columns)
    places = [(n % columns, n // columns) for n in range(number)]
    grid = [(x - (columns - 1) / 2, y - (rows - 1) / 2) for x, y in places]
    return torch.tensor(sorted(grid, key=_order))


def _order(place: tuple[float, float]) -> tuple[float, ...]:
    x, y = place
    angle = math.degrees(math.atan2(-y, x)) % 360
    # Rounded, as places are equally near, and opposite, up to rounding.
    return round(math.hypot(x, y), 6), round(angle % 180, 6), angle


def tiles(
    grid: Float[Tensor, "number 2"], width: int, sizes: Float[Tensor, "batch 2"]
) -> Float[Tensor, "batch number 2"]:
    """Return the centres of the grid's tiles on images of these sizes (width, height).

    They are `width` pixels apart, or less where an image has no room for that.
    """
    counts = 2 * grid.amax(0) + 1
    spacing = (sizes / counts).clamp(max=width)
    return grid * (2 * spacing / sizes)[:, None]


def cell_centres(rows: int) -> Float[Tensor, " rows"]:
    """Return where the centres of `rows` equal cells lie between -1 and 1."""
    return (torch.arange(rows) + 0.5) * (2 / rows) - 1


def peak(belief: Float[Tensor, "batch rows rows"]) -> Float[Tensor, "batch 2"]:
    """Return the most probable place (x, y): the mean place of the best cell and those beside it.

    The mean is weighted by the probabilities, so a peak between two cells is found between them.
    """
    batch, rows, _ = belief.shape
    best = belief.flatten(1).argmax(1)
    row = best // rows
    column = best % rows
    steps = torch.arange(-1, 2, device=belief.device)
    bordered = F.pad(belief, (1, 1, 1, 1), value=-torch.inf)
    images = torch.arange(batch, device=belief.device)[:, None, None]
    around = bordered[
        images, (row[:, None] + 1 + steps)[:, :, None], (column[:, None] + 1 + steps)[:, None, :]
    ]
    weights = around.flatten(1).softmax(1).unflatten(1, (3, 3))
    x = column + (weights.sum(1) * steps).sum(1)
    y = row + (weights.sum(2) * steps).sum(1)
    return (torch.stack((x, y), -1) + 0.5) * (2 / rows) - 1
