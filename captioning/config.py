"""Everything that decides what a run of the captioner becomes, and the presets."""

from dataclasses import dataclass, field, replace
from typing import Literal

from core.errors import InputError
from core.training.config import (
    WIDEST_BEAM,
    LoopConfig,
    require_at_least,
    require_share,
    require_within,
)
from vision.encoder import FROM_SCRATCH


@dataclass(frozen=True)
class Config:
    """The captioner, its data and its training; the presets below are instances of it."""

    data: str = "scenes"
    """scenes (drawn, nothing to download), or your own: a caption file or a folder (see datasets/captions.py)."""
    images: str | None = field(default=None, metadata={"place": True})
    """Folder of the pictures, if it is not found beside the captions."""
    min_count: int = 5
    """Words seen less often in training captions are unknown to the captioner."""
    longest: int = 17
    """Words that a caption may have, its end counted as one; training captions are cut there."""

    encoder: str = "tiny"
    """tiny or micro (trained from scratch), lite0 (its weights come along), or a torchvision model by name."""
    encoder_weights: str | None = field(default=None, metadata={"place": True})
    """File of the encoder's weights, for encoders that come without."""
    download: bool = field(default=False, metadata={"place": True})
    """Let torchvision fetch the encoder's weights."""
    cache: str | None = field(default=None, metadata={"place": True})
    """Folder of the frozen encoder's features; none: recurrent-vision/features in the user's cache."""
    tune: bool = False
    """Train the encoder too; tiny always is."""
    tune_rate: float = 1.0
    """Learning rate of a trained encoder, as a part of the decoder's: 0.1 or less if it came with weights."""
    mirror: bool = False
    """Show half of the training pictures mirrored."""

    attention: bool = True
    """Soft attention over the grid; otherwise its mean is shown at every word."""
    embedding: int = 256
    """Size of the word embedding."""
    hidden: int = 256
    """Units of the recurrent core."""
    visual: int = 256
    """Units to which what the encoder saw is brought, cell by cell."""
    scores: int = 128
    """Units of the network that scores where to look."""
    cell: Literal["lstm", "gru", "rnn"] = "lstm"
    """The recurrent core."""
    dropout: float = 0.3
    """Share of units dropped: of words, of what was seen, and before the words are scored."""

    smoothing: float = 0.1
    """Share of the target that is spread over all words."""
    doubly: float = 0.0
    """Weight of the doubly stochastic term: how far attention is from looking at all cells alike in sum."""
    captions: int = 5
    """Captions of an image in a batch; for self-critical training the samples drawn."""
    self_critical: bool = False
    """Learn from the reward of sampled captions instead of from the words of the references."""
    start: str | None = field(default=None, metadata={"place": True})
    """Run or checkpoint to take the first weights and the vocabulary from."""
    beam: int = 3
    """Beam width with which validation images are captioned."""
    length_penalty: float = 0.7
    """Captions are ranked by log p / length^this."""

    loop: LoopConfig = field(default_factory=LoopConfig)
    """The training loop; a batch counts images."""

    def __post_init__(self):
        require_at_least(1, self, "min_count", "longest", "captions")
        require_within(1, WIDEST_BEAM, self, "beam")
        require_at_least(1, self, "embedding", "hidden", "visual", "scores")
        require_share(self, "dropout", "smoothing")
        if self.self_critical and self.captions < 2:
            raise InputError("self-critical training compares samples: captions must be at least 2")

    @property
    def trains_encoder(self) -> bool:
        """Whether the encoder's weights change, so that its features cannot be kept."""
        return self.tune or self.encoder in FROM_SCRATCH


SCENES = Config(
    loop=LoopConfig(
        steps=1500, batch=16, optimiser="adamw", learning_rate=2e-3, warm_up=100, clip=1.0
    ),
)
POOLED = Config(
    data="FOLDER",
    encoder="lite0",
    attention=False,
    embedding=320,
    hidden=320,
    visual=320,
    dropout=0.4,
    loop=LoopConfig(
        steps=1800,
        batch=40,
        optimiser="adamw",
        learning_rate=2e-3,
        warm_up=100,
        weight_decay=1e-3,
        clip=1.0,
        validate_every=600,
    ),
)
ATTENTION = replace(POOLED, attention=True, scores=256)
SELF_CRITICAL = replace(
    ATTENTION,
    self_critical=True,
    loop=replace(
        ATTENTION.loop,
        steps=500,
        learning_rate=1e-4,
        weight_decay=0.0,
        warm_up=20,
        log_every=50,
        validate_every=200,
    ),
)
PRESETS = {
    "scenes": SCENES,
    "attention": ATTENTION,
    "pooled": POOLED,
    "self-critical": SELF_CRITICAL,
}
EXPECTED = {
    "scenes": "an example that learns with no data",
    "attention": "on Flickr8k CIDEr 48 in 34 CPU minutes",
    "pooled": "the same without attention",
    "self-critical": "from there, CIDEr 51 in 10 more",
}
"""For each preset the result to expect and its time on one core (benchmarks/RESULTS.md)."""
