"""Captioned images: drawn scenes, or the user's own in any of the usual formats, told apart by looking.

    load("scenes")                     drawn here, nothing to download
    load("flickr8k/")                  a folder with annotations/captions_train.json, captions_val.json and pictures
    load("dataset_coco.json")          one file in a format of `datasets.caption_files`, pictures beside it
    load("photos/")                    pictures with a text file each, a caption a line

torchvision reads some of these, but its `Flickr8k` is silently empty on Flickr8k.token.txt (pytorch/vision#8748), and
its `CocoCaptions` takes pycocotools. Splits are the given ones; where there are none, 90 / 5 / 5 % by a hash of the
names: the same in every run, and hardly changed by a picture that is added.
"""

import hashlib
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from PIL import Image

from core.errors import InputError
from datasets import caption_files, scenes
from datasets.pictures import open_picture

SPLITS = "train", "validation", "test"
SHARE = 0.05  # of the images that are held out for validation, and as many for the test
FOLDERS = "images", "Images", "Flicker8k_Dataset", "Flickr8k_Dataset", "flickr30k_images", "flickr30k-images"


class CaptionedImage(Protocol):
    """An image with its captions."""

    @property
    def name(self) -> str:
        """What its user calls it."""
        ...

    @property
    def captions(self) -> tuple[str, ...]:
        """What people wrote about it."""
        ...

    def open(self) -> Image.Image:
        """Return the RGB picture; raises `InputError` if that cannot be done."""
        ...

    def digest(self) -> str:
        """Return the hash of its content; raises `InputError` if that cannot be read."""
        ...


@dataclass(frozen=True)
class Photo:
    """A picture in a file, and its captions."""

    name: str
    file: Path
    captions: tuple[str, ...]

    def open(self) -> Image.Image:
        """Return the RGB picture; raises `InputError`, naming the file, if it cannot be read."""
        return open_picture(self.file).convert("RGB")

    def digest(self) -> str:
        """Return the SHA-256 of the file; raises `InputError` if it cannot be read."""
        try:
            with self.file.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise InputError(f"{self.file}: {error.strerror or error}") from None


@dataclass(frozen=True)
class CaptionSplits:
    """Train on `train`, choose the model on `validation`, report once on `test`; there may be no test."""

    train: Sequence[CaptionedImage]
    validation: Sequence[CaptionedImage]
    test: Sequence[CaptionedImage] = ()


def load(source: str, images: str | None = None) -> CaptionSplits:
    """Load captioned images; what is missing of them is told in warning lines and left out.

    Args:
        source: "scenes", or a caption file, or a folder that holds caption files or pictures with text files.
        images: folder of the pictures; by default looked for beside the captions.

    Raises:
        InputError: nothing is there, its format is none of those known, or no picture is found.
    """
    if source == "scenes":
        return CaptionSplits(**scenes.splits())
    path = Path(source)
    found = caption_files.read(path)
    if not any(found.values()):
        raise InputError(f"{path}: no caption in it")
    finder = _Finder(path, Path(images) if images else None)
    photos = {split: _photos(captions, finder, path) for split, captions in found.items()}
    if not any(photos.values()):
        raise InputError(f"{path}: not one of its pictures is found; name their folder with --images")
    if set(photos) == {"all"}:
        photos = _split(photos["all"])
    elif photos.get("train") and not photos.get("validation"):
        held = _split(photos["train"])
        photos |= {"train": [*held["train"], *held["test"]], "validation": held["validation"]}
    return CaptionSplits(*(tuple(photos.get(split, ())) for split in SPLITS))


@dataclass(frozen=True)
class _Finder:
    """Finds pictures by the names that captions call them."""

    source: Path
    images: Path | None
    places: list[Path] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.images is not None:
            if not self.images.is_dir():
                raise InputError(f"{self.images}: no such folder of pictures")
            self.places.append(self.images)
            return
        beside = self.source if self.source.is_dir() else self.source.parent
        for folder in (beside, beside.parent):
            inside = sorted(each for each in folder.iterdir() if each.is_dir() and each.name[0] != ".")
            known = [folder / name for name in FOLDERS]
            self.places.extend([folder, *known, *(each for each in inside if each not in known)])

    def __call__(self, name: str) -> Path | None:
        """The file of a picture, or None; the places where others were found are looked at first."""
        for number, place in enumerate(self.places):
            if (file := place / name).is_file():
                self.places.insert(0, self.places.pop(number))
                return file
        return None


def _photos(captions: caption_files.Captions, finder: _Finder, source: Path) -> list[Photo]:
    """The images that have a picture and a caption; the others are counted and named."""
    photos, missing, silent = [], [], []
    for name, sentences in captions.items():
        file = finder(name)
        if not sentences:
            silent.append(name)
        elif file is None:
            missing.append(name)
        else:
            photos.append(Photo(name, file, tuple(sentences)))
    for names, what in ((missing, "pictures are not there"), (silent, "images have no caption")):
        if names:
            first = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
            count = f"{len(names)} of {len(captions)}"
            print(f"warning: {source}: {count} {what} and are left out: {first}", file=sys.stderr)
    return photos


def _split(photos: Sequence[Photo]) -> dict[str, list[Photo]]:
    """Hold out a share for validation and one for the test, at least an image each if there are three."""
    order = sorted(photos, key=lambda photo: hashlib.sha256(os.fsencode(photo.name)).digest())
    held = min(max(1, round(SHARE * len(order))), max(0, (len(order) - 1) // 2))
    return {"validation": order[:held], "test": order[held : 2 * held], "train": order[2 * held :]}
