"""Small caption files of every format, and pictures for them."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from datasets.captions.captioned import CaptionedImage, CaptionSplits

NAMES = [f"{letter}.jpg" for letter in "abcdefghij"]


def draw(folder: Path, names: Sequence[str] = NAMES) -> None:
    """A picture for each name, all different."""
    for name in names:
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        seed = int.from_bytes(hashlib.sha256(str(file).encode()).digest()[:4], "big")
        pixels = np.random.default_rng(seed).integers(0, 256, (4, 6, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(file, quality=95)


def write(file: Path, text: str, encoding: str = "utf-8") -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(text.encode(encoding))
    return file


def coco(file: Path, said: dict[str, list[object]], **more: object) -> Path:
    images = [{"id": 7 * n, "file_name": name, "license": 1} for n, name in enumerate(said)]
    pairs = [(7 * n, caption) for n, several in enumerate(said.values()) for caption in several]
    annotations = [
        {"id": n, "image_id": image, "caption": text} for n, (image, text) in enumerate(pairs)
    ]
    return write(
        file, json.dumps({"info": {}, "images": images, "annotations": annotations[::-1]} | more)
    )


def simple(names: Sequence[str] = NAMES) -> dict[str, list[object]]:
    return {name: [f"the picture {Path(name).stem}", "a picture"] for name in names}


def found(images: Sequence[CaptionedImage]) -> dict[str, tuple[str, ...]]:
    return {image.name: image.captions for image in images}


def everything(splits: CaptionSplits) -> dict[str, tuple[str, ...]]:
    return found([*splits.train, *splits.validation, *splits.test])


def files(images: Sequence[CaptionedImage]) -> dict[str, str]:
    return {image.name: image.digest() for image in images}


def sha(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def flickr8k(folder: Path) -> Path:
    """The folders and files of the original archives."""
    lines = [f"{name}#{n}\tpicture {name[0]} , sentence {n} ." for name in NAMES for n in range(5)]
    text = folder / "Flickr8k_text"
    token = write(text / "Flickr8k.token.txt", "\n".join(lines) + "\n")
    write(text / "Flickr8k.lemma.token.txt", "\n".join(lines).replace("picture", "LEMMA"))
    write(text / "CrowdFlowerAnnotations.txt", "a.jpg\tb.jpg#2\t0.0\t3\t0\n")
    write(text / "readme.txt", "Captions.\n")
    write(text / "Flickr_8k.trainImages.txt", "".join(f"{name}\n" for name in NAMES[:6]))
    write(text / "Flickr_8k.devImages.txt", "g.jpg\r\nh.jpg")
    write(text / "Flickr_8k.testImages.txt", "i.jpg\nj.jpg\n")
    draw(folder / "Flicker8k_Dataset")
    return token
