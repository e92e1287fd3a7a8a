"""Canvases of several digits in a row, and models that read them."""

import json
from dataclasses import replace

import pytest
import torch
from glimpse_command import TOY, glimpse, refused
from hypothesis import given, settings
from hypothesis import strategies as st
from small_glimpse import SMALL, make

from core.errors import InputError
from datasets.images.sequences import SequenceCanvas, read
from datasets.images.splits import Images
from glimpse import objective
from glimpse.data import TrainingBatches
from glimpse.metrics import sequences
from glimpse.model import stochastic
from glimpse.pictures.scanpath import follow

CLASSES = tuple("abcde")
SEQUENCE = ["--preset", "sequence-digits", *TOY, "--glimpses", 2]


def squares(count=7, side=4):
    """Images that are all one grey, each its own, and their labels."""
    greys = torch.arange(1, count + 1, dtype=torch.uint8) * 10
    return Images(
        greys[:, None, None, None].expand(-1, 1, side, side).contiguous(),
        torch.arange(count) % len(CLASSES),
        CLASSES,
    )


@given(
    least=st.integers(1, 3),
    more=st.integers(0, 3),
    margin=st.tuples(st.integers(0, 5), st.integers(0, 9)),
    seed=st.integers(0, 2**32),
)
@settings(deadline=None, max_examples=40)
def test_canvases_show_their_labels_from_left_to_right(least, more, margin, seed):
    images = squares()
    most = least + more
    size = (4 + margin[0], 4 * most + margin[1])
    canvases = SequenceCanvas(size, least, most).fixed(images, seed)
    assert canvases.classes == (*CLASSES, "end")
    assert canvases.labels.shape == (len(images), most + 1)
    first = []
    for canvas, label in zip(canvases.images, canvases.labels.tolist(), strict=True):
        greys = [int(column[column > 0][0]) for column in canvas[0].T if column.any()]
        length = label.index(len(CLASSES))
        assert len(greys) == 4 * length  # images side by side, none on another
        assert int((canvas > 0).sum()) == 16 * length
        shown = [grey // 10 - 1 for grey in greys[::4]]
        first.append(shown[0])
        told = [images.labels[index] for index in shown] + [len(CLASSES)] * (most + 1 - length)
        assert label == told
        assert least <= length <= most
    assert first == list(range(len(images)))  # every image begins a canvas


def test_all_lengths_and_places_are_drawn():
    layout = SequenceCanvas((6, 14), 2, 3).draw(squares().images, 2000, torch.Generator())
    assert layout.counts.unique().tolist() == [2, 3]
    assert layout.spots[..., 0].unique().tolist() == [0, 1, 2]
    two = layout.spots[layout.counts == 2, :2, 1]
    places = {(a, b) for a in range(7) for b in range(a + 4, 11)}
    assert set(map(tuple, two.tolist())) == places


def test_canvases_grow_from_two_images():
    whole = SequenceCanvas((12, 40), 2, 5)
    assert whole.grown((4, 4), 0.0) == SequenceCanvas((5, 9), 2, 2)
    assert whole.grown((4, 4), 0.2) == SequenceCanvas((6, 15), 2, 3)
    assert whole.grown((4, 4), 1.0) == whole
    images = squares()
    small = whole.grown((4, 4), 0.0).fixed(images, 0)
    assert small.images.shape == (7, 1, 5, 9)
    assert small.labels.shape == (7, 3)
    assert small.labels[:, 2].eq(len(CLASSES)).all()
    assert not small.labels[:, :2].eq(len(CLASSES)).any()
    assert SequenceCanvas((4, 7), 1, 1).grown((4, 4), 0.5) == SequenceCanvas((4, 7), 1, 1)


def test_training_begins_with_short_sequences():
    source = squares()
    config = replace(SMALL, canvas=(12, 40), sequence=(2, 5), growth=0.5)
    config = replace(config, loop=replace(config.loop, steps=8, batch=3))
    batches = TrainingBatches(source, config)
    for step, (size, symbols) in {0: ((5, 9), 3), 2: ((9, 25), 6), 4: ((12, 40), 6)}.items():
        images, labels, noise, _ = batches(step, slice(1, 3))
        assert images.shape == (2, 1, *size)
        assert labels.shape == (2, symbols)
        assert noise.shape == (SMALL.glimpses * symbols, 2, 2)


def test_a_canvas_too_small_is_refused():
    with pytest.raises(InputError, match="3 images of 4x12 pixels do not fit a canvas of 6x11"):
        SequenceCanvas((6, 11), 2, 3).draw(squares().images, 1, torch.Generator())
    with pytest.raises(InputError, match="3 to 2"):
        SequenceCanvas((6, 11), 3, 2)


def test_a_symbol_after_the_end_does_not_count():
    symbols = torch.tensor([[1, 3, 0, 2], [3, 1, 1, 3], [0, 1, 2, 0]])
    assert read(symbols, 3).tolist() == [[1, 3, 3, 3], [3, 3, 3, 3], [0, 1, 2, 0]]
    p = torch.nn.functional.one_hot(symbols.T.repeat_interleave(2, 0), 4).float()
    p[::2] = torch.tensor([0.0, 1, 0, 0])  # what is told after the first of two glimpses
    labels = torch.tensor([[1, 3, 3, 3], [0, 3, 3, 3], [0, 1, 2, 3]])
    assert sequences.right(p, labels).tolist() == [True, False, False]
    assert sequences.accuracy(p, labels) == pytest.approx(1 / 3)


def test_each_symbol_is_learned_as_an_image_of_its_own():
    """The loss is the mean of those of the symbols, where advantages are as large on average."""
    model, images, _, noise = make()
    labels = torch.randint(0, 3, (len(images), 2), generator=torch.Generator().manual_seed(0))
    episode = model.rollout(images, SMALL.glimpses, stochastic(noise, 0.3))
    split, flat = objective.by_symbol(episode, labels)
    total, metrics = objective.loss(episode, labels, std=0.3, weight=0.7)
    torch.testing.assert_close(total, objective.loss(split, flat, std=0.3, weight=0.7)[0])
    halves = []
    for s in range(2):
        rows = slice(2 * s, 2 * s + 2)
        names = "locations", "sampled", "means", "baselines", "logits"
        part = episode._replace(**{name: getattr(episode, name)[rows] for name in names})
        halves.append(objective.loss(part, labels[:, s], std=0.3, weight=0.0)[0])
        last = part.logits[-1].argmax(-1) == labels[:, s]
        halves.append(last.float().mean())
    without = objective.loss(episode, labels, std=0.3, weight=0.0)[0]
    torch.testing.assert_close(without, (halves[0] + halves[2]) / 2)
    assert float(metrics["accuracy"]) == pytest.approx(float(halves[1] + halves[3]) / 2)


def test_a_scanpath_ends_after_the_end_was_told():
    model, *_ = make(canvas=(9, 13), sequence=(1, 2))
    model = model.float()
    with torch.no_grad():
        model.action.bias[:] = torch.tensor([0.0, 0, 100])
    images = torch.zeros(1, 2, 9, 13, dtype=torch.uint8)
    (path,) = follow(model, images, ("a", "b", "end"), 2)
    assert len(path) == 2
    assert path.best() == ("nothing", pytest.approx(1.0))
    with torch.no_grad():
        model.action.bias[:] = torch.tensor([0.0, 100, 0])
    (path,) = follow(model, images, ("a", "b", "end"), 2)
    assert len(path) == 6
    assert path.best() == ("b b b", pytest.approx(1.0))
    assert path.best(2)[0] == "b b"


def test_commands(tmp_path, capfd):
    assert glimpse("train", *SEQUENCE, "--runs", tmp_path) == 0
    run = tmp_path / "glimpse" / "sequence-digits"
    assert (run / "scanpaths.png").exists()
    assert "images in the sequence" in capfd.readouterr().out
    assert glimpse("evaluate", run, "--json") == 0
    report = json.loads(capfd.readouterr().out)
    assert list(report["by_length"]["greedy"]) == ["2", "3", "4", "5"]
    assert glimpse("sample", tmp_path / "board.png") == 0
    assert glimpse("show", run, tmp_path / "board.png", "--out", tmp_path / "out") == 0
    assert (tmp_path / "out" / "board.scanpath.png").exists()
    capfd.readouterr()
    for words in (("--samples", 2), ("--data", tmp_path)):
        assert glimpse("evaluate", run, *words) == 2
        assert "reads sequences" in refused(capfd)
    assert glimpse("stop", run, "--glimpses", 2) == 2
    assert "reads sequences" in refused(capfd)
