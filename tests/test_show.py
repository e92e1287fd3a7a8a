"""The command that shows where a model looks, on real files from end to end."""

import io
import json
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import matplotlib
import numpy as np
import pytest
import torch
from PIL import Image, ImageSequence

from core import checkpoint, cli
from core.config import to_dict
from datasets.pictures import name_outputs
from glimpse import drawing, retina, show
from glimpse.config import Config
from glimpse.model import RecurrentAttention, greedy
from glimpse.scanpath import follow, seen_so_far, to_picture
from glimpse.sensor import make_sensor

CONFIG = Config(patch=4, scales=2, glimpses=3, what=8, where=8, glimpse=16, hidden=16)
CLASSES = ["nought", "$cross_", "Kringel ○"]
SIDE = 20
GREY = 77  # a colour that is nowhere else in a drawing


def make_model(channels: int = 1) -> RecurrentAttention:
    """A model whose untrained locations lie well apart."""
    torch.manual_seed(2)
    model = RecurrentAttention(CONFIG, channels, len(CLASSES)).eval()
    with torch.no_grad():
        model.location.weight.normal_(std=6)
        model.location.bias.copy_(torch.tensor([-1.5, 1.0]))
        model.action.weight.normal_(std=3)
    return model


def save_run(folder: Path, channels: int = 1) -> Path:
    folder.mkdir()
    extras = {"classes": CLASSES, "image_shape": [channels, SIDE, SIDE]}
    weights = make_model(channels).state_dict()
    payload = {"config": to_dict(CONFIG), "step": 1, "seconds": 1.0, "metrics": {}, "weights": weights}
    checkpoint.save(folder / "best.pt", "glimpse", payload | {"extras": extras})
    return folder


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return save_run(tmp_path / "run")


def call(*arguments: object) -> int:
    """The exit code of `glimpse show ARGUMENTS`."""
    try:
        return cli.guard("glimpse show", show.main, [str(each) for each in arguments])
    except SystemExit as stop:
        return int(stop.code or 0)


def random_picture(height: int = SIDE, width: int = SIDE, mode: str = "L") -> Image.Image:
    shape = (height, width) if mode == "L" else (height, width, 3)
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8))


def episode(picture: Image.Image, glimpses: int = 3):
    with torch.no_grad():
        return make_model().look(torch.from_numpy(np.array(picture))[None, None], glimpses, greedy)


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
        ring = np.round(np.stack([row + 12.5 * np.sin(angles), column + 12.5 * np.cos(angles)])).astype(int)
        assert (np.abs(pixels[ring[0], ring[1]] - colour(t, 3)) <= 1).all()


def test_outlines_are_the_patches(run: Path):
    picture = Image.new("L", (SIDE, SIDE), GREY)
    picture.save("even.png")
    assert call(run, "even.png", "--glimpses", 1) == 0
    pixels, left, top, right, _ = panel(Path("scanpaths/even.scanpath.png"))
    scale, (x, y) = (right - left) / SIDE, (episode(picture).locations[0, 0].double() + 1) / 2 * SIDE
    for width, least in ((4, 0.8), (8, 0.3)):
        corner_x, corner_y = round(float(x - width / 2)), round(float(y - width / 2))
        assert 0 <= corner_x <= SIDE - width, "the patch lies within the image"
        assert 0 <= corner_y <= SIDE - width, "the patch lies within the image"
        quarter = (
            corner_x + width / 4,
            corner_y + width / 4,
        )  # where no corner is and no number hides the edge
        edges = [(quarter[0], corner_y), (quarter[0], corner_y + width)]
        edges += [(corner_x, quarter[1]), (corner_x + width, quarter[1])]
        for edge_x, edge_y in edges:
            column, row = round(left + edge_x * scale), round(top + edge_y * scale)
            near = pixels[row - 2 : row + 3, column - 2 : column + 3].reshape(-1, 3)
            mixed = GREY + least * (colour(0, 1) - GREY)
            assert (np.abs(near - GREY).max(0) >= np.abs(mixed - GREY) - 3).all()


