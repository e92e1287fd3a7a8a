"""The configuration of the captioner, and the presets.

Importing this file does not import torch.
"""

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
from vision.options import FROM_SCRATCH, EncoderOptions


@dataclass(frozen=True)
class Config(EncoderOptions):
    """The captioner, its data and its training; the presets are instances of it."""

    data: tuple[str, ...] = field(default=("scenes",), metadata={"place": True})
    """scenes (drawn, nothing to download), or one or more of your own: caption files or folders."""
    shares: tuple[float, ...] = ()
    """Share of each of several sets in a batch; by default in proportion to their sizes."""
    images: str | None = field(default=None, metadata={"place": True})
    """Folder of the pictures, if it is not found beside the captions."""
    min_count: int = 5
    """Words seen less often in training captions are unknown to the captioner."""
    longest: int = 17
    """Words that a caption may have, its end counted as one; training captions are cut there."""

    tune: bool = False
    """Train the encoder too; tiny and micro always are."""
    tune_blocks: int = 0
    """Train the last blocks of lite0, lite1 or lite2; what those before them give is cached."""
    tune_rate: float = 1.0
    """Learning rate of what is trained of the encoder, as a factor of the decoder's; 0: none."""
    mirror: bool = False
    """Mirror half of the training pictures."""

    names: bool = False
    """Give the decoder the concepts that the encoder's own classifier detects."""
    name_bonus: float = 5.0
    """What the logit of a detected concept gains, times its probability, until it is written."""
    attention: bool = True
    """Soft attention over the grid; without it, every step takes the mean of the grid."""
    embedding: int = 256
    """Size of the word embeddings."""
    hidden: int = 256
    """Units of the recurrent layer."""
    visual: int = 256
    """Units that each cell of the grid is projected to."""
    scores: int = 128
    """Units of the queries and keys of attention."""
    cell: Literal["lstm", "gru", "rnn"] = "lstm"
    """The recurrent cell."""
    dropout: float = 0.3
    """Dropout of word embeddings, of features, and before the logits of words."""

    smoothing: float = 0.1
    """Label smoothing: share of the target that is spread over all words."""
    coverage: float = 0.0
    """Weight of the coverage loss (doubly stochastic attention)."""
    captions: int = 5
    """Captions of an image in a batch; in self-critical training the number of samples."""
    self_critical: bool = False
    """Learn from the CIDEr-D of sampled captions instead of from the words of the references."""
    agreed: float = 0.0
    """Weight of a second self-critical reward: the share of the consensus words that is used."""
    start: str | None = field(default=None, metadata={"place": True})
    """Run or checkpoint to start from; words that it lacks are added to its vocabulary."""
    beam: int = 3
    """Beam width for validation."""
    length_penalty: float = 0.7
    """Captions are ranked by log p / length^this."""
    once: bool = False
    """Write no content word twice in a sentence, in the singular or the plural."""

    loop: LoopConfig = field(default_factory=LoopConfig)
    """The training loop; a batch counts images."""

    def __post_init__(self):
        require_at_least(1, self, "min_count", "longest", "captions")
        require_within(1, WIDEST_BEAM, self, "beam")
        require_at_least(1, self, "embedding", "hidden", "visual", "scores")
        require_share(self, "dropout", "smoothing")
        require_at_least(0, self, "name_bonus", "tune_blocks", "tune_rate", "agreed")
        if self.tune_blocks and self.trains_encoder:
            raise InputError("--tune trains the whole encoder: leave it or --tune-blocks out")
        if self.names and self.trains_encoder:
            raise InputError("concepts come from a frozen encoder's classifier: leave out --names")
        if self.shares and len(self.shares) != len(self.data):
            raise InputError(
                f"shares must be one number for each of the {len(self.data)} sets of data"
            )
        if any(not 0 < share <= 1 for share in self.shares):
            raise InputError("shares must be above 0 and at most 1")
        if self.self_critical and self.captions < 2:
            raise InputError("self-critical training compares samples: captions must be at least 2")

    @property
    def trains_encoder(self) -> bool:
        """Whether the encoder's weights change, so that its features cannot be cached."""
        return self.tune or self.encoder in FROM_SCRATCH


SCENES = Config(
    loop=LoopConfig(
        steps=1500, batch=16, optimiser="adamw", learning_rate=2e-3, warm_up=100, clip=1.0
    ),
)
POOLED = Config(
    data=("FOLDER",),
    encoder="lite0",
    attention=False,
    embedding=320,
    hidden=320,
    visual=320,
    dropout=0.4,
    once=True,
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
