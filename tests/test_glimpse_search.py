"""Searching: the map, hints, convolutional glimpses, augmentation; each against its definition."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from core.errors import InputError
from datasets.images import boxes as tables
from datasets.images.origins import Origin
from datasets.images.splits import Images
from glimpse import hints
from glimpse.augmentation.transforms import augment
from glimpse.config import Config
from glimpse.data import TrainingBatches
from glimpse.model import RecurrentAttention, greedy, stochastic
from glimpse.networks.encoders import coarse_view
from glimpse.networks.locators import BeliefMap, cell_centres, peak
from glimpse.presets import SEARCH
from glimpse.train import Learner

SMALL = replace(
    SEARCH,
    patch=8,
    width=10,
    context=16,
    filters=8,
    what_units=16,
    where_units=4,
    glimpse_units=16,
    hidden=16,
    glimpses=3,
    dropout=0.0,
)
NAN = float("nan")


def make(**changes):
    torch.manual_seed(0)
    return RecurrentAttention(replace(SMALL, **changes), channels=1, classes=2).eval()


def test_the_peak_lies_between_cells_of_equal_height():
    belief = torch.full((2, 4, 4), -50.0)
    belief[0, 1, 2] = 9.0  # row 1, column 2: centre at x = 0.25, y = -0.25
    belief[1, 3, 0] = 9.0
    belief[1, 3, 1] = 9.0  # as probable: x halfway between -0.75 and -0.25
    torch.testing.assert_close(peak(belief), torch.tensor([[0.25, -0.25], [-0.5, 0.75]]))


def test_evidence_is_added_where_the_patch_lay():
    model = make(scales=1)
    locator = model.location
    assert isinstance(locator, BeliefMap)
    nn.init.ones_(locator.evidence.weight)
    nn.init.constant_(locator.evidence.bias, 0.0)  # pyright: ignore
    features = torch.zeros(1, 1, 8, 4, 4)
    features[0, 0, 0, :, 2:] = 1.0  # the right half of the patch
    location, half_sizes = torch.tensor([[0.5, 0.0]]), torch.tensor([[20.0, 20.0]])
    belief = locator.update(torch.zeros(1, 8, 8), features, location, half_sizes)[0].detach()
    # The patch is 10 pixels wide around x = 30, y = 20; cells are 5 pixels wide.
    assert belief[3, 6] == pytest.approx(1.0)  # x = 32.5, y = 17.5
    assert belief[4, 6] == pytest.approx(1.0)
    assert belief[3, 5] == pytest.approx(0.0)  # the left half
    assert belief[:, :5].abs().max() == 0
    assert belief[:2].abs().max() == 0


def test_the_view_holds_means_of_equal_parts():
    image = torch.arange(24, dtype=torch.uint8).view(1, 1, 4, 6)
    view = coarse_view(image, 2) * 255
    torch.testing.assert_close(view, torch.tensor([[[[4.0, 7.0], [16.0, 19.0]]]]))
    mixed = coarse_view([image[0], torch.ones(1, 8, 8)], 2)
    torch.testing.assert_close(mixed[:1] * 255, view)
    assert mixed[1].eq(1).all()


def test_the_next_glimpse_goes_to_the_peak_of_the_map_before_it():
    model = make()
    images = torch.randint(0, 256, (3, 1, 40, 40), dtype=torch.uint8)
    episode = model.rollout(images, 4, greedy)
    assert episode.memories is not None
    for t in range(4):
        torch.testing.assert_close(episode.locations[t], peak(episode.memories[t]))
    again = model.rollout(list(images), 4, greedy)
    torch.testing.assert_close(again.logits, episode.logits)


def test_a_coarse_view_moves_the_first_glimpse_of_the_paper_s_locator():
    torch.manual_seed(0)
    config = Config(context=16, what="conv", filters=8, patch=8, what_units=8, where_units=4)
    model = RecurrentAttention(config, 1, 2).eval()
    images = torch.randint(0, 256, (2, 1, 30, 30), dtype=torch.uint8)
    images[1] //= 4
    first = model.rollout(images, 2, greedy).locations[0]
    memory = model.location.start(images)
    torch.testing.assert_close(first, torch.tanh(config.location_scale * memory[:, 0]))
    assert (first[0] - first[1]).abs().max() > 1e-4


def test_targets_are_distributions_around_the_boxes():
    boxes = torch.tensor([[[0.3, 0.3, 0.4, 0.5], [NAN] * 4], [[NAN] * 4] * 2])
    target = hints.targets(boxes, 8)
    assert target[0].sum() == pytest.approx(1.0)
    assert target[0].flatten().argmax() == 5 * 8 + 5  # the cell from 0.25 to 0.5
    torch.testing.assert_close(
        peak(target[:1].log()), torch.tensor([[0.35, 0.4]]), atol=0.03, rtol=0
    )
    assert target[1].eq(0).all()
    uniform = torch.zeros(1, 2, 8, 8)
    loss = hints.search_loss(uniform, boxes)
    assert loss == pytest.approx(torch.tensor(64.0).log().item() / 2)  # the second counts as 0


def test_images_of_a_class_without_boxes_teach_that_it_is_nowhere():
    boxes = torch.tensor([[[0.3, 0.3, 0.4, 0.5]], [[NAN] * 4], [[NAN] * 4]])
    empty = hints.empty_classes(boxes, torch.tensor([0, 0, 1]), 3)
    assert empty.tolist() == [False, True, True]
    uniform = torch.zeros(1, 3, 8, 8)
    loss = hints.search_loss(uniform, boxes, empty[torch.tensor([0, 0, 1])])
    assert loss == pytest.approx(torch.tensor(65.0).log().item() * 2 / 3)  # one is unknown
    against = torch.full((1, 3, 8, 8), -20.0)
    against[0, 0] = 20.0
    loss = hints.search_loss(against, boxes, empty[torch.tensor([0, 0, 1])])
    assert loss == pytest.approx(torch.tensor(64.0).log().item() / 3, abs=1e-4)


def test_the_map_tells_the_classes_whether_there_is_anything():
    model = make(absence=True)
    locator = model.location
    assert isinstance(locator, BeliefMap)
    assert locator.presence is not None
    with torch.no_grad():
        locator.presence.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 10.0]]))
    belief = torch.full((1, 8, 8), 2.0)
    belief[0, 3, 3] = 3.0
    added = locator.class_logits(belief)
    total = 10 * (63 * torch.tensor(2.0).exp() + torch.tensor(3.0).exp()).log().item()
    torch.testing.assert_close(added, torch.tensor([[3.0, total]]))
    images = torch.randint(0, 256, (3, 1, 40, 40), dtype=torch.uint8)
    episode = model.rollout(images, 2, greedy)
    model.action.weight.data.zero_()
    model.action.bias.data.zero_()
    assert episode.memories is not None
    expected = locator.class_logits(episode.memories[1])
    torch.testing.assert_close(model.rollout(images, 1, greedy).logits[0], expected)


def test_guided_glimpses_are_placed_at_boxes_of_their_image():
    boxes = torch.tensor([[[0.0, 0.0, 0.2, 0.4], [NAN] * 4], [[NAN] * 4] * 2])
    draws = torch.rand(50, 2, 3, generator=torch.Generator().manual_seed(0))
    places = hints.choose_places(boxes, 0.5, draws)
    told = ~places[:, 0, 0].isnan()
    assert torch.equal(told, draws[:, 0, 2] < 0.5)
    assert 10 < told.sum() < 40
    torch.testing.assert_close(places[told, 0], torch.tensor([0.1, 0.2]).expand(int(told.sum()), 2))
    assert places[:, 1].isnan().all()
    policy = hints.guided(places, stochastic(torch.zeros(50, 2, 2), 0.1))
    for t in range(50):
        mean = torch.full((2, 2), 0.7)
        first = torch.tensor([0.1, 0.2]) if told[t] else torch.tensor([0.7, 0.7])
        assert torch.equal(policy(t, mean), torch.stack((first, mean[1])))


def test_a_glimpse_is_on_a_box_or_beside_it():
    boxes = torch.tensor([[[0.0, 0.0, 0.2, 0.4], [-1.0, -1.0, -0.9, -0.9]], [[NAN] * 4] * 2])
    locations = torch.tensor([[[0.1, 0.3], [0.1, 0.3]], [[0.3, 0.1], [0, 0]], [[-1, -1], [0, 0]]])
    assert hints.on_box(locations, boxes).tolist() == [[1, 0], [0, 0], [1, 0]]


@pytest.mark.parametrize("names", [("turns",), ("flips",), ("turns", "flips"), ("scale",)])
def test_boxes_move_with_what_they_hold(names):
    image = torch.zeros(1, 40, 60, dtype=torch.uint8)
    image[0, 4:12, 44:56] = 255
    box = torch.tensor([[44.0, 4, 56, 12], [NAN] * 4]) / torch.tensor([30.0, 20, 30, 20]) - 1
    seen = set()
    for draws in torch.rand(12, 6, generator=torch.Generator().manual_seed(0)):
        changed, moved = augment(image, box, draws, names)
        assert moved is not None
        rows, columns = torch.where(changed[0] > 127)
        edges = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        height, width = changed.shape[1:]
        expected = torch.stack(edges) / torch.tensor([width, height, width, height]) * 2 - 1
        torch.testing.assert_close(moved[0], expected, atol=0.03, rtol=0)
        assert moved[1].isnan().all()
        seen.add(tuple(expected.tolist()))
    assert len(seen) >= (2 if names == ("flips",) else 4)


def test_colour_changes_the_values_alone():
    image = torch.full((3, 4, 4), 100, dtype=torch.uint8)
    image[0] += 50
    changed, boxes = augment(image, None, torch.tensor([0, 0, 0, 1.0, 0.5, 0.5]), ("colour",))
    assert boxes is None
    torch.testing.assert_close(changed.float(), image * 1.3, atol=2, rtol=0)


def blobs(count, generator):
    """Canvases with a bright upright or lying bar somewhere, and its box."""
    images = torch.randint(0, 40, (count, 1, 40, 40), generator=generator).to(torch.uint8)
    labels = torch.arange(count) % 2
    corners = torch.randint(0, 34, (count, 2), generator=generator)
    boxes = torch.empty(count, 1, 4)
    for n, (x, y) in enumerate(corners.tolist()):
        wide, high = (6, 2) if labels[n] else (2, 6)
        images[n, 0, y : y + high, x : x + wide] = 255
        boxes[n, 0] = torch.tensor([x, y, x + wide, y + high]) / 20 - 1
    return Images(images, labels, ("upright", "lying")), boxes


def test_a_small_model_learns_to_find_and_name_small_things():
    generator = torch.Generator().manual_seed(0)
    (images, boxes), (fresh, where) = blobs(256, generator), blobs(100, generator)
    config = replace(SMALL, augment=(), loop=replace(SMALL.loop, batch=64))
    torch.manual_seed(0)
    model = Learner(config, 1, 2)
    batches = TrainingBatches(images, config, boxes)
    adam = torch.optim.Adam(model.parameters(), lr=1e-2)
    metrics = {}
    for step in range(40):
        loss, metrics = model(*batches(step, slice(64)))
        adam.zero_grad()
        loss.backward()
        adam.step()
    assert set(metrics) == {"cross_entropy", "baseline", "accuracy", "search"}
    with torch.no_grad():
        episode = model.eval().rollout(fresh.images, 3, greedy)
    assert hints.on_box(episode.locations, where).amax(0).mean() > 0.9
    assert (episode.logits[-1].argmax(-1) == fresh.labels).float().mean() > 0.9


def test_guided_batches_are_the_same_whoever_asks_for_which_rows():
    images, boxes = blobs(64, torch.Generator().manual_seed(0))
    config = replace(
        SMALL, augment=("turns", "flips", "colour"), loop=replace(SMALL.loop, batch=32)
    )
    make_batch = TrainingBatches(images, config, boxes)
    whole = make_batch(3, slice(0, 32))
    parts = [make_batch(3, slice(start, start + 16)) for start in (0, 16)]
    for index, axis in enumerate((0, 0, 1, None, 0, 1)):
        if axis is not None:
            pieces = torch.cat([part[index] for part in parts], axis)
            torch.testing.assert_close(pieces, whole[index], rtol=0, atol=0, equal_nan=True)


def of(name, size=(5, 5)):
    return Origin(name, size, size)


def test_tables_of_boxes(tmp_path):
    file = tmp_path / "boxes.csv"
    file.write_text(
        "file,x1,y1,x2,y2,type\na/1.png,0,5,10,10,x\nb/2.png,1,1,2,2,y\na/1.png,2,2,4,4,x\n"
        "c/3.png,,,,,\n"
    )
    assert tables.read(file).keys() == {"a/1.png", "b/2.png"}  # the third shows nothing
    aligned = tables.align(tables.read(file), [of("a/1.png", (10, 20)), of("c/3.png")])
    assert aligned.shape == (2, 2, 4)
    torch.testing.assert_close(aligned[0, 0], torch.tensor([-1.0, 0.0, 0.0, 1.0]))
    assert aligned[1].isnan().all()
    with pytest.raises(InputError, match="none of the 1 images has a box"):
        tables.align(tables.read(file), [of("z.png")])
    with pytest.raises(InputError, match=r"called as z.png, in the table as a/1.png"):
        tables.align(tables.read(file), [of("z.png")])
    outside = r"b/2.png: the box 9, 1, 10, 2 lies outside its 8 x 4 pixels"
    with pytest.raises(InputError, match=outside):
        tables.align({"b/2.png": [(9.0, 1.0, 10.0, 2.0)]}, [of("b/2.png", (4, 8))])
    twice = [of("b/2.png"), of("c/3.png"), of("b/2.png")]
    with pytest.raises(InputError, match=r"2 pictures are called b/2.png: give each a name"):
        tables.align(tables.read(file), twice)
    tables.align({"b/2.png": [(7.0, -1.0, 10.0, 2.0)]}, [of("b/2.png", (4, 8))])
    for text, told in (
        ("file,x1,y1,x2\na,1,2,3\n", "no column y2; the first line names file, x1, y1, x2"),
        ("file,x1,y1,x2,y2\na,1,2,inf,3\n", "line 2: a box needs x1 <= x2"),
        ("file,x1,y1,x2,y2\na,1,2,3,z\n", "line 2: x1, y1, x2 and y2 must be numbers"),
        ("file,x1,y1,x2,y2\na,5,2,3,4\n", "line 2: a box needs x1 <= x2"),
    ):
        file.write_text(text)
        with pytest.raises(InputError, match=told):
            tables.read(file)


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize(("mark", "end"), [("", "\n"), ("\ufeff", "\r\n")])
def test_tables_of_boxes_come_from_any_spreadsheet(tmp_path, separator, mark, end):
    rows = [["File", "X1", "Y1", "X2", "Y2"], ["kůň/1.png", "0", "5.5", "10", "10"]]
    lines = [separator.join(row) + end for row in rows]
    (tmp_path / "boxes.csv").write_bytes((mark + "".join(lines)).encode())
    assert tables.read(tmp_path / "boxes.csv") == {"kůň/1.png": [(0, 5.5, 10, 10)]}


def test_settings_that_do_not_go_together_are_refused():
    for changes, told in (
        ({"what": "linear"}, "--what conv"),
        ({"context": 0}, "--context"),
        ({"locator": "state", "hints": "b.csv"}, "--locator map"),
        ({"locator": "state", "absence": True}, "--locator map"),
        ({"canvas": (50, 50)}, "canvas"),
        ({"dropout": 1.0}, "dropout"),
        ({"hints": "b.csv", "shift": 2}, "--shift takes no --hints"),
        ({"filters": 3}, "filters must be at least 4"),
        ({"guided": 1.5}, "guided"),
    ):
        with pytest.raises(InputError, match=told):
            replace(SMALL, **changes)
    assert cell_centres(2).tolist() == [-0.5, 0.5]
