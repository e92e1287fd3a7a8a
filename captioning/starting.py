"""A training that starts from another run: its last blocks, its decoder, its view of the images."""

from pathlib import Path

from torch import Tensor

from captioning.config import Config
from captioning.data import Part
from captioning.model import Captioner
from captioning.stitching import stitch
from captioning.trained import Trained
from core.errors import InputError
from vision.encoder import Encoder
from vision.features import extract
from vision.tuning import Tail, Trunk


def tail_of(encoder: Encoder, first: Trained | None, config: Config) -> Tail | None:
    """Return the blocks that are trained: those of the run to start from, or the encoder's own.

    Raises:
        InputError: another number of blocks was trained in that run.
    """
    if first and first.tail:
        if first.config.tune_blocks != config.tune_blocks:
            blocks = f"--tune-blocks {first.config.tune_blocks}"
            raise InputError(f"{config.start} was trained with {blocks}: give that here too")
        return first.tail
    if not config.tune_blocks:
        return None
    return Tail(Trunk(encoder, config.tune_blocks)).to(encoder.mean.device)


def take_over(decoder: Captioner, first: Trained, config: Config) -> None:
    """Start from the decoder of another run; what reads the features of another encoder is new.

    Raises:
        InputError: a layer of that run has another size.
    """
    anew = () if first.config.encoder == config.encoder else ("visual.",)
    try:
        decoder.take_over(first.decoder.state_dict(), anew)
    except ValueError as error:
        what = "a network of other sizes"
        raise InputError(f"{config.start} holds {what}: {error}") from None


def fit_to_encoder(trained: Trained, first: Trained, train: Part, config: Config) -> None:
    """Fit the first layer of the decoder of another run to a new encoder.

    Raises:
        InputError: the encoder of that run was trained, so that its features are not cached.
    """
    if first.config.trains_encoder or first.tail:
        raise InputError(f"{config.start} has an encoder of its own: leave out --encoder")
    old = extract(first.encoder, train.images, Path(config.cache) if config.cache else None)

    def cells(images: Tensor) -> Tensor:
        features = trained.features(images)
        return features[:, :-1] if trained.tail else features

    stitch(trained.decoder.visual, cells, train.source, first.decoder.visual, old)
