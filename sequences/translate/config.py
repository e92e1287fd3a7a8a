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
    """The translator, its data and its training."""

    data: tuple[str, ...] = field(default=("counting",), metadata={"place": True})
    """counting (built in), or your own pairs: two text files, line n of one translating line n of
    the other, or what their names begin with; .gz too."""
    validation: tuple[str, ...] = field(default=(), metadata={"place": True})
    """Validation pairs, named likewise; none: every twentieth pair is held out, 1,000 at most."""
    source: str = "en"
    """Suffix of the files to translate from, where only what their names begin with is given."""
    target: str = "cs"
    """Suffix of the files to translate to."""

    vocabulary: int = 6000
    """BPE subwords of each language."""
    min_count: int = 2
    """Subwords seen less often are unknown to the translator."""
    longest: int = 60
    """Subwords of a training sentence at most; pairs with a longer one are left out."""

    attention: bool = True
    """Attend to all subwords of the source; without, the decoder knows the encoder's last state."""
    input_feeding: bool = False
    """Feed the decoder its last attentional output (Luong et al. 2015); slower, as step by step."""
    cell: Literal["lstm", "gru", "rnn"] = "lstm"
    """The recurrent cell of encoder and decoder."""
    embedding: int = 256
    """Size of the embeddings; the target's are also the output weights."""
    hidden: int = 384
    """Units of a layer of the decoder, and of both directions of the encoder together."""
    layers: int = 1
    """Layers of encoder and decoder."""
    dropout: float = 0.3
    """Dropout probability: of embeddings, between layers, of both outputs, before the softmax."""
    word_dropout: float = 0.1
    """Share of input subwords, on either side, that are replaced by <unk> in training."""
    smoothing: float = 0.1
    """Label smoothing: share of the target that is spread over all subwords."""

    beam: int = 5
    """Beam width for translating; validation during training is greedy."""
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
        require_at_least(0, self, "length_penalty")
        if self.hidden % 2:
            half = "half for each direction of the encoder"
            raise InputError(f"hidden must be even, {half}, not {self.hidden}")
        if self.input_feeding and not self.attention:
            raise InputError("input feeding feeds attentional outputs: it needs attention")


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
    "attention": "some 30,000 pairs; Multi30k English-Czech BLEU 28.8 in about 18 CPU minutes",
    "plain": "the same without attention: BLEU 11.0 in about 18 CPU minutes",
}
"""For each preset the result to expect and its time on one core (benchmarks/RESULTS.md)."""
