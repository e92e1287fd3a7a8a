"""The net that reads whole images: where it sees a class, and the hints that it writes."""

import csv
from dataclasses import replace

import pytest
import torch
from glimpse_command import glimpse, refused

from core.training import checkpoint
from datasets.images import boards
from datasets.images.origins import Origin
from datasets.images.splits import Images
from glimpse.data import load_boxes
from glimpse.presets import TEACHER
from glimpse.teacher.model import Teacher
from glimpse.teacher.train import write_hints


def make():
    """A net whose only active feature is the brightness of the view, which speaks for class 1."""
    torch.manual_seed(0)
    model = Teacher(replace(TEACHER, context=32, filters=8), 1, 2).eval()
    model.convolutions = torch.nn.Sequential(torch.nn.AvgPool2d(4))
    model.action = torch.nn.Linear(1, 2)
    with torch.no_grad():
        model.action.weight.copy_(torch.tensor([[0.0], [10.0]]))
        model.action.bias.copy_(torch.tensor([0.0, 0.0]))
    return model


def test_a_class_is_seen_where_its_features_are_largest():
    images = torch.zeros(1, 1, 32, 64, dtype=torch.uint8)
    images[0, 0, 8:12, 40:48] = 255  # row 2, column 5 of 8 x 8 cells
    places, p = make().locate(images, torch.tensor([1]))
    torch.testing.assert_close(places, torch.tensor([[0.375, -0.375]]), atol=0.05, rtol=0)
    logits = torch.tensor([0.0, 5.0])  # the view is read less 0.5
    torch.testing.assert_close(p, logits.softmax(0)[1:], atol=1e-4, rtol=0)


def test_hints_are_boxes_around_those_places_where_the_class_is_seen(tmp_path):
    pixels = torch.zeros(2, 1, 32, 64, dtype=torch.uint8)
    pixels[:, 0, 8:12, 40:48] = 255
    origins = tuple(Origin(name, (64, 128), (32, 64)) for name in ("b/1.png", "a/2.png"))
    images = Images(pixels, torch.tensor([1, 0]), ("a", "b"), origins)
    assert write_hints(make(), images, tmp_path / "hints.csv") == 1  # the other is taken for b
    with (tmp_path / "hints.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert row["file"] == "b/1.png"
    x1, y1, x2, y2 = (float(row[edge]) for edge in ("x1", "y1", "x2", "y2"))
    assert (x2 - x1, y2 - y1) == pytest.approx((16.0, 8.0))  # four cells of the view, in the file
    assert (x1 + x2) / 2 == pytest.approx(88, abs=4)
    assert (y1 + y2) / 2 == pytest.approx(20, abs=4)
    boxes = load_boxes(tmp_path / "hints.csv", images)
    assert boxes.shape == (2, 1, 4)
    assert boxes[1].isnan().all()


def test_no_hint_lies_beside_its_picture(tmp_path):
    pixels = torch.zeros(2, 1, 32, 64, dtype=torch.uint8)
    pixels[:, 0, 8:12, 40:48] = 255
    origins = (Origin("b/1.png", (64, 128), (32, 64)), Origin("b/2.png", (64, 32), (32, 64)))
    images = Images(pixels, torch.tensor([1, 1]), ("a", "b"), origins)
    assert write_hints(make(), images, tmp_path / "hints.csv") == 1
    assert load_boxes(tmp_path / "hints.csv", images)[1].isnan().all()


def test_a_teacher_teaches_one_that_searches(tmp_path, capfd):
    boards.write_folder(tmp_path / "boards", count=40, size=(96, 96))
    data = ["--data", tmp_path / "boards", "--runs", tmp_path, "--quiet", "--filters", "8"]
    steps = ["--steps", "4", "--batch", "8"]
    assert glimpse("teacher", "train", *data, *steps) == 0
    hints = tmp_path / "teacher" / "teacher" / "hints.csv"
    assert str(hints) in capfd.readouterr().out
    boxes = tmp_path / "boards" / "boxes.csv"
    search = ["--preset", "search", *data, *steps, "--glimpses", "2", "--patch", "16"]
    assert glimpse("train", *search, "--hints", boxes) == 0
    run = tmp_path / "glimpse" / "search"
    capfd.readouterr()
    curve = tmp_path / "curve.png"
    assert glimpse("stop", run, "--glimpses", "1.5") == 0
    assert "glimpses on average" in capfd.readouterr().out
    assert glimpse("evaluate", run, "--boxes", boxes, "--curve", curve) == 0
    told = capfd.readouterr().out
    assert "stopping at probability" in told
    assert curve.read_bytes().startswith(b"\x89PNG")
    assert glimpse("train", *search) == 2
    assert "add --hints" in refused(capfd)
    assert glimpse("stop", run) == 2
    assert "--error PERCENT or --glimpses NUMBER" in refused(capfd)
    assert glimpse("train", *search, "--hints", boxes, "--start", run, "--learning-rate", "0") == 0
    first, again = (
        checkpoint.load(tmp_path / "glimpse" / name / "best.pt", "glimpse")["weights"]
        for name in ("search", "search-2")
    )
    assert torch.equal(first["action.weight"], again["action.weight"])
    assert torch.equal(first["location.prior.weight"], again["location.prior.weight"])
    assert glimpse("train", "--start", run, "--runs", tmp_path) == 2
    assert "knows other classes: mousebite" in refused(capfd)
    table = tmp_path / "paths.csv"
    picture = next((tmp_path / "boards" / "test").glob("*/*.png"))
    show = ["show", run, picture, "--csv", table, "--out", tmp_path / "drawn"]
    assert glimpse(*show, "--samples", "3", "--glimpses", "2") == 0
    rows = list(csv.DictReader(table.open()))
    assert [(row["sample"], row["t"]) for row in rows] == [
        (str(sample), str(t)) for sample in range(3) for t in range(2)
    ]
    assert {row["image"] for row in rows} == {str(picture)}
    assert all(0 <= float(row[axis]) <= 96 for row in rows for axis in "xy")


def test_of_built_in_images_a_teacher_is_a_baseline_alone(tmp_path, capfd):
    size = ["--context", "8", "--filters", "8", "--steps", "2", "--batch", "8"]
    assert glimpse("teacher", "train", "--data", "digits", *size, "--runs", tmp_path) == 0
    assert "validation error" in capfd.readouterr().out
    assert not (tmp_path / "teacher" / "teacher" / "hints.csv").exists()
