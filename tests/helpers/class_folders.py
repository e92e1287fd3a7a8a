"""Folders of small pictures, one for each class."""

import numpy as np
from PIL import Image


def picture(folder, name, value, shape=(6, 8)):
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full(shape, value, dtype=np.uint8)).save(folder / name)


def make(folder, cats=20, dogs=40, first=0):
    """Grey pictures of 6x8, each of its own value: cats from `first`, dogs from 100 + `first`."""
    for number in range(cats):
        picture(folder / "cat", f"{number:02}.png", first + number)
    for number in range(dogs):
        picture(folder / "dog", f"{number:02}.png", 100 + first + number)
    return folder
