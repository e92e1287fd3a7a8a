"""Opens one picture of any format Pillow reads, or says in one line why it cannot; finds pictures.

HEIC, the format of many phones, is read where the extra `heic` (pillow-heif) is installed.
"""

import functools
import io
import os
import sys
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from core.errors import InputError

HEIC = (".heic", ".heif")
HAS_HEIC = find_spec("pillow_heif") is not None
SUFFIXES = (
    *(".avif", ".bmp", ".gif", ".jfif", ".jp2", ".jpeg", ".jpg", ".pbm"),
    *(".pgm", ".png", ".pnm", ".ppm", ".tga", ".tif", ".tiff", ".webp"),
    *(HEIC if HAS_HEIC else ()),
)
INSTALL_HEIC = 'install the extra "heic"'
CONVERT = "a format that is not read; convert it to JPEG or PNG"
UNREADABLE: dict[str, str] = {
    **dict.fromkeys(HEIC, INSTALL_HEIC),
    **dict.fromkeys((".arw", ".cr2", ".cr3", ".dng", ".jxl", ".nef", ".orf"), CONVERT),
    **dict.fromkeys((".psd", ".raw", ".svg"), CONVERT),
}
"""Suffixes of pictures that are left out of folders, with the reason."""
ORIENTATION = 0x0112  # the EXIF tag, and its values for pictures that lie on their side:
SIDEWAYS = (5, 6, 7, 8)
SMALLEST = 2  # pixels of the shorter side of a picture that can be looked at
DRAWN = (".caption", ".scanpath")  # before the suffix of what our commands draw
_DEEP = {"I", "I;16", "I;16L", "I;16B", "I;16N"}
_GREY = {"1", "L", "LA", "La"}


def open_picture(path: str | os.PathLike[str]) -> Image.Image:
    """Return the picture in `path`, upright, in mode "L" (grey) or "RGB", 8 bits a channel.

    - It is turned as its EXIF orientation says, and of an animation it is the first frame.
    - Transparent parts are laid on white, as on paper.
    - 16-bit grey is scaled, 65535 to 255 (Pillow's own conversion clips at 255).
    - Grey files give grey pictures, by mode or palette; all others give RGB.

    Raises InputError, naming the file, if it is missing, a folder, empty, truncated, no picture, or
    has more pixels than Pillow's limit against decompression bombs (`PIL.Image.MAX_IMAGE_PIXELS`,
    about 89 million).
    """
    with _opened(path) as source:
        return _flatten(ImageOps.exif_transpose(source))


def picture_header(path: str | os.PathLike[str]) -> tuple[int, int, bool]:
    """Return height and width of the upright picture and whether it is grey, without decoding it.

    Raises InputError as `open_picture` does, except for broken pixels.
    """
    with _opened(path) as source:
        sideways = _orientation(source) in SIDEWAYS
        height, width = source.size if sideways else source.size[::-1]
        return height, width, source.mode in _DEEP | _GREY or _has_grey_palette(source)


def require_size(path: str | os.PathLike[str], height: int, width: int) -> None:
    """Raise `InputError` for a picture in which there are no two places to tell apart."""
    if min(height, width) < SMALLEST:
        raise InputError(
            f"{path}: smaller than {SMALLEST} x {SMALLEST} pixels ({width} x {height})"
        )


def to_tensor(picture: Image.Image) -> UInt8[Tensor, "channels height width"]:
    """Return the pixels of an opened picture: one channel if it is grey, three if it is RGB."""
    pixels = torch.from_numpy(np.array(picture))
    return pixels[None] if pixels.ndim == 2 else pixels.permute(2, 0, 1).contiguous()


def encode(picture: Image.Image, form: str, **options: Any) -> bytes:
    """Return a picture as the bytes of a file of Pillow's format `form`."""
    file = io.BytesIO()
    picture.save(file, form, **options)
    return file.getvalue()


def find_pictures(paths: Iterable[str | os.PathLike[str]]) -> list[Path]:
    """Return files as they are given, and for each folder the sorted pictures in and below it.

    In folders a picture is a file with one of `SUFFIXES`, but none whose name, or whose folder's
    name, begins with a dot, and none that was drawn by commands of this project, as
    NAME.caption.png. Links to folders are followed, except to those that the folder lies in.
    A line on standard error says what is left out and why.

    Raises InputError for a path that does not exist and for a folder without pictures.
    """
    found: list[Path] = []
    for path in map(Path, paths):
        if not os.path.isdir(path):
            found.append(_existing(path))
            continue
        inside = pictures_in(path)
        left_out = unreadable_in(path)
        if not inside:
            reason = left_out or f"no picture in this folder (of {' '.join(SUFFIXES)})"
            raise InputError(f"{path}: {reason}")
        if left_out:
            print(f"{path}: left out {left_out}", file=sys.stderr)
        found += inside
    return found


def unreadable_in(folder: Path) -> str:
    """Return how many pictures cannot be read and why: '3 .heic: install ...', or ''."""
    suffixes = [file.suffix.lower() for file in _files_below(folder)]
    counts = Counter(
        suffix for suffix in suffixes if suffix in UNREADABLE and suffix not in SUFFIXES
    )
    return "; ".join(f"{n} {suffix}: {UNREADABLE[suffix]}" for suffix, n in sorted(counts.items()))