def test_json_is_the_episode(run: Path, capsys: pytest.CaptureFixture[str]):
    picture = random_picture()
    picture.save("noise.png")
    assert call(run, "noise.png", "--json", "--glimpses", 5, "--out", "a/b") == 0
    (told,) = json.loads(capsys.readouterr().out)
    expected = episode(picture, 5)
    probabilities = expected.logits[:, 0].softmax(-1)
    assert told["file"] == "noise.png"
    assert [Path(each) for each in told["drawn"]] == [Path("a/b/noise.scanpath.png")]
    assert told["size"] == told["looked_at_size"] == [SIDE, SIDE]
    assert told["prediction"] == CLASSES[int(probabilities[-1].argmax())]
    assert told["probability"] == pytest.approx(float(probabilities[-1].max()))
    assert len(told["glimpses"]) == 5
    for t, glimpse in enumerate(told["glimpses"]):
        location = expected.locations[t, 0]
        assert glimpse["location"] == pytest.approx(location.tolist())
        assert glimpse["pixel"] == pytest.approx(((location + 1) / 2 * SIDE).tolist())
        assert list(glimpse["probabilities"]) == CLASSES
        assert list(glimpse["probabilities"].values()) == pytest.approx(probabilities[t].tolist(), abs=1e-6)


def test_sizes_and_inversion(run: Path, capsys: pytest.CaptureFixture[str]):
    wide = random_picture(30, 90)
    wide.save("wide.png")
    assert call(run, "wide.png", "--json") == 0
    (told,) = json.loads(capsys.readouterr().out)
    assert (told["size"], told["looked_at_size"]) == ([90, 30], [SIDE, SIDE])
    square = Image.new(wide.mode, (90, 90))  # as in training: its own aspect, on black
    square.paste(wide, (0, 30))
    location = episode(square.resize((SIDE, SIDE))).locations[-1, 0]
    assert told["glimpses"][-1]["location"] == pytest.approx(location.tolist())
    in_picture = (location + 1) * 45 - torch.tensor([0, 30])
    assert told["glimpses"][-1]["pixel"] == pytest.approx(in_picture.tolist(), abs=1e-4)

    assert call(run, "wide.png", "--json", "--native", "--invert") == 0
    (told,) = json.loads(capsys.readouterr().out)
    assert told["looked_at_size"] == [90, 30]
    inverted = episode(Image.fromarray(255 - np.array(wide))).locations[-1, 0]
    assert told["glimpses"][-1]["location"] == pytest.approx(inverted.tolist())


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


