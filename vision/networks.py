"""The networks of encoders: small ones that are trained from scratch, and those of torchvision."""

from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from core.errors import InputError

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
"""Networks of torchvision that are a chain of modules, which gives a grid, and then a head."""
HEAD = {"avgpool", "classifier", "fc"}


def tiny() -> nn.Module:
    """64 x 64 pixels to 4 x 4 cells of 96 channels, with 116,000 weights.

    With strides instead of pooling it would take half the time, but learn shapes far more slowly.
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


def micro() -> nn.Module:
    """A grid of 32 channels, an eighth of the picture's sides, with 6,000 weights.

    That is enough to see where a thing is and how large. It takes a fifteenth of the time of
    `tiny`, which spends much of it on normalisation and pooling.
    """
    layers: list[nn.Module] = []
    for inputs, outputs in ((3, 8), (8, 16), (16, 32)):
        layers += [nn.Conv2d(inputs, outputs, 3, stride=2, padding=1), nn.ReLU()]
    return nn.Sequential(*layers)


FROM_SCRATCH: dict[str, Callable[[], nn.Module]] = {"tiny": tiny, "micro": micro}
"""The networks of `vision.options.FROM_SCRATCH`."""


def of_torchvision(name: str) -> nn.Module:
    """Return an untrained network of torchvision, up to its grid.

    Raises:
        InputError: there is none of that name.
    """
    from torchvision import models

    require_torchvision(name)
    layers = models.get_model(name, weights=None).named_children()
    return nn.Sequential(OrderedDict((key, layer) for key, layer in layers if key not in HEAD))


def require_torchvision(name: str) -> None:
    """Raise `InputError` if torchvision has no convolutional network of that name."""
    from torchvision import models

    names = [model for model in models.list_models(module=models) if model.startswith(FAMILIES)]
    if name not in names:
        known = f"lite0, lite1, lite2, tiny, micro or of torchvision {', '.join(names)}"
        raise InputError(f"there is no encoder {name!r}: choose {known}")


def best_weights(name: str) -> Any:
    """Return what torchvision knows of the best weights that it has for a network."""
    from torchvision import models

    return models.get_model_weights(name)["DEFAULT"]


def downloaded(name: str, download: bool) -> Path:
    """Return the file of torchvision's best weights in torch's own cache.

    Raises:
        InputError: it is not there, and `download` is False or fails.
    """
    url = best_weights(name).url
    if not download:
        raise InputError(f"{name} comes without weights: give their file, or download {url}")
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    path = folder / Path(url).name
    if not path.exists():
        # Fails without a network, or if the content does not match the hash in the file's name.
        try:
            folder.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(url, str(path), hash_prefix=path.stem.rpartition("-")[2])
        except (OSError, RuntimeError) as error:
            reason = getattr(error, "reason", error)
            hint = "give a file of the weights"
            raise InputError(f"cannot download {url} ({reason}); {hint}") from None
    return path
