"""Drawings of scanpaths and of the retina, checked pixel by pixel."""

import io
from pathlib import Path

import matplotlib
import numpy as np
import pytest
import torch
from looker import CLASSES, SIDE, call, episode, make_model, random_picture, save_run
from PIL import Image, ImageSequence

from glimpse import retina
from glimpse.pictures import drawing
from glimpse.pictures.scanpath import Scanpath, follow, seen_so_far, to_picture
from glimpse.sensor import Retina

GREY = 77  # a colour that is nowhere else in a drawing


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return save_run(tmp_path / "run")


def panel(png: Path) -> tuple[np.ndarray, int, int, int, int]:
    """The pixels of a drawing, and left, top, right, bottom of the even grey image on it."""
    pixels = np.asarray(Image.open(png).convert("RGB")).astype(int)
    grey = (pixels == GREY).all(-1)
    columns = grey.any(0)
    left = int(columns.argmax())
    right = left + int((~columns[left:]).argmax())
    rows = np.flatnonzero(grey[:, left:right].any(1))
    return pixels, left, int(rows[0]), right, int(rows[-1]) + 1


def colour(t: int, glimpses: int) -> np.ndarray:
    return np.round(255 * matplotlib.colormaps["plasma"](np.linspace(0.36, 0.93, glimpses))[t, :3])


def test_numbers_lie_where_the_network_looked(run: Path, capsys: pytest.CaptureFixture[str]):
    picture = Image.new("L", (SIDE, SIDE), GREY)
    picture.save("even.png")
    assert call(run, "even.png") == 0
    name = CLASSES[int(episode(picture).logits[-1, 0].argmax())]
    said = capsys.readouterr().out
    assert said.startswith(f"even.png: {name} (")
    assert said.strip().endswith(f"drawn in {Path('scanpaths', 'even.scanpath.png')}")

    pixels, left, top, right, bottom = panel(Path("scanpaths/even.scanpath.png"))
    assert abs((right - left) - (bottom - top)) <= 2
    assert right - left > 400
    angles = np.linspace(0, 2 * np.pi, 16, endpoint=False)
    locations = episode(picture).locations[:, 0].numpy()
    distances = np.abs(locations[:, None] - locations[None]).max(-1) + np.eye(3)
    assert distances.min() > 0.15, "marks would be moved apart"
    for t, (x, y) in enumerate(locations):
        column, row = left + (x + 1) / 2 * (right - left), top + (y + 1) / 2 * (bottom - top)
        ring = np.round(
            np.stack([row + 12.5 * np.sin(angles), column + 12.5 * np.cos(angles)])
        ).astype(int)
        assert (np.abs(pixels[ring[0], ring[1]] - colour(t, 3)) <= 1).all()


def test_outlines_are_the_patches(run: Path):
    picture = Image.new("L", (SIDE, SIDE), GREY)
    picture.save("even.png")
    assert call(run, "even.png", "--glimpses", 1) == 0
    pixels, left, top, right, _ = panel(Path("scanpaths/even.scanpath.png"))
    scale, (x, y) = (
        (right - left) / SIDE,
        (episode(picture).locations[0, 0].double() + 1) / 2 * SIDE,
    )
    for width, least in ((4, 0.8), (8, 0.3)):
        corner_x, corner_y = round(float(x - width / 2)), round(float(y - width / 2))
        assert 0 <= corner_x <= SIDE - width, "the patch lies within the image"
        assert 0 <= corner_y <= SIDE - width, "the patch lies within the image"
        # Where no corner is and no number hides the edge.
        quarter = (
            corner_x + width / 4,
            corner_y + width / 4,
        )
        edges = [(quarter[0], corner_y), (quarter[0], corner_y + width)]
        edges += [(corner_x, quarter[1]), (corner_x + width, quarter[1])]
        for edge_x, edge_y in edges:
            column, row = round(left + edge_x * scale), round(top + edge_y * scale)
            near = pixels[row - 2 : row + 3, column - 2 : column + 3].reshape(-1, 3)
            mixed = GREY + least * (colour(0, 1) - GREY)
            assert (np.abs(near - GREY).max(0) >= np.abs(mixed - GREY) - 3).all()


