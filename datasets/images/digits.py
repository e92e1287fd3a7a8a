"""Labelled images by name: handwritten digits and their relatives, or the user's own class folders.

    splits = load("mnist", root="data")      # 55,000 train, 5,000 validation, 10,000 test

The official test set is `test`; `validation` is a part of the official training set, stratified,
the same in every run whatever the training seed:

    digits                       1,797 of 8x8, built into scikit-learn: 60 / 20 / 20 %
    mnist fashion-mnist kmnist   60,000 + 10,000 of 28x28: 5,000 of the training set
    qmnist                       60,000 + 60,000 of 28x28 (10,000 test digits are MNIST's): 5,000
    emnist-SPLIT    of 28x28: 5,000; SPLIT is byclass bymerge balanced letters digits mnist
    svhn cifar10                 73,257 + 26,032 and 50,000 + 10,000 of 3x32x32: 5,000
    a path with a folder         see `datasets.images.folders`
"""

import gzip
import string
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch

from core.errors import InputError
from datasets.builtin import require_no_namesake
from datasets.images import folders
from datasets.images.splits import Images, Splits, hold_out, shuffled

_DIGITS = tuple(string.digits)
_CLOTHES = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)
_KANA = ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")
_LETTERS = tuple(string.ascii_lowercase)
# Lower case that differs from upper case.
_DISTINCT = (
    *_DIGITS,
    *string.ascii_uppercase,
    *"abdefghnqrt",
)
_ALL = (*_DIGITS, *string.ascii_uppercase, *_LETTERS)

# name: (torchvision's class, prefix of the training files, prefix of the test files, classes)
_IDX = {
    "mnist": ("MNIST", "train", "t10k", _DIGITS),
    "fashion-mnist": ("FashionMNIST", "train", "t10k", _CLOTHES),
    "kmnist": ("KMNIST", "train", "t10k", _KANA),
    "qmnist": ("QMNIST", "qmnist-train", "qmnist-test", _DIGITS),
} | {
    f"emnist-{split}": ("EMNIST", f"emnist-{split}-train", f"emnist-{split}-test", classes)
    for split, classes in {
        "byclass": _ALL,
        "bymerge": _DISTINCT,
        "balanced": _DISTINCT,
        "letters": _LETTERS,
        "digits": _DIGITS,
        "mnist": _DIGITS,
    }.items()
}
NAMES = ("digits", *_IDX, "svhn", "cifar10")
_TORCHVISION = {
    "svhn": "train_32x32.mat and test_32x32.mat",
    "cifar10": "the folder cifar-10-batches-py",
}
_OR_DOWNLOAD = "or add --download where there is a network"
_VALIDATION = 5_000


def load(
    name: str,
    *,
    root: str | Path = "data",
    download: bool = False,
    grey: bool | None = None,
    size: tuple[int, int] | None = None,
    memory: float = folders.MEMORY,
    workers: int = 2,
) -> Splits:
    """Load the data set `name` (one of `NAMES`, or the path of a folder) on the CPU.

    `root` is the folder torchvision calls so; files that are not there are fetched if `download` is
    set. What follows is for folders alone: see `datasets.images.folders.load`.
    Raises InputError where the name is unknown, or a folder here has it too, or the files are
    missing or broken.
    """
    if name not in NAMES:
        if Path(name).is_dir():
            return folders.load(name, grey=grey, size=size, memory=memory, workers=workers)
        raise InputError(
            f"no data set or folder is called {name!r}; the data sets are {', '.join(NAMES)}"
        )
    if Path(name).is_dir() and Path(name) != Path(root):
        require_no_namesake(name)
    if size is not None:
        raise InputError(f"a size can be chosen for class folders only, not for {name}")
    if name == "digits":
        return _builtin()
    read = _idx if name in _IDX else _torchvision
    train, test = read(name, Path(root), download)
    validation, train = hold_out(shuffled(train), min(_VALIDATION / len(train), 1 / 6))
    return Splits(train, validation, test)


def _builtin() -> Splits:
    """Return scikit-learn's digits (the test part of UCI's optdigits), 0..16 scaled to 0..255."""
    from sklearn.datasets import load_digits

    source: Any = load_digits()
    pixels = torch.from_numpy(source.images * (255 / 16)).round().to(torch.uint8)
    everything = Images(pixels[:, None], torch.from_numpy(source.target).long(), _DIGITS)
    test, rest = hold_out(shuffled(everything), 0.2)
    validation, train = hold_out(rest, 0.25)
    return Splits(train, validation, test)


