"""Everything that decides what a run of the labeller becomes, and the presets."""

from dataclasses import dataclass, field, replace
from typing import Literal

from core.errors import InputError
from core.training.config import LoopConfig, require_at_least, require_share
from vision.options import FROM_SCRATCH, EncoderOptions


@dataclass(frozen=True)
class Config(EncoderOptions):
    """The labeller, its data and its training; the presets below are instances of it."""

    data: str = "sprites"
    """sprites (drawn, nothing to download), or your own: a folder or a table (see datasets/videos.py)."""
    split: int = 1
    """Which of several given splits."""
    background: str = "background"
    """The label of frames in no segment, for tables of segments."""
    stride: int = 1
    """Of how many frames one is read."""

    side: int = 64
    """Pixels a side that an encoder trained from scratch is shown of a frame."""

    cell: Literal["lstm", "gru", "rnn", "none"] = "lstm"
    """The recurrent core; none: every frame is labelled by itself."""
    bidirectional: bool = False
    """Look ahead too: for files, not for live streams."""
    frame: int = 128
    """Units for what a frame shows."""
    hidden: int = 128
    """Units of the recurrent core, in each direction."""
    layers: int = 1
    """Recurrent layers."""
    dropout: float = 0.2
    """Share of the units for a frame that is dropped."""

    window: int = 64
    """Frames between two cuts of the gradient; the state is carried on (one direction)."""
    weighted: bool = True
    """Weigh each class in the loss by the inverse of its share of the frames."""
    smooth: float = 0.15
    """Weight of the term that keeps neighbouring frames alike (Farha and Gall 2019)."""

    loop: LoopConfig = field(default_factory=LoopConfig)
    """The training loop; a batch counts clips."""

    def __post_init__(self):
        require_at_least(1, self, "stride", "frame", "hidden", "layers", "window", "side")
        require_share(self, "dropout")
        if self.bidirectional and self.cell == "none":
            raise InputError(
                "without a recurrent core there is no direction: leave out --bidirectional"
            )

    @property
    def trains_encoder(self) -> bool:
        """Whether the encoder's weights change, so that its features cannot be kept."""
        return self.encoder in FROM_SCRATCH


SPRITES = Config(
    encoder="micro",
    side=32,
    dropout=0.0,
    window=120,
    loop=LoopConfig(
        steps=900, batch=32, learning_rate=4e-3, warm_up=90, clip=1.0, validate_every=300
    ),
)
VIDEOS = Config(
    data="FOLDER",
    encoder="lite0",
    dropout=0.5,
    loop=LoopConfig(
        steps=300,
        batch=4,
        optimiser="adamw",
        learning_rate=1e-3,
        warm_up=20,
        weight_decay=1e-2,
        clip=1.0,
        log_every=20,
        validate_every=50,
    ),
)
PRESETS = {
    "sprites": SPRITES,
    "videos": VIDEOS,
    "videos-both-ways": replace(VIDEOS, bidirectional=True),
    "videos-by-frame": replace(VIDEOS, cell="none"),
}
EXPECTED = {
    "sprites": "93.0 % of the frames of held-out clips in 5 CPU minutes",
    "videos": "for your own videos, in seconds once lite0 has seen them (20 CPU ms a frame)",
    "videos-both-ways": "the same, and looks ahead: not for live streams",
    "videos-by-frame": "the same without recurrence, to compare with",
}
"""For each preset the result to expect and its time on one core (benchmarks/RESULTS.md)."""
