"""Everything that decides what a run of the character model becomes, and the presets."""

from dataclasses import dataclass, field, replace
from typing import Annotated, Literal

import tyro

from core.errors import InputError
from core.training.config import LoopConfig, require_at_least, require_share


@dataclass(frozen=True)
class Config:
    """The character model, its text and its training."""

    file: Annotated[str | None, tyro.conf.Positional, tyro.conf.arg(metavar="[FILE]")] = field(
        default=None, metadata={"place": True}
    )
    """Text to learn from, plain or compressed (xz, bzip2, gzip), in UTF-8 or as bytes, of any
    size. However its lines end, the model reads a line feed; bytes are read as they are."""
    corpus: Literal["hello", "pages"] | None = None
    """A built-in text where no file is given: hello, the lecture's, or pages of small XML and wiki
    markup."""
    bytes: bool = False
    """Read and write bytes instead of characters."""
    held_out: float = 0.1
    """Share of the text, at its end, that is held out; a million characters at most."""

    cell: Literal["lstm", "gru", "rnn"] = "lstm"
    """The recurrent cell."""
    hidden: int = 128
    """Units of each layer."""
    layers: int = 1
    """Recurrent layers."""
    embedding: int = 0
    """Size of the character embedding; 0: none, U takes characters one-hot."""
    tied: bool = False
    """Share the embedding's weights with the output matrix V (Press and Wolf 2017)."""
    dropout: float = 0.0
    """Dropout probability: of embeddings, between layers, and before the output."""
    locked_dropout: bool = False
    """Drop the same units at all steps of a window (Gal and Ghahramani 2016)."""
    weight_dropout: float = 0.0
    """Share of the recurrent weights W dropped, once a window (Merity et al. 2018)."""
    averaging: float = 0.0
    """Decay of the moving average of the weights, which then validates and writes; 0: none."""

    window: int = 100
    """Characters of a window of truncated backpropagation; the state is carried to the next."""
    reset_rate: float = 0.02
    """Fraction of training windows that start from a zero state, as sampling does."""
    start: str | None = field(default=None, metadata={"place": True, "added": True})
    """Run or checkpoint whose weights to start from; characters it lacks are learned anew."""

    loop: LoopConfig = field(default_factory=LoopConfig)
    """The training loop; a batch counts rows, each of which reads its own stretch of the text."""

    def __post_init__(self):
        if self.file == "":
            raise InputError("the name of the text file is empty")
        require_at_least(1, self, "hidden", "layers", "window")
        require_at_least(0, self, "embedding")
        if self.tied and self.embedding:
            raise InputError("tied embeddings are as wide as a layer: leave out --embedding")
        require_share(self, "dropout", "weight_dropout", "averaging", "held_out", "reset_rate")
        if not self.held_out:
            hint = "without held-out text nothing tells how good the model is"
            raise InputError(f"held-out must be above 0: {hint}")


HELLO = Config(
    corpus="hello",
    hidden=16,
    window=10,
    reset_rate=0.2,
    loop=LoopConfig(
        steps=300, batch=8, learning_rate=2e-2, clip=1.0, log_every=50, validate_every=100
    ),
)
PAGES = Config(
    corpus="pages",
    hidden=160,
    loop=LoopConfig(
        steps=1200, batch=24, learning_rate=5e-3, clip=1.0, warm_up=20, validate_every=300
    ),
)
SMALL = Config(
    hidden=512,
    loop=LoopConfig(
        steps=1200,
        batch=32,
        optimiser="adamw",
        learning_rate=4e-3,
        warm_up=50,
        weight_decay=1e-2,
        clip=1.0,
        log_every=50,
        validate_every=300,
    ),
)
TINYSHAKESPEARE = replace(
    SMALL,
    layers=2,
    dropout=0.4,
    locked_dropout=True,
    weight_dropout=0.3,
    loop=replace(
        SMALL.loop, steps=10_000, warm_up=100, weight_decay=0.1, log_every=100, validate_every=500
    ),
)
SHAKESPEARE = Config(
    hidden=512,
    layers=3,
    dropout=0.3,
    loop=replace(
        SMALL.loop, steps=5000, batch=50, learning_rate=2e-3, warm_up=200, validate_every=500
    ),
)
# One epoch of 27 million characters, four of 5.5 million bytes: as long as that of Shakespeare.
LATEX = replace(
    SHAKESPEARE, dropout=0.1, loop=replace(SHAKESPEARE.loop, steps=5000, validate_every=1250)
)
WIKIPEDIA = replace(
    SHAKESPEARE,
    dropout=0.1,
    bytes=True,
    loop=replace(SHAKESPEARE.loop, steps=8800, batch=25, validate_every=2200),
)
TEN_MILLION = replace(
    SHAKESPEARE,
    hidden=688,
    dropout=0.1,
    loop=replace(SHAKESPEARE.loop, steps=3400, validate_every=850),
)
PRESETS = {
    "hello": HELLO,
    "pages": PAGES,
    "small": SMALL,
    "tinyshakespeare": TINYSHAKESPEARE,
    "shakespeare": SHAKESPEARE,
    "c": TEN_MILLION,
    "latex": LATEX,
    "wikipedia": WIKIPEDIA,
}
EXPECTED = {
    "hello": "four letters, in seconds",
    "pages": "structure, with no data",
    "small": "a text of your own in some ten minutes",
    "tinyshakespeare": "1.40 nats a character in 95 CPU minutes",
    "shakespeare": "all of Shakespeare, 3 layers of 512: 1.48 nats in three hours",
    "c": "6 MB of C, 3 layers of 688, ten million weights: 1.51 nats in four hours",
    "latex": "28 MB of LaTeX, 3 layers of 512, one epoch: 0.97 nats in two hours",
    "wikipedia": "6 MB of Wikipedia's XML as bytes, 3 layers of 512: 1.43 nats in two hours",
}
"""For each preset what to expect (figures in benchmarks/RESULTS.md)."""
