"""The configuration of the recurrent attention model; its presets stand in glimpse/presets.py."""

from dataclasses import dataclass, field
from typing import Literal

from core.errors import InputError
from core.training.config import (
    LoopConfig,
    require_at_least,
    require_positive,
    require_share,
    require_within,
)

Augmentation = Literal["turns", "flips", "scale", "colour", "elastic"]
Rewarded = Literal["every", "last"]


@dataclass(frozen=True)
class Config:
    """The recurrent attention model, its data and its training."""

    data: str = field(default="digits", metadata={"place": True})
    """A class folder, or digits mnist fashion-mnist kmnist qmnist emnist-SPLIT svhn cifar10."""
    root: str = field(default="data", metadata={"place": True})
    """Folder in which torchvision keeps its data sets."""
    download: bool = field(default=False, metadata={"place": True})
    """Fetch the data set into `root` if it is not there."""
    image_size: tuple[int, int] | None = None
    """Height and width to which the images of a class folder are brought; none: native sizes."""
    memory: float = field(default=2.0, metadata={"place": True})
    """Gigabytes of decoded images that may be held; more are read from a cache on the disk."""
    workers: int = field(default=2, metadata={"place": True})
    """Threads that decode the images of a class folder."""

    start: str | None = field(default=None, metadata={"place": True})
    """Run or checkpoint of the same sizes and classes whose weights to start from."""
    shift: int = 0
    """Most pixels by which training images are shifted at random, in each direction (no canvas)."""
    augment: tuple[Augmentation, ...] = ()
    """How training images are changed at random, their boxes too; on a canvas only `elastic`."""
    canvas: tuple[int, int] | None = None
    """Height and width of a larger black canvas on which each image is put at a random place."""
    clutter: int = 0
    """Pieces of other images on each canvas."""
    clutter_size: int = 8
    """Height and width of such a piece, in pixels."""
    sequence: tuple[int, int] | None = field(default=None, metadata={"added": True})
    """Least and most images side by side on each canvas, to be read from left to right; none: a
    single image anywhere on it.
    """
    growth: float = field(default=0.0, metadata={"added": True})
    """Share of the steps in which the canvases of sequences grow: they begin with two images."""

    glimpses: int = 6
    """Glimpses at each image in training, and by default afterwards; in a sequence, at each."""
    extra: int = field(default=0, metadata={"added": True})
    """At most so many glimpses more in training, as many as are drawn for each step, so that a
    trained model can be asked for more.
    """
    patch: int = 8
    """Height and width of the retina's patches, in cells."""
    scales: int = 1
    """Number of patches, each `factor` times as wide as the last."""
    factor: float = 2.0
    """How much wider each patch is than the last."""
    width: int | None = None
    """Width of the first patch in pixels; none: as many as it has cells."""
    context: int = 0
    """Rows and columns of a coarse view of the whole image that tells where to begin; 0: none."""

    what: str = "linear"
    """What reads the patches: `linear`, the paper's layer; `conv`, a convolutional net for all
    scales; `strided`, a small fast one; or a frozen pretrained encoder: lite0, lite1, lite2 or
    torchvision's by name.
    """
    filters: int = 64
    """Filters of the last layers of the convolutional net."""
    dropout: float = 0.0
    """Share of the convolutional features that are left out at random in training."""
    what_units: int = 128
    """Units that encode what a glimpse shows."""
    where_units: int = 128
    """Units that encode where it is."""
    glimpse_units: int = 256
    """Units of the glimpse network's output."""
    hidden: int = 256
    """Units of the recurrent cell."""
    cell: Literal["rnn", "lstm"] = "rnn"
    """The recurrent cell: a relu RNN as in the paper, or an LSTM."""
    input_scale: float = 1.0
    """Linear and strided patches divide pixels (0 to 1) by this: about their standard deviation."""

    locator: Literal["state", "scan", "map"] = "state"
    """What says where to look: `state`, the recurrent state as in the paper; `scan`, the same
    begun with tiles side by side; `map`, a map of the image on which every glimpse leaves its
    evidence. The map needs a context, conv patches and hints.
    """
    hints: str | None = field(default=None, metadata={"place": True})
    """Table of boxes (file, x1, y1, x2, y2) that show in training where to look; in pixels of the
    files, whatever --image-size."""
    absence: bool = field(default=False, metadata={"added": True})
    """There may be nothing to find: classes of which no image has a hint are such images. The map
    then says whether there is anything, and the class follows from that too.
    """
    guided: float = 0.5
    """Share of the glimpses of training that are placed at a box, where there are hints."""
    std: float = 0.1
    """Standard deviation of the location policy at the first step; locations run from -1 to 1."""
    std_decay: float = 1.0
    """Fraction of `std` left at the last step; it decays geometrically."""
    location_scale: float = 0.3
    """Factor in front of the location network's output; the smaller, the slower it learns."""
    reinforce: float = 0.2
    """Weight of the REINFORCE term with standardised advantages; it decays as the std squared."""

    rewarded: Rewarded = field(default="every", metadata={"added": True})
    """Glimpses after which the right class is rewarded: `every` one, or the `last` alone, which
    leaves the policy time to see more.
    """

    loop: LoopConfig = field(default_factory=LoopConfig)
    """The training loop."""

    def __post_init__(self):
        require_at_least(
            1,
            self,
            "glimpses",
            "patch",
            "scales",
            "what_units",
            "where_units",
            "glimpse_units",
            "hidden",
        )
        require_positive(self, "std", "std_decay", "input_scale", "factor", "location_scale")
        require_at_least(1, self, "workers")
        require_positive(self, "memory")
        require_at_least(4, self, "filters")
        require_at_least(1, self, "width")
        require_at_least(0, self, "shift", "context", "reinforce", "extra")
        require_share(self, "dropout", "growth")
        require_within(0, 1, self, "guided")
        if self.canvas is None and self.clutter:
            raise InputError("clutter needs a canvas: add --canvas HEIGHT WIDTH")
        if self.canvas is not None and self.shift:
            raise InputError("on a canvas every image is moved already: shift must be 0")
        if self.canvas is not None and (self.transforms or self.hints):
            raise InputError("images on a canvas have neither --hints nor --augment but elastic")
        if self.hints is not None and "elastic" in self.augment:
            raise InputError("boxes are not distorted: --augment elastic takes no --hints")
        if self.hints is not None and self.shift:
            raise InputError("boxes are not shifted: --shift takes no --hints")
        if self.sequence is not None and (self.canvas is None or self.clutter):
            raise InputError("a sequence needs a canvas without clutter: add --canvas HEIGHT WIDTH")
        if self.extra and (self.sequence is not None or self.hints is not None):
            raise InputError("--extra is not for sequences, nor for --hints")
        if self.locator == "map" and (self.what != "conv" or self.context < 4):
            raise InputError("--locator map needs --what conv and a --context of at least 4")
        if self.locator == "scan" and self.context:
            raise InputError("--locator scan begins without a look at the whole: --context 0")
        if self.hints is not None and self.locator != "map":
            raise InputError("--hints teach a map: add --locator map, or use --preset search")
        if self.absence and self.locator != "map":
            raise InputError("--absence is what a map says: add --locator map")

    @property
    def transforms(self) -> tuple[str, ...]:
        """Return what is done image by image (glimpse/augmentation/transforms.py), in `augment`."""
        return tuple(name for name in self.augment if name != "elastic")

    @property
    def symbols(self) -> int:
        """Symbols to be told of an image: its class, or those of a sequence and its end."""
        return 1 if self.sequence is None else self.sequence[1] + 1

    def grown(self, step: int) -> float:
        """Return how far canvases of sequences have grown at a step, from 0 to 1."""
        growing = self.growth * self.loop.steps
        return min(1.0, step / growing) if growing else 1.0

    def std_left(self, step: int) -> float:
        """Return the fraction of `std` at a step, counted from 0."""
        return self.std_decay ** min(1.0, step / self.loop.steps)