def name_outputs(files: Iterable[Path], out: Path, kind: str) -> Iterator[tuple[Path, Path]]:
    """Pair each file NAME with the PNG to write for it, out/NAME.kind.png.

    It is never one of the files, and no two are the same, also on file systems that take upper and
    lower case for the same. A GIF of the same name can be written beside it.
    """
    files = list(files)
    taken = {str(file.resolve()).lower() for file in files}
    numbers = defaultdict[str, Iterator[int]](lambda: count(1))  # those not yet tried for a name

    def free(target: Path) -> bool:
        return taken.isdisjoint(
            str(target.with_suffix(end).resolve()).lower() for end in (".png", ".gif")
        )

    for file in files:
        names = (f"{file.stem}-{n}" if n > 1 else file.stem for n in numbers[file.stem.lower()])
        target = next(filter(free, (out / f"{name}.{kind}.png" for name in names)))
        taken.add(str(target.resolve()).lower())
        yield file, target


def pictures_in(folder: Path) -> list[Path]:
    """Return the sorted pictures in and below a folder, perhaps none: see `find_pictures`."""
    files = [file for file in _files_below(folder) if file.suffix.lower() in SUFFIXES]
    return sorted(file for file in files if Path(file.stem).suffix not in DRAWN and file.is_file())


def _files_below(folder: Path) -> Iterator[Path]:
    """Yield the files in and below a folder, without hidden ones and those in hidden folders.

    Every folder is walked once, by its own path if it has one in here and else by that of a link.
    """
    inside = folder.resolve()
    walked: set[tuple[int, int]] = set()
    starts = [folder]
    for start in starts:  # links are appended, so folders that are no links come first
        for root, folders, names in os.walk(start):
            status = os.stat(root)
            identity = status.st_dev, status.st_ino
            if identity in walked:
                folders.clear()
                continue
            walked.add(identity)
            folders[:] = sorted(name for name in folders if name[0] != ".")
            links = [Path(root, name) for name in folders if os.path.islink(Path(root, name))]
            starts += [link for link in links if not inside.is_relative_to(link.resolve())]
            yield from (Path(root, name) for name in names if name[0] != ".")


def _flatten(picture: Image.Image) -> Image.Image:
    """Convert to one grey or three RGB channels of 8 bits, transparency laid on white."""
    if picture.mode in _DEEP:
        values = np.asarray(picture, dtype=np.int64)
        if values.min() < 0 or values.max() > 65535:
            raise InputError("32-bit grey has no stated white; save it with 8 or 16 bits")
        return Image.fromarray(((values + 128) // 257).astype(np.uint8))
    if picture.mode == "F":
        raise InputError("floating-point grey has no stated white; save it with 8 or 16 bits")
    mode = "L" if picture.mode in _GREY or _has_grey_palette(picture) else "RGB"
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        white = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(white, picture)
    return picture.convert(mode)


def _orientation(source: Image.Image) -> int:
    """Return the EXIF orientation. Pillow would decode a PNG to look for EXIF behind its pixels."""
    if source.format == "PNG" and not source.info.keys() & {"exif", "Raw profile type exif"}:
        return 1
    return source.getexif().get(ORIENTATION, 1)


def _has_grey_palette(picture: Image.Image) -> bool:
    if picture.mode not in ("P", "PA"):
        return False  # Pillow would decode the picture to find that out
    colours = picture.getpalette()
    return colours is not None and colours[0::3] == colours[1::3] == colours[2::3]


def _existing(path: str | os.PathLike[str]) -> Path:
    path = Path(path)
    if os.path.isdir(path):  # unlike Path.is_dir, no error for what cannot be a name
        raise InputError(f"{path}: is a folder, not a picture")
    if not os.path.isfile(path):
        reason = "neither a file nor a link to one" if os.path.lexists(path) else "no such file"
        raise InputError(f"{path}: {reason}")
    return path


@functools.cache
def _register_heic() -> None:
    if HAS_HEIC:
        import pillow_heif

        pillow_heif.register_heif_opener()


@contextmanager
def _opened(path: str | os.PathLike[str]) -> Iterator[Image.Image]:
    """Open the picture in `path`; all errors become an InputError that names the file."""
    if not _existing(path).stat().st_size:
        raise InputError(f"{path}: the file is empty")
    _register_heic()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about odd files that Pillow reads all the same
            # Given a path, Pillow maps plain TIFF and garbles it if EXIF turns it sideways.
            with open(path, "rb") as file, Image.open(file) as picture:
                yield picture
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except Image.DecompressionBombError as error:
        reason = str(error).partition(", could be")[0]
        raise InputError(f"{path}: {reason}; make it smaller") from error
    except UnidentifiedImageError as error:
        needs_heic = Path(path).suffix.lower() in HEIC and not HAS_HEIC
        reason = INSTALL_HEIC if needs_heic else "not a picture that Pillow can read"
        raise InputError(f"{path}: {reason}") from error
    except Exception as error:  # decoders may raise anything: struct.error, KeyError, ...
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{path}: the picture is broken ({reason})") from error
