"""Measuring: accuracies and confusion matrices against counting by hand."""

import json
from dataclasses import replace

import pytest
import torch

from glimpse import evaluate
from glimpse.config import Config
from glimpse.data import load
from glimpse.metrics import measures
from glimpse.model import RecurrentAttention


@pytest.fixture(scope="module")
def untrained():
    torch.manual_seed(0)
    config = Config(glimpses=3, patch=4, hidden=16, glimpse_units=16, what_units=8, where_units=8)
    return RecurrentAttention(config, 1, 10), load(config, "cpu").validation


def test_accuracy_and_confusion_by_hand():
    p = torch.tensor([[[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]], [[0.4, 0.6], [0.2, 0.8], [0.3, 0.7]]])
    labels = torch.tensor([0, 1, 1])
    assert evaluate.accuracy(p, labels) == pytest.approx([2 / 3, 2 / 3])
    assert evaluate.confusion(p[0], labels).tolist() == [[1, 0], [1, 1]]
    assert evaluate.confusion(p[1], labels).tolist() == [[0, 1], [0, 2]]


def test_report_holds_twice_the_glimpses_and_its_baselines(untrained):
    model, images = untrained
    report = evaluate.measure(model, images, 3, samples=2)
    assert set(report.accuracies) == {"greedy", "random", "center", "mean of 2"}
    assert all(len(curve) == 6 for curve in report.accuracies.values())
    assert sum(map(sum, report.confusion)) == len(images)
    right = sum(report.confusion[n][n] for n in range(10))
    assert right / len(images) == pytest.approx(report.accuracies["greedy"][2])
    again = evaluate.measure(model, images, 3, samples=2)
    # random locations and samples come from a seed
    assert replace(again, milliseconds=report.milliseconds) == report


def test_the_batch_of_evaluation_does_not_matter(untrained, monkeypatch):
    model, images = untrained
    whole = evaluate.probabilities(model, images, 3, evaluate.greedy)
    monkeypatch.setattr(measures, "BATCH", 7)
    torch.testing.assert_close(evaluate.probabilities(model, images, 3, evaluate.greedy), whole)


def test_monte_carlo_is_the_mean_of_probabilities(untrained, monkeypatch):
    model, images = untrained
    calls = []

    def counted(model, images, glimpses, policy):
        calls.append(torch.full((glimpses, 1, 2), float(len(calls))))
        return calls[-1]

    monkeypatch.setattr(evaluate, "probabilities", counted)
    assert (evaluate.monte_carlo(model, images, 3, 4) == 1.5).all()


def test_tables_and_json_say_the_same(untrained):
    model, images = untrained
    report = evaluate.measure(model, images, 3)
    errors, matrix = evaluate.tables(report, "validation")
    assert errors.row_count == 6
    assert matrix.row_count == 10
    assert json.loads(json.dumps(report.accuracies))["greedy"] == report.accuracies["greedy"]