def _idx(name: str, root: Path, download: bool) -> tuple[Images, Images]:
    """Read the official training and test set of MNIST or a relative in the same file format."""
    kind, train, test, classes = _IDX[name]
    labels = "labels-idx2-int" if name == "qmnist" else "labels-idx1-ubyte"
    folder = root / kind / "raw"
    parts = [
        (folder / f"{part}-images-idx3-ubyte", folder / f"{part}-{labels}")
        for part in (train, test)
    ]
    files = [file for part in parts for file in part]
    if not all(file.exists() or _gz(file).exists() for file in files):
        if not download:
            names = ", ".join(file.name for file in files)
            raise InputError(
                f"{name} is not here: put {names} (.gz or not) into {folder}, {_OR_DOWNLOAD}"
            )
        for is_train in (True, False):
            split = {"split": name.removeprefix("emnist-")} if kind == "EMNIST" else {}
            _fetch(name, kind, root, train=is_train, download=True, **split)
    return _read_part(name, *parts[0], classes), _read_part(name, *parts[1], classes)


def _read_part(name: str, image_file: Path, label_file: Path, classes: tuple[str, ...]) -> Images:
    images, labels = _read_idx(image_file), _read_idx(label_file)
    dimensions = 2 if name == "qmnist" else 1
    shaped = images.dtype == np.uint8 and images.ndim == 3 and labels.ndim == dimensions
    if not (shaped and 0 < len(images) == len(labels)):
        raise InputError(
            f"{image_file} {images.shape} and {label_file.name} {labels.shape} do not match"
        )
    if name == "qmnist":
        labels = labels[:, 0]  # the other seven columns tell the writer and the source
    if name == "emnist-letters":
        labels = labels.astype(np.int64) - 1  # numbered from 1 there
    if name.startswith("emnist"):
        images = images.transpose(0, 2, 1)  # stored with rows and columns exchanged
    if labels.min() < 0 or labels.max() >= len(classes):
        raise InputError(
            f"{label_file}: labels {labels.min()} to {labels.max()} are not {name}'s; "
            "fetch it again"
        )
    pixels = torch.from_numpy(np.array(images, order="C"))[:, None]
    return Images(pixels, torch.from_numpy(labels.astype(np.int64)), classes)


def _read_idx(file: Path) -> np.ndarray:
    """Read an array in IDX format: two zero bytes, type, rank; sizes; data, big-endian."""
    try:
        data = file.read_bytes() if file.exists() else gzip.decompress(_gz(file).read_bytes())
        kind, dimensions = {8: np.dtype("u1"), 12: np.dtype(">i4")}[data[2]], data[3]
        sizes = np.frombuffer(data, ">i4", dimensions, offset=4)
        return np.frombuffer(data, kind, offset=4 + 4 * dimensions).reshape(sizes)
    except (OSError, EOFError, zlib.error, LookupError, ValueError) as error:
        raise InputError(f"{file} (or its .gz) is broken: {error}; fetch it again") from error


def _gz(file: Path) -> Path:
    return file.with_name(file.name + ".gz")


def _torchvision(name: str, root: Path, download: bool) -> tuple[Images, Images]:
    """Read the official training and test set of SVHN or CIFAR-10."""
    if name == "svhn":
        parts = [
            _fetch(name, "SVHN", root, split=split, download=download)
            for split in ("train", "test")
        ]
        arrays = [(part.data, part.labels) for part in parts]
        classes = _DIGITS
    else:
        parts = [
            _fetch(name, "CIFAR10", root, train=train, download=download) for train in (True, False)
        ]
        arrays = [(part.data.transpose(0, 3, 1, 2), part.targets) for part in parts]
        classes = tuple(parts[0].classes)
    train, test = (
        Images(torch.from_numpy(np.ascontiguousarray(images)), torch.tensor(labels), classes)
        for images, labels in arrays
    )
    return train, test


def _fetch(name: str, kind: str, root: Path, **options: Any) -> Any:
    """Return torchvision's data set of class `kind`, downloaded if the options say so."""
    import torchvision.datasets

    try:
        return getattr(torchvision.datasets, kind)(root, **options)
    except (RuntimeError, OSError) as error:  # URLError is an OSError
        if options["download"]:
            reason = " ".join(str(error).split())
            raise InputError(f"{name} could not be downloaded into {root}: {reason}") from error
        files = _TORCHVISION[name]
        raise InputError(
            f"{name} is not here or broken: put {files} into {root}, {_OR_DOWNLOAD}"
        ) from error
