"""Everything that decides what a run of the translator becomes, and the presets."""

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


@dataclass(frozen=True)
class Config:
    """The translator, its data and its training; the presets below are instances of it."""

    data: tuple[str, ...] = ("counting",)
    """counting (built in), or your own pairs: two files, line by line, or what their names begin with; .gz too."""
    validation: tuple[str, ...] = ()
    """Pairs to judge by, named likewise; none: every twentieth pair is held out, 1,000 at most."""
    source: str = "en"
    """Suffix of the files to translate from, where only what their names begin with is given."""
    target: str = "cs"
    """Suffix of the files to translate to."""

    pieces: Literal["bpe", "words"] = "bpe"
    """What sentences are made of: words, or parts of them that are frequent."""
    vocabulary: int = 6000
    """Pieces of each language."""
    min_count: int = 2
    """How often a piece must have been seen."""
    joint: bool = False
    """One vocabulary and one table of embeddings for both languages."""
    longest: int = 60
    """Pieces that a sentence for training may have; pairs with a longer one are left out."""

    attention: bool = True
    """Look back at every word of the source; otherwise all is in the encoder's last state."""
    feeding: bool = False
    """Show the decoder what it wrote its last word from (input feeding); one step at a time, so slower."""
    cell: Literal["lstm", "gru", "rnn"] = "lstm"
    """Encoder and decoder."""
    embedding: int = 256
    """Size of the embeddings, of which the target's score words too."""
    hidden: int = 384
    """Units of a layer: of the decoder's, and of both directions of the encoder's together."""
    layers: int = 1
    """Layers of encoder and decoder."""
    dropout: float = 0.3
    """Share of units dropped: of embeddings, of what encoder and decoder put out, and before words are scored."""
    word_dropout: float = 0.1
    """Share of words read, on either side, that are made unknown."""
    smoothing: float = 0.1
    """Share of the target that is spread over all words."""

    beam: int = 5
    """Beam width for translating, unless another is asked for; while training it is 1."""
    length_penalty: float = 1.0
    """Translations are ranked by log p / length^this."""

    loop: LoopConfig = field(default_factory=LoopConfig)
    """The training loop; a batch counts pairs."""

    def __post_init__(self):
        require_at_least(
            1, self, "vocabulary", "min_count", "longest", "embedding", "hidden", "layers"
        )
        require_within(1, WIDEST_BEAM, self, "beam")
        require_share(self, "dropout", "word_dropout", "smoothing")
        if self.hidden % 2:
            raise InputError(
                f"hidden must be even, half for each direction of the encoder, not {self.hidden}"
            )
        if self.feeding and not self.attention:
            raise InputError("feeding shows the decoder what it looked at: it needs attention")


COUNTING = Config(
    vocabulary=200,
    embedding=64,
    hidden=128,
    dropout=0.2,
    word_dropout=0.05,
    loop=LoopConfig(
        steps=1500,
        batch=32,
        learning_rate=4e-3,
        warm_up=100,
        clip=1.0,
        log_every=100,
        validate_every=500,
    ),
)
ATTENTION = Config(
    data=("PREFIX",),
    loop=LoopConfig(
        steps=4500,
        batch=64,
        optimiser="adamw",
        learning_rate=2e-3,
        warm_up=200,
        clip=1.0,
        log_every=50,
        validate_every=450,
    ),
)
PLAIN = replace(ATTENTION, attention=False)
PRESETS = {"counting": COUNTING, "attention": ATTENTION, "plain": PLAIN}
EXPECTED = {
    "counting": "an example that learns with no data, BLEU 100 in 53 CPU seconds",
    "attention": "for some 30,000 pairs; on Multi30k English-Czech BLEU 28.8 in about 18 CPU minutes",
    "plain": "the same without attention: BLEU 11.0 in about 18 CPU minutes",
}
"""For each preset the result to expect and its time on one core (benchmarks/RESULTS.md)."""
