"""Captioned images: drawn scenes, or the user's own in any of the usual formats.

    load("scenes")           drawn here, nothing to download: see `datasets.captions.scenes`
    load("captions.csv")     a file in one of the formats of `datasets.captions.formats`
    load("coco/")            a folder with such files; pictures in one of `FOLDERS` or train2017/
    load("imagefolder/")     metadata.jsonl or metadata.csv, in one folder or one for each split
    load("holiday/")         pictures with a text file each, a caption a line

torchvision reads some of them: its `Flickr8k` is made for a web page, and silently empty with
Flickr8k.token.txt (pytorch/vision#8748); its `CocoCaptions` needs pycocotools.
"""

import dataclasses
import hashlib
import os
import string
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol

from PIL import Image

from core.errors import InputError
from datasets.builtin import require_no_namesake
from datasets.captions import formats, scenes
from datasets.captions.formats import Part
from datasets.images.files import open_picture
from datasets.splits import SPLITS, name_hash
from datasets.text_files import warn

FOLDERS = (
    "images",
    "flicker8k_dataset",
    "flickr8k_dataset",
    "flickr30k_images",
    "flickr30k-images",
)
_SHARE = 0.05


class CaptionedImage(Protocol):
    """An image with its captions."""

    @property
    def name(self) -> str:
        """What its user calls it."""
        ...

    @property
    def captions(self) -> tuple[str, ...]:
        """What people said about it; at least one sentence."""
        ...

    def open(self) -> Image.Image:
        """Return the RGB picture; raises `InputError` if that cannot be done."""
        ...

    def digest(self) -> str:
        """Return the SHA-256 of its content in hexadecimal; raises `InputError` as `open`."""
        ...


@dataclass(frozen=True)
class Photo:
    """A picture in a file, and its captions."""

    name: str
    captions: tuple[str, ...]
    file: Path

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
    """Train on `train`, choose on `validation`, report once on `test`; any may be empty."""

    train: Sequence[CaptionedImage]
    validation: Sequence[CaptionedImage]
    test: Sequence[CaptionedImage] = ()


def load(source: str | Path, images: str | Path | None = None) -> CaptionSplits:
    """Load captioned images; what is left out is told in one line for each reason.

    Given splits are kept; without a validation split, it is 5 % of the training split. Without any
    splits they are 90 / 5 / 5 % by a hash of the names: the same in every run and on every machine,
    and a picture that is added later moves few others.

    Args:
        source: "scenes", a caption file, or a folder of caption files or of pictures with texts.
        images: folder of the pictures; default: beside the captions, or one folder above.

    Raises:
        InputError: nothing is there, its format is none of those known, or no picture is found,
            or a file or a folder here is called "scenes" too.
    """
    if source == "scenes":
        require_no_namesake("scenes")
        return CaptionSplits(**scenes.splits())
    if not str(source) or images == "":
        raise InputError("the name of the data is empty: name a caption file or a folder")
    source = Path(source)
    if images is not None:
        images = Path(images)
    if images and not images.is_dir():
        raise InputError(f"{images}: no such folder of pictures")
    parts = formats.read(source)
    photos: dict[str, dict[Path, Photo]] = {}
    for part in parts:
        places = [images] if images else _places(part)
        in_split = photos.setdefault(part.split, {})
        for photo in _photos(source, part, places):
            in_split[photo.file] = _joined(in_split.get(photo.file), photo)
    if not any(photos.values()):
        raise _nothing(source, parts, images)
    return _splits({split: list(found.values()) for split, found in photos.items()})


def _places(part: Part) -> list[Path]:
    """Where the pictures of a part may lie: a folder named after its split, or a common one."""
    roots = [part.base, part.base.absolute().parent]
    pictures = roots + [
        sub for root in roots for sub in _subfolders(root) if sub.name.lower() in FOLDERS
    ]
    named = [
        (SPLITS.get(sub.name.lower().rstrip(string.digits)), sub)
        for place in pictures
        for sub in _subfolders(place)
    ]
    return [
        part.base,
        *(sub for split, sub in named if split and part.told in (split, "all")),
        *pictures,
    ]


def _subfolders(folder: Path) -> list[Path]:
    try:
        return sorted(folder / entry.name for entry in os.scandir(folder) if entry.is_dir())
    except OSError:  # a folder that may not be listed
        return []


def _files(folder: Path) -> list[Path]:
    try:
        return sorted(folder / entry.name for entry in os.scandir(folder) if entry.is_file())
    except OSError:  # a folder that may not be listed
        return []


