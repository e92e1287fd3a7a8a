"""Pixels of a file and places in the image that was made of it."""

import numpy as np
import pytest
import torch
from PIL import Image

from datasets.images import folders
from datasets.images.origins import Origin, letterbox
from glimpse.data import load_boxes

BOX = (40, 10, 60, 30)


def boxed_pictures(folder, size):
    """Write class folders of black pictures, each white in its box, and the table of the boxes."""
    lines = ["file,x1,y1,x2,y2"]
    for kind in "ab":
        (folder / kind).mkdir(parents=True)
        for n in range(3):
            pixels = np.zeros(size, dtype=np.uint8)
            pixels[BOX[1] : BOX[3], BOX[0] : BOX[2]] = 255
            Image.fromarray(pixels).save(folder / kind / f"{n}.png")
            lines.append(f"{kind}/{n}.png,{','.join(map(str, BOX))}")
    (folder / "boxes.csv").write_text("\n".join(lines))


@pytest.mark.parametrize("size", [None, (40, 40), (150, 100), (20, 90)])
@pytest.mark.parametrize("native", [(50, 100), (100, 64)])
def test_a_box_marks_the_same_thing_whatever_size_the_image_has(tmp_path, native, size):
    boxed_pictures(tmp_path, native)
    images = folders.load(tmp_path, size=size).train
    box = load_boxes(tmp_path / "boxes.csv", images)[0, 0]
    image = images.fetch(torch.tensor([0]))[0][0].float() / 255
    height, width = image.shape
    x1, x2 = ((box[[0, 2]] + 1) / 2 * width).round().int().tolist()
    y1, y2 = ((box[[1, 3]] + 1) / 2 * height).round().int().tolist()
    inside = image[y1:y2, x1:x2].sum()
    assert inside > 0.9 * image.sum()
    assert inside > 0.8 * (x2 - x1) * (y2 - y1)


def test_there_and_back():
    origin = Origin("a/1.png", (480, 640), (200, 100))
    places = torch.tensor([[0.0, 0.0], [640.0, 480.0], [123.0, 45.0]])
    torch.testing.assert_close(origin.to_file(origin.to_image(places)), places)


def test_letterbox_keeps_thin_pictures():
    thin = Image.fromarray(np.full((1, 1000), 255, dtype=np.uint8))
    boxed = np.asarray(letterbox(thin, (9, 9)))
    assert boxed.shape == (9, 9)
    assert (boxed[4] == 255).all()
    assert boxed.sum() == 9 * 255
