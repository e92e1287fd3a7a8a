"""Stopping when sure, and the measures of rollouts, against values worked out by hand."""

import pytest
import torch

from core.errors import InputError
from datasets.images.splits import Images
from glimpse.config import Config
from glimpse.evaluate import measure, summary
from glimpse.metrics import measures, stopping
from glimpse.model import RecurrentAttention
from glimpse.presets import SEARCH

# Three images, two classes, three glimpses: probabilities of class 1.
P1 = torch.tensor([[0.9, 0.6, 0.4], [0.9, 0.8, 0.3], [0.2, 0.9, 0.45]])
P = torch.stack((1 - P1, P1), -1)
LABELS = torch.tensor([1, 1, 1])


def test_images_are_answered_after_the_first_glimpse_that_is_sure():
    assert stopping.last_glimpses(P, 0.75).tolist() == [0, 1, 2]
    assert stopping.last_glimpses(P, 0.65).tolist() == [0, 1, 1]
    assert stopping.last_glimpses(P, 1.0).tolist() == [2, 2, 2]
    chosen = stopping.point_at(P, LABELS, 0.75)
    assert chosen.glimpses == pytest.approx(2.0)
    assert chosen.error == pytest.approx(100 / 3)  # the third: class 0 to the end
    assert stopping.point_at(P, LABELS, 1.0).error == pytest.approx(
        200 / 3
    )  # the first is lost again


def test_the_cheapest_threshold_for_an_error_and_the_best_for_a_cost():
    points = stopping.curve(P, LABELS)
    assert points[0].glimpses == pytest.approx(1.0)
    assert points[-1] == stopping.point_at(P, LABELS, 1.0)
    assert stopping.choose(points, error=40).glimpses == pytest.approx(1.0)
    assert stopping.choose(points, glimpses=1).error == pytest.approx(100 / 3)
    with pytest.raises(InputError, match=r"no threshold has 5 % error; the least is 33\.33 %"):
        stopping.choose(points, error=5)


def test_balanced_accuracy_is_the_mean_over_classes():
    labels = torch.tensor([0, 0, 0, 1])
    p = torch.tensor([[0.9, 0.1], [0.9, 0.1], [0.2, 0.8], [0.3, 0.7]])
    assert measures.balanced_accuracy(p, labels) == pytest.approx((2 / 3 + 1) / 2)


def test_an_image_is_found_once_a_glimpse_was_on_a_box():
    boxes = torch.tensor([[[0.0, 0.0, 0.5, 0.5]], [[0.0, 0.0, 0.5, 0.5]], [[torch.nan] * 4]])
    there, away = [0.2, 0.2], [-0.5, 0.2]
    locations = torch.tensor([[away, away, there], [there, away, there], [away, away, there]])
    assert measures.found(locations, boxes) == [0.0, 0.5, 0.5]  # the third has no box


def test_the_share_of_an_image_that_is_read():
    assert measures.share_read(SEARCH, 6, [(256, 256)]) == pytest.approx(0.25)
    assert measures.share_read(Config(patch=8), 6, [(28, 28)]) == pytest.approx(6 * 64 / 784)


def test_a_report_holds_all_measures():
    torch.manual_seed(0)
    model = RecurrentAttention(Config(patch=4, glimpses=2), 1, 2)
    images = Images(
        torch.randint(0, 256, (8, 1, 12, 12), dtype=torch.uint8), torch.arange(8) % 2, ("a", "b")
    )
    boxes = torch.tensor([-1.0, -1.0, 1.0, 1.0]).expand(8, 1, 4)
    report = measure(model, images, 2, boxes=boxes, stop={"threshold": 1.0, "most": 3})
    assert report.found == {name: [1.0] * 4 for name in ("greedy", "random", "center")}
    assert report.share_read == pytest.approx(2 * 16 / 144)
    what, where, combine, cell, outputs = 16 * 128, 2 * 128, 256 * 256, 2 * 256 * 256, 256 * 6
    assert report.operations == 2 * 2 * (what + where + combine + cell + outputs)
    assert report.stop is not None
    assert report.stop.glimpses == 3
    assert report.stop.error == pytest.approx(100 * (1 - report.accuracies["greedy"][2]))
    assert "read 22.2 % as many numbers" in summary(report)
    assert "with 3.00 glimpses on average" in summary(report)
