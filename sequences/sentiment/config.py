"""Everything that decides what a run of the classifier becomes, and the presets."""

from dataclasses import dataclass, field
from typing import Literal

from core.errors import InputError
from core.training.config import LoopConfig, require_at_least, require_share


@dataclass(frozen=True)
class Config:
    """The classifier, its data and its training."""

    data: tuple[str, ...] = field(default=("reviews",), metadata={"place": True})
    """reviews (generated, nothing to download), or your own: a file for each label with a sentence
    a line; tables with columns text, label and perhaps split; or a folder with such files, or with
    a folder of .txt files for each label."""
    text_column: str | None = field(default=None, metadata={"added": True})
    """Column of the texts in tables; by default the first that is called text, sentence, review or
    the like."""
    label_column: str | None = field(default=None, metadata={"added": True})
    """Column of the labels in tables; by default the first that is called label, sentiment, class
    or the like."""
    validation_share: float = 0.1
    """Share of the sentences for validation, if the data name no such split."""
    test_share: float = 0.1
    """Share of the sentences for the test at the end, if the data name no such split; 0: none."""
    min_count: int = 2
    """Words seen less often in training sentences are unknown to the classifier."""
    longest: int = 400
    """Words of a text that are read; the rest is cut."""

    cell: Literal["lstm", "gru", "rnn"] = "lstm"
    """The recurrent cell."""
    bidirectional: bool = True
    """Read each sentence in both directions."""
    embedding: int = 64
    """Size of the word embedding."""
    buckets: int = 0
    """Rows of the table of character n-gram embeddings, for rare words; 0: none."""
    hidden: int = 64
    """Units of each layer, in each direction."""
    layers: int = 1
    """Recurrent layers."""
    pooling: Literal["max", "mean", "last"] = "max"
    """How the outputs become one vector: by the largest or the mean over the words, or the last."""
    dropout: float = 0.5
    """Dropout probability: of the embedding, between layers, and of the pooled vector."""
    word_dropout: float = 0.1
    """Share of words that are replaced by <unk> in training."""

    loop: LoopConfig = field(default_factory=LoopConfig)
    """The training loop; a batch counts sentences."""

    def __post_init__(self):
        if not self.data:
            raise InputError("data must name a file or folder at least")
        require_at_least(1, self, "min_count", "longest", "embedding", "hidden", "layers")
        require_at_least(0, self, "buckets")
        require_share(self, "validation_share", "test_share", "dropout", "word_dropout")
        if self.validation_share == 0 or self.validation_share + self.test_share >= 1:
            hint = "and leave something to train on beside test_share"
            raise InputError(f"validation_share must be above 0, {hint}")


REVIEWS = Config(
    min_count=1,
    embedding=32,
    hidden=32,
    dropout=0.2,
    loop=LoopConfig(
        steps=400,
        batch=50,
        optimiser="adamw",
        learning_rate=5e-3,
        warm_up=20,
        clip=1.0,
        validate_every=100,
    ),
)
SENTENCES = Config(
    data=("FILE.neg", "FILE.pos"),
    test_share=0.0,
    buckets=20_000,
    loop=LoopConfig(
        steps=350,
        batch=128,
        optimiser="adamw",
        learning_rate=4e-3,
        warm_up=50,
        weight_decay=1e-2,
        clip=1.0,
        log_every=35,
        validate_every=35,
    ),
)
PRESETS = {"reviews": REVIEWS, "sentences": SENTENCES}
EXPECTED = {
    "reviews": "an example that learns with no data, in 19 CPU seconds",
    "sentences": "79.6 % of rt-polarity's validation sentences (bag of words 78.0), in 45 CPU s",
}
"""For each preset the result to expect and its time on one core (benchmarks/RESULTS.md)."""