def png_claiming(width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    parts = [(b"IHDR", header), (b"IDAT", zlib.compress(b"\0")), (b"IEND", b"")]
    chunks = [struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in parts]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def break_picture(kind: str, path: Path) -> None:
    random_picture(40, 40).save(path)
    if kind == "truncated":
        path.write_bytes(path.read_bytes()[:700])
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "no image":
        path.write_text("a picture is worth a thousand words")
    elif kind == "bomb":
        path.write_bytes(png_claiming(60_000, 60_000))
    elif kind == "1x1":
        random_picture(1, 1).save(path)
    elif kind == "missing":
        path.unlink()


@pytest.mark.parametrize("kind", ["truncated", "empty", "no image", "bomb", "1x1", "missing"])
def test_malformed_pictures_have_one_line(kind: str, run: Path, capsys: pytest.CaptureFixture[str]):
    break_picture(kind, Path("odd one.png"))
    assert call(run, "odd one.png") == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith("glimpse show: odd one.png: ")
    assert not Path("scanpaths").exists()


def test_a_broken_picture_does_not_stop_the_others(run: Path, capsys: pytest.CaptureFixture[str]):
    Path("inside/deeper").mkdir(parents=True)
    random_picture().save("inside/first.png")
    break_picture("truncated", Path("inside/second.png"))
    random_picture().save("inside/deeper/third.bmp")
    assert call(run, "nowhere", "inside") == 2
    out, err = capsys.readouterr()
    assert [line.partition(": ")[2].partition(":")[0] for line in err.splitlines()] == [
        "nowhere",
        str(Path("inside/second.png")),
    ]
    assert len(out.splitlines()) == 2
    written = sorted(path.name for path in Path("scanpaths").iterdir())
    assert written == ["first.scanpath.png", "third.scanpath.png"]


def test_cmyk_deep_and_animated_pictures(tmp_path: Path, run: Path, capsys: pytest.CaptureFixture[str]):
    grey, colours = random_picture(), random_picture(mode="RGB")
    colours.convert("CMYK").save("cmyk.tif")
    Image.fromarray(np.array(grey).astype(np.uint16) * 257).save("deep.png")
    grey.save("animated.gif", save_all=True, append_images=[Image.new("L", (SIDE, SIDE))])
    assert call(run, "cmyk.tif", "deep.png", "animated.gif", "--json") == 0
    _, deep, animated = json.loads(capsys.readouterr().out)
    expected = episode(grey).logits[-1, 0].softmax(-1).tolist()
    for told in (deep, animated):
        assert list(told["glimpses"][-1]["probabilities"].values()) == pytest.approx(expected, abs=1e-5)
    assert call(save_run(tmp_path / "colour", channels=3), "cmyk.tif") == 0


def test_outputs_never_meet(run: Path):
    for folder in ("a", "b", "scanpaths"):
        Path(folder).mkdir()
    files = [Path(name) for name in ("a/x.png", "b/x.png", "a/X.bmp", "scanpaths/x-2.scanpath.png")]
    targets = [target.name for _, target in name_outputs(files, Path("scanpaths"), "scanpath")]
    assert targets == [
        *("x.scanpath.png", "x-3.scanpath.png", "X-4.scanpath.png"),
        "x-2.scanpath.scanpath.png",
    ]

    for file in (files[0], files[1], files[3]):
        random_picture().save(file)
    mine = files[3].read_bytes()
    assert call(run, files[0], "scanpaths") == 0
    assert files[3].read_bytes() == mine
    assert {path.name for path in Path("scanpaths").iterdir()} == {targets[0], targets[3], files[3].name}


def test_large_pictures(run: Path, capsys: pytest.CaptureFixture[str]):
    large = Image.new("L", (4096, 4096), 200)
    large.paste(0, (2048, 0, 4096, 4096))
    large.save("large.bmp")
    assert call(run, "large.bmp", "--native", "--json") == 0
    (told,) = json.loads(capsys.readouterr().out)
    assert told["looked_at_size"] == [4096, 4096]
    with Image.open("scanpaths/large.scanpath.png") as drawn:
        assert max(drawn.size) < 3000


def test_bad_arguments(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    random_picture().save("noise.png")
    Path("taken").write_text("")
    for arguments, word in (
        ((run, "noise.png", "--glimpses", 0), "--glimpses"),
        ((run, "noise.png", "--glimpses", 65), "--glimpses"),
        ((run, "noise.png", "--out", "taken"), "taken"),
        ((tmp_path / "none", "noise.png"), "none"),
        ((run,), "no picture"),
    ):
        assert call(*arguments) == 2
        _, err = capsys.readouterr()
        assert err.count("\n") == 1
        assert word in err


def test_as_a_process_with_a_name_that_is_no_text(run: Path):
    name = os.fsdecode(b"caf\xe9 $x^2$.png")
    try:
        random_picture().save(name)
    except (OSError, UnicodeError):
        pytest.skip("this file system takes no such name")
    command = [sys.executable, "-m", "glimpse", "show", str(run), name, "--json"]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)[0]["file"] == name


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
    alone = follow(make_model(), images[:1], CLASSES, 3)
    torch.testing.assert_close(paths[0].probabilities, alone[0].probabilities)
    assert not torch.equal(paths[0].probabilities, paths[1].probabilities)
    one = Image.open(io.BytesIO(drawing.contact_sheet(alone, [0])))
    two = Image.open(io.BytesIO(drawing.contact_sheet(paths, [0, 1])))
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
    page = retina.draw(image, make_sensor(5, scales=3))
    width, height = page.image().size
    assert width > height > 300
    assert to_picture(torch.tensor([[[0.0, 1.0]]])).getpixel((1, 0)) == 255
