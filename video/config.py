"""Everything that decides what a run of the labeller becomes, and the presets.

Importing this file does not import torch.
"""

from dataclasses import dataclass, field, replace
from typing import Literal

from core.errors import InputError
from core.training.config import LoopConfig, require_at_least, require_positive, require_share
from vision.options import FROM_SCRATCH, EncoderOptions


@dataclass(frozen=True)
class Config(EncoderOptions):
    """The labeller, its data and its training."""

    data: str = "sprites"
    """sprites or sprite-pairs (drawn, nothing to download), or your own labels: a folder of videos
    with an export of BORIS (.csv, .tsv), documents of ELAN (.eaf), subtitles (.srt, .vtt), or a
    table with the columns clip,start,end,label or clip,frame,label or clip,frame and a 0/1 column
    for each behaviour; a folder of videos for each class; or the folders of MS-TCN."""
    add: tuple[str, ...] = ()
    """More labels, in any of these forms; those of the same film replace the older ones."""
    split: int = 1
    """Which of several given splits."""
    background: str = "background"
    """The label of frames in no segment; unlabelled: they were not scored, and teach nothing."""
    excess: int = 0
    """How many more or fewer labels than frames a film may have, for tables with a row a frame."""
    multi: bool = False
    """Several behaviours can occur at once; where labels overlap this is on by itself."""
    stride: int = 1
    """Of how many frames one is shown to the net."""
    fps: float | None = None
    """Frames a second of folders of pictures, which have no times."""
    crop: tuple[int, int, int, int] | None = None
    """x, y, width and height in pixels of the part of each frame to look at."""

    frame_size: int | None = None
    """Pixels a side at which the encoder is shown a frame; none: 64 from scratch, else its own."""
    motion: bool = False
    """Show the encoder what has changed since the frame before, too."""

    standardise: bool = False
    """Bring each feature of a frozen encoder to mean 0 and standard deviation 1 over the training
    clips."""
    cell: Literal["lstm", "gru", "rnn", "none"] = "lstm"
    """The recurrent cell; none: every frame is labelled by itself."""
    bidirectional: bool = False
    """Look ahead too: for files, not for live streams."""
    frame: int = 128
    """Units for what a frame shows."""
    hidden: int = 128
    """Recurrent units, in each direction."""
    layers: int = 1
    """Recurrent layers."""
    dropout: float = 0.2
    """Share of the units for a frame that is dropped."""

    window: int = 64
    """Frames of a window in truncated BPTT; the state is carried to the next (one direction)."""
    weighted: bool = True
    """Weight each class in the loss by the inverse of its share of the frames."""
    smooth: float = 0.15
    """Weight of the term that keeps neighbouring frames alike (Farha and Gall 2019)."""
    start: str | None = field(default=None, metadata={"place": True})
    """Run or checkpoint whose weights and settings to start from, with its data."""

    loop: LoopConfig = field(default_factory=LoopConfig)
    """The training loop; a batch counts clips."""

    def __post_init__(self):
        require_at_least(1, self, "stride", "frame", "hidden", "layers", "window", "frame_size")
        require_at_least(0, self, "excess", "smooth")
        require_share(self, "dropout")
        require_positive(self, "fps")
        if self.bidirectional and self.cell == "none":
            raise InputError(
                "without a recurrent cell there is no direction: leave out --bidirectional"
            )
        if self.crop and (min(self.crop) < 0 or min(self.crop[2:]) < 1):
            raise InputError("--crop takes x y width height in pixels, as 40 0 320 240")

    @property
    def trains_encoder(self) -> bool:
        """Whether the encoder's weights change, so that its features cannot be kept."""
        return self.encoder in FROM_SCRATCH

    @property
    def standardises(self) -> bool:
        """Whether features are standardised: those of a frozen encoder only."""
        return self.standardise and not self.trains_encoder


SPRITES = Config(
    encoder="micro",
    frame_size=32,
    dropout=0.0,
    window=120,
    loop=LoopConfig(
        steps=900, batch=32, learning_rate=4e-3, warm_up=90, clip=1.0, validate_every=300
    ),
)
SPRITE_PAIRS = replace(
    SPRITES,
    data="sprite-pairs",
    motion=True,
    bidirectional=True,
    loop=replace(SPRITES.loop, steps=3000, batch=16, learning_rate=3e-3, validate_every=500),
)
VIDEOS = Config(
    data="FOLDER",
    encoder="lite0",
    standardise=True,
    dropout=0.5,
    window=180,
    smooth=1.0,
    loop=LoopConfig(
        steps=150,
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
    "sprite-pairs": SPRITE_PAIRS,
    "videos": VIDEOS,
    "videos-both-ways": replace(VIDEOS, bidirectional=True),
    "videos-by-frame": replace(VIDEOS, cell="none"),
}
EXPECTED = {
    "sprites": "93.0 % of the frames of held-out clips in 5 CPU minutes",
    "sprite-pairs": "two actions at once, 98.6 % mean average precision in 12 CPU minutes",
    "videos": "for your own videos, in seconds once lite0 has seen them (20 CPU ms a frame)",
    "videos-both-ways": "the same, and looks ahead: not for live streams",
    "videos-by-frame": "the same without recurrence, to compare with",
}
"""For each preset the result to expect and its time on one core (benchmarks/RESULTS.md)."""