def test_animation_has_a_frame_for_each_glimpse(run: Path):
    random_picture().save("noise.png")
    assert call(run, "noise.png", "--gif") == 0
    durations, whites = [], []
    with Image.open("scanpaths/noise.scanpath.gif") as animation:
        for each in ImageSequence.Iterator(animation):
            durations.append(each.info["duration"])
            frame = each.convert("RGB")
            assert frame.getpixel((1, 1)) == (255, 255, 255)
            whites.append(int((np.asarray(frame) == 255).all(-1).sum()))
    assert len(durations) == 3
    assert durations[0] == durations[1] < durations[2]
    assert whites[0] > whites[1] > whites[2], "each glimpse adds a column"


def test_what_was_seen_so_far():
    image = torch.from_numpy(np.array(random_picture(8, 12)))
    model = make_model()
    (path,) = follow(model, image[None, None], CLASSES, 2)
    frames = seen_so_far(path, "#ff0000", side=12)
    assert [frame.size for frame in frames] == [(12, 8), (12, 8)]
    known = np.zeros((8, 12), dtype=bool)
    for t, frame in enumerate(frames):
        x, y = path.corners[t, 0].tolist()  # the finest patch shows the pixels as they are
        fine = np.zeros_like(known)
        fine[max(y, 0) : y + 4, max(x, 0) : x + 4] = True
        pixels = np.asarray(frame)
        assert (pixels[fine] == image.numpy()[fine][:, None]).all()
        x, y = path.corners[t, 1].tolist()
        known[max(y, 0) : y + 8, max(x, 0) : x + 8] = True
        assert ((pixels == (255, 0, 0)).all(-1) == ~(known | fine)).all()


def test_contact_sheet():
    images = torch.from_numpy(np.stack([np.array(random_picture())] * 2))[:, None]
    images[1] = 0
    paths = follow(make_model(), images, CLASSES, 3)
    single = follow(make_model(), images[:1], CLASSES, 3)
    torch.testing.assert_close(paths[0].probabilities, single[0].probabilities)
    assert not torch.equal(paths[0].probabilities, paths[1].probabilities)
    one = Image.open(io.BytesIO(drawing.contact_sheet(single, CLASSES[:1])))
    two = Image.open(io.BytesIO(drawing.contact_sheet(paths, CLASSES[:2])))
    assert 1.9 * one.width < two.width < 2.1 * one.width
    assert one.height == two.height


def test_marks_are_spread_only_where_they_crowd():
    points = np.array([[0.0, 0], [0, 0], [0.05, 0], [3, 3]])
    placed = drawing.spread(points, gap=0.5)
    distance = np.hypot(*np.moveaxis(placed[:, None] - placed[None], -1, 0)) + np.eye(4)
    assert distance.min() > 0.49
    np.testing.assert_allclose(placed[3], points[3], atol=1e-3)


def test_the_retina_is_drawn_with_what_it_sees():
    image = torch.zeros(1, 40, 60, dtype=torch.uint8)
    page = retina.draw(image, Retina(5, scales=3))
    width, height = page.image().size
    assert width > height > 300
    assert to_picture(torch.tensor([[[0.0, 1.0]]])).getpixel((1, 0)) == 255


def test_what_was_read_of_a_sequence_is_always_drawn():
    """Though other classes were more probable at glimpses that answer nothing."""
    read = torch.tensor([[0.4, 0.3, 0.2, 0.1, 0], [0.1, 0.1, 0.1, 0.1, 0.6]])
    between = torch.tensor([[0, 0.9, 0.1, 0, 0], [0, 0, 0.95, 0.05, 0]])
    path = Scanpath(
        Image.new("L", (9, 9)),
        torch.zeros(4, 2),
        torch.zeros(4, 1, 2, dtype=torch.int64),
        [3],
        torch.zeros(4, 1, 1, 3, 3),
        torch.stack([between[0], read[0], between[1], read[1]]),
        ("0", "1", "2", "3", "end"),
        symbol_glimpses=2,
    )
    assert path.best() == ("0", pytest.approx(0.24))
    assert drawing.Plate(path, "", classes=1).names == ["0", "end"]
    assert drawing.Plate(path, "", classes=3).names == ["0", "2", "end"]
