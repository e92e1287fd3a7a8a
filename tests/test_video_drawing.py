"""Pixels of timelines: the right colour at the right second."""

import io
import itertools

import numpy as np
import pytest
import torch
from PIL import Image

from video.labels.formats import Span, spans
from video.pictures import drawing
from video.pictures.drawing import clock, columns, ink, paint, palette, timeline

CLASSES = ["rest", "řezání", "mix"]

# Machado, Oliveira and Fernandes 2009, severity 1.0, on linear RGB
NORMAL = np.eye(3)
PROTANOPIA = np.array(
    [[0.1523, 1.0526, -0.2049], [0.1145, 0.7863, 0.0992], [-0.0039, -0.0481, 1.0519]]
)
DEUTERANOPIA = np.array(
    [[0.3673, 0.8606, -0.2280], [0.2801, 0.6727, 0.0472], [-0.0118, 0.0430, 0.9689]]
)


def least_distance(colours, vision):
    linear = (colours / 255.0) ** 2.2 @ vision.T
    seen = 255 * linear.clip(0, 1) ** (1 / 2.2)
    return min(np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2))


def test_colours_differ_to_every_eye():
    assert least_distance(palette(7), NORMAL) > 60
    assert least_distance(palette(7), PROTANOPIA) > 30
    assert least_distance(palette(7), DEUTERANOPIA) > 30
    assert least_distance(palette(40), NORMAL) > 40
    assert least_distance(palette(101), NORMAL) > 20  # as many as UCF101 has


@pytest.mark.parametrize("count", [0, 1, 5, 8, 9, 30])
def test_more_classes_leave_the_colours_of_the_first(count):
    assert np.array_equal(palette(count), palette(101)[:count])


def test_letters_are_read_on_every_colour():
    for colour in palette(60):
        letters = np.array([*bytes.fromhex(ink(colour)[1:])])
        assert abs((letters - colour) @ (0.299, 0.587, 0.114)) > 90


def test_columns_are_the_class_at_their_time():
    labels = torch.randint(0, 3, (40,), generator=torch.Generator().manual_seed(0))
    row = columns(spans(labels, [i / 10 for i in range(40)], CLASSES), CLASSES, 0, 4, 400)
    assert row.tolist() == labels.repeat_interleave(10).tolist()


def test_columns_of_a_part_and_of_no_time():
    some = [Span(1.0, 2.0, "mix"), Span(2.0, 3.0, "rest")]
    assert columns(some, CLASSES, 0, 4, 8).tolist() == [-1, -1, 2, 2, 0, 0, -1, -1]
    assert columns(some, CLASSES, 1.5, 2.5, 4).tolist() == [2, 2, 0, 0]
    assert columns(some, CLASSES, 5, 6, 3).tolist() == [-1, -1, -1]


def test_the_shortest_span_can_be_seen():
    long = [Span(0.0, 500.0, "rest"), Span(500.0, 500.04, "mix"), Span(500.04, 1000.0, "rest")]
    row = columns(long, CLASSES, 0, 1000, 100)
    assert (row == 2).sum() == 1
    assert row[50] == 2


def test_paint_has_a_colour_for_none():
    painted = paint(np.array([1, -1, 0]), 3, "#010203")
    assert painted.tolist() == [palette(3)[1].tolist(), [1, 2, 3], palette(3)[0].tolist()]


def test_clock():
    assert [clock(seconds) for seconds in (0, 59.99, 61, 3723)] == [
        "0:00",
        "0:59",
        "1:01",
        "1:02:03",
    ]
    assert [clock(seconds, 1) for seconds in (7.46, 0.3, 59.99)] == ["0:07.4", "0:00.3", "0:59.9"]


def opened(png):
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


def column_of(seconds, duration):
    return drawing.LEFT + round(
        (drawing.WIDTH - drawing.MARGIN - drawing.LEFT) * seconds / duration
    )


def test_a_timeline_has_the_right_colours_at_the_right_times():
    truth = [Span(0.0, 4.0, "rest"), Span(4.0, 10.0, "mix")]
    predicted = [Span(0.0, 5.0, "rest"), Span(5.0, 10.0, "mix")]
    pixels = opened(timeline({"prediction": predicted, "truth": truth}, CLASSES, differences=True))
    rest, _, mix = palette(3).tolist()
    rows = [drawing.MARGIN + 5, drawing.MARGIN + drawing.BAR + drawing.GAP + 5]
    for y, changes in zip(rows, (5, 4), strict=True):
        for seconds in (0.1, 1, 3, 3.9, 4.1, 4.5, 4.9, 5.1, 9.9):
            assert pixels[y, column_of(seconds, 10)].tolist() == (
                rest if seconds < changes else mix
            ), (y, seconds)
    differences = drawing.MARGIN + 2 * (drawing.BAR + drawing.GAP) + 6
    times = np.arange(0.05, 10, 0.1)
    marked = [t for t in times if pixels[differences, column_of(t, 10)].sum() < 200]
    assert marked == pytest.approx(times[(times > 4) & (times < 5)])


def test_the_legend_has_the_classes_that_occur():
    pixels = opened(
        timeline({"prediction": [Span(0.0, 1.0, "rest"), Span(1.0, 2.0, "mix")]}, CLASSES)
    )
    legend = pixels[drawing.MARGIN + drawing.BAR + drawing.GAP :].reshape(-1, 3)
    swatches = [(legend == colour).all(1).sum() > 300 for colour in palette(3)]
    assert swatches == [True, False, True]


def test_a_title_and_many_long_names_find_room():
    classes = [f"{n} {'very ' * (n % 30)}long name" for n in range(60)]
    row = [Span(float(n), n + 1.0, name) for n, name in enumerate(classes)]
    few, many = (
        opened(timeline({"x" * 50: row[:count]}, classes, "title " * 60)) for count in (2, 60)
    )
    assert few.shape[1] == many.shape[1] == drawing.WIDTH
    assert many.shape[0] > few.shape[0]
    for pixels in (few, many):
        assert (pixels[:, -drawing.MARGIN // 2 :] == 255).all()
        assert (pixels[:, : drawing.MARGIN // 4] == 255).all()


def test_one_instant_and_a_whole_day_can_be_drawn():
    for end in (1e-3, 0.04, 59.0, 3600.0, 90_000.0, 4e6):
        assert (
            opened(timeline({"prediction": [Span(0.0, end, "mix")]}, CLASSES)).shape[0]
            > drawing.BAR
        )


def test_nothing_to_draw_is_an_error():
    with pytest.raises(ValueError, match="needs a segment"):
        timeline({"prediction": []}, CLASSES)


def test_limits_are_drawn_without_any_segment():
    pixels = opened(timeline({"walk": [], "sit": []}, CLASSES, limits=(0.0, 2.0)))
    for top in (drawing.MARGIN, drawing.MARGIN + drawing.BAR + drawing.GAP):
        bar = pixels[top : top + drawing.BAR, drawing.LEFT : drawing.WIDTH - drawing.MARGIN]
        assert (bar == (236, 236, 241)).all(), "nothing but the colour of EMPTY"