def _photos(source: Path, part: Part, places: list[Path]) -> list[Photo]:
    """The images that have a picture and a caption; what is left out is counted and named."""
    photos: list[Photo] = []
    missing: list[str] = []
    silent: list[str] = []
    empty: list[str] = []
    finder = _Finder(places)
    for name, captions in part.captions.items():
        sentences = tuple(filter(None, map(_clean, captions)))
        empty += [name] * (len(captions) - len(sentences))
        if not sentences:
            silent.append(name)
        elif file := finder.find(name):
            photos.append(Photo(name, sentences, file))
        else:
            missing.append(name)
    unclear = [photo.name for photo in photos if finder.is_unclear(photo.file)]
    photos = [photo for photo in photos if not finder.is_unclear(photo.file)]
    if photos or unclear:
        reason = "names in different folders that would be one picture"
        warn(source, reason, unclear, len(part.captions))
    if photos:
        warn(source, "empty captions", empty)
        warn(source, "images without a caption", silent, len(part.captions))
        warn(source, "pictures that are not there", missing, len(part.captions))
    return photos


def _joined(first: Photo | None, second: Photo) -> Photo:
    """Return one picture that has two names, as a.jpg and images/a.jpg, with all its captions."""
    if first is None:
        return second
    new = [caption for caption in second.captions if caption not in first.captions]
    return dataclasses.replace(first, captions=(*first.captions, *new))


def _clean(caption: str) -> str:
    """A caption in one line, without lone surrogates, which JSON may hold and no file can."""
    return " ".join(caption.encode(errors="replace").decode().split())


class _Finder:
    """Finds pictures by their names in folders, of which the first come first."""

    def __init__(self, places: Sequence[Path]):
        self.places = places
        self._folders: dict[Path, set[PurePosixPath]] = {}  # names found by their last part alone
        self._lower: dict[str, list[Path]] | None = None

    def find(self, name: str) -> Path | None:
        """Return the first file of that name, or else of the last part of that name.

        Backslashes may separate folders. If there is none, the case of letters does not matter,
        where exactly one file fits.
        """
        plain = PurePosixPath(name.replace("\\", "/"))
        file = self._first(name) or self._first(str(plain))
        if file is None:
            file = self._first(plain.name) or self._in_another_case(plain.name)
            if file:
                self._folders.setdefault(file, set()).add(plain)
        return file

    def is_unclear(self, file: Path) -> bool:
        """Return whether names in different folders, cats/a.jpg and dogs/a.jpg, are this file.

        b/a.jpg and a/b/a.jpg may well be one picture.
        """
        names = sorted(self._folders.get(file, ()), key=lambda name: len(name.parts))
        if not names:
            return False
        longest = names[-1].parts
        return any(longest[-len(name.parts) :] != name.parts for name in names)

    def _first(self, name: str) -> Path | None:
        files = (place / name for place in self.places)
        # os.path.isfile, unlike Path.is_file, raises no error for what cannot be a name.
        return next(filter(os.path.isfile, files), None)

    def _in_another_case(self, name: str) -> Path | None:
        if self._lower is None:
            self._lower = {}
            for place in dict.fromkeys(place.resolve() for place in self.places):
                for file in _files(place):
                    self._lower.setdefault(file.name.lower(), []).append(file)
        files = self._lower.get(name.lower(), [])
        return files[0] if len(files) == 1 else None


def _nothing(source: Path, parts: Sequence[Part], images: Path | None) -> InputError:
    """The error that no image has both a picture and a caption."""
    names = [
        name
        for part in parts
        for name, captions in part.captions.items()
        if any(map(_clean, captions))
    ]
    if not names:
        return InputError(f"{source}: there is not one caption in it")
    place = f"in {images}" if images else "beside it; name their folder with --images"
    return InputError(
        f"{source}: not one of its {len(names)} pictures, such as {names[0]}, is {place}"
    )


def _splits(photos: dict[str, list[Photo]]) -> CaptionSplits:
    """The given splits; what is not given is held out of the others, at least one image."""
    train = photos.get("train", [])
    validation = photos.get("validation", [])
    test = photos.get("test", [])
    everything = sorted(photos.get("all", train), key=lambda photo: name_hash(photo.name))
    held = min(max(1, round(_SHARE * len(everything))), (len(everything) - 1) // 2)
    if "all" in photos:
        validation, test, train = (
            everything[:held],
            everything[held : 2 * held],
            everything[2 * held :],
        )
    elif not validation and train:
        validation, train = everything[:held], everything[held:]
    return CaptionSplits(tuple(train), tuple(validation), tuple(test))
