"""The labeller: its loss, its state from window to window, and what it learns from in a step."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from core.base_cell import State
from core.training.config import LoopConfig
from video.config import Config
from video.data import PADDING
from video.model import Labeller, describe, loss
from video.reading import LoadedClip
from video.train import Learner, class_weights
from video.trained import Trained, build
from vision.encoder import TINY, make_encoder

FRAMES, CLIPS, FEATURES, CLASSES = 11, 3, 6, 4
CONFIG = Config(
    encoder="lite0", frame_size=16, frame=5, hidden=7, dropout=0.0, loop=LoopConfig(batch=CLIPS)
)


def make(**options) -> tuple[Labeller, Tensor]:
    """A net, and what is seen in clips, in float64."""
    torch.manual_seed(0)
    net = Labeller(replace(CONFIG, **options), FEATURES, CLASSES).double().eval()
    return net, torch.randn(FRAMES, CLIPS, FEATURES, dtype=torch.float64)


def labels_of(*lengths: int) -> Tensor:
    """Random labels of clips of such lengths, then padding."""
    labels = torch.randint(CLASSES, (FRAMES, len(lengths)))
    for clip, length in enumerate(lengths):
        labels[length:, clip] = PADDING
    return labels


def transcribed(logits: Tensor, labels: Tensor, weights: Tensor, smooth: float) -> Tensor:
    """Farha and Gall's equations 7 to 9, frame by frame and class by class."""
    entropy = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), weights, ignore_index=PADDING)
    log_p, changes = logits.log_softmax(-1), []
    for t in range(1, len(labels)):
        for clip in range(labels.shape[1]):
            if labels[t, clip] >= 0 and labels[t - 1, clip] >= 0:
                now, before = log_p[t, clip], log_p[t - 1, clip].detach()
                changes += [
                    min(abs(a - b), torch.tensor(4.0).double()) ** 2
                    for a, b in zip(now, before, strict=True)
                ]
    return entropy + smooth * sum(changes) / max(len(changes), 1)


@pytest.mark.parametrize("lengths", [(11, 11, 11), (11, 4, 1), (1, 1, 1), (5, 0, 2)])
@pytest.mark.parametrize("scale", [1.0, 6.0])
def test_the_loss_is_its_formula_and_so_is_its_gradient(lengths, scale):
    torch.manual_seed(1)
    logits = (scale * torch.randn(FRAMES, CLIPS, CLASSES, dtype=torch.float64)).requires_grad_()
    labels, weights = labels_of(*lengths), torch.rand(CLASSES, dtype=torch.float64) + 0.1
    ours, theirs = loss(logits, labels, weights, 0.3), transcribed(logits, labels, weights, 0.3)
    torch.testing.assert_close(ours, theirs)
    gradients = [torch.autograd.grad(value, logits)[0] for value in (ours, theirs)]
    torch.testing.assert_close(*gradients)


def test_padding_has_no_influence_on_the_loss():
    labels, weights = labels_of(11, 4, 7), torch.ones(CLASSES)
    logits = torch.randn(FRAMES, CLIPS, CLASSES, requires_grad=True)
    other = torch.where((labels < 0)[..., None], 100 * torch.randn(FRAMES, CLIPS, CLASSES), logits)
    assert torch.equal(loss(logits, labels, weights, 0.15), loss(other, labels, weights, 0.15))
    (gradient,) = torch.autograd.grad(loss(logits, labels, weights, 0.15), logits)
    assert not gradient[labels < 0].any()
    assert gradient[labels >= 0].all()


def test_the_mean_of_the_losses_of_processes_is_that_of_the_batch(monkeypatch: pytest.MonkeyPatch):
    logits, labels, weights = (
        torch.randn(FRAMES, CLIPS, CLASSES),
        labels_of(11, 4, 0),
        torch.rand(CLASSES) + 0.1,
    )
    whole = loss(logits, labels, weights, 0.3)

    def each() -> list[Tensor]:
        return [
            loss(logits[:, n : n + 1], labels[:, n : n + 1], weights, 0.3) for n in range(CLIPS)
        ]

    monkeypatch.setenv("WORLD_SIZE", str(CLIPS))
    asked: list[Tensor] = []
    monkeypatch.setattr(
        "video.model.distributed.all_reduce_sum", lambda value: asked.append(value) or value
    )
    each()
    totals = iter(
        [sum(asked[0::2]), sum(asked[1::2])] * CLIPS
    )  # of two things each process asked for a sum
    monkeypatch.setattr("video.model.distributed.all_reduce_sum", lambda _: next(totals))
    torch.testing.assert_close(torch.stack(each()).mean(), whole)


def test_the_loss_of_nothing_but_padding_is_zero():
    value = loss(torch.randn(FRAMES, CLIPS, CLASSES), labels_of(0, 0, 0), torch.ones(CLASSES), 0.15)
    assert value == 0


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn", "none"])
def test_windows_that_carry_the_state_are_the_whole(cell, layers):
    net, features = make(cell=cell, layers=layers)
    whole, final = net(features)
    assert whole.shape == (FRAMES, CLIPS, CLASSES)
    for window in (1, 4, FRAMES):
        state: State | None = None
        parts = []
        for part in features.split(window):
            logits, state = net(part, state)
            parts.append(logits)
        torch.testing.assert_close(torch.cat(parts), whole)
        torch.testing.assert_close(state, final)


def test_without_a_core_each_frame_is_labelled_by_itself():
    net, features = make(cell="none")
    order = torch.randperm(FRAMES)
    torch.testing.assert_close(net(features[order])[0], net(features)[0][order])
    expected = net.V(F.relu(net.frame(features[3, 1])))
    torch.testing.assert_close(net(features)[0][3, 1], expected)
    assert net(features)[1] is None


@pytest.mark.parametrize(
    ("bidirectional", "seen"), [(False, range(5, FRAMES)), (True, range(FRAMES))]
)
def test_a_frame_is_seen_by_those_after_it_and_by_all_if_both_ways(bidirectional, seen):
    net, features = make(bidirectional=bidirectional)
    other = features.clone()
    other[5] += 1
    changed = (net(other)[0] != net(features)[0]).any(-1).any(-1)
    assert changed.nonzero().flatten().tolist() == list(seen)


def test_both_ways_a_clip_beside_a_longer_one_is_what_it_is_alone():
    net, features = make(bidirectional=True)
    lengths = torch.tensor([FRAMES, 4, 7])
    together = net(features, lengths=lengths)[0]
    for clip, length in enumerate(lengths.tolist()):
        alone = net(features[:length, clip : clip + 1])[0]
        torch.testing.assert_close(together[:length, clip : clip + 1], alone)


def test_describe_keeps_the_whole_grid_or_mean_and_maximum():
    grid = torch.tensor([[[1.0, 10.0], [3.0, -20.0]], [[0.0, 0.0], [0.0, 8.0]]])
    assert describe(grid, whole=True).tolist() == [[1.0, 10.0, 3.0, -20.0], [0.0, 0.0, 0.0, 8.0]]
    assert describe(grid, whole=False).tolist() == [[2.0, -5.0, 3.0, 10.0], [0.0, 4.0, 0.0, 8.0]]


def clip_of(labels: list[int]) -> LoadedClip:
    return LoadedClip(
        "clip", torch.zeros(len(labels), 1), [0.0] * len(labels), torch.tensor(labels)
    )


def test_class_weights_are_inverse_shares_and_one_on_average():
    clips = [clip_of([0, 0, 0, 0, 2]), clip_of([0, 2, 0])]
    weights = class_weights(clips, 4)
    torch.testing.assert_close(weights, torch.tensor([8 / 12, 0.0, 8 / 4, 0.0]))
    assert weights[torch.cat([clip.labels for clip in clips])].mean() == pytest.approx(1)
    assert class_weights([clip_of([0, 1, 1, 0])], 2).tolist() == [1, 1], (
        "classes that are as frequent"
    )


WEIGHTS = torch.tensor([1.0, 2.0, 3.0, 4.0])


def learner(**options) -> tuple[Learner, Trained]:
    torch.manual_seed(0)
    encoder = make_encoder("tiny", preprocessing=replace(TINY, size=16))
    trained = build(replace(CONFIG, **options), encoder, tuple("abcd"))
    return Learner(trained, WEIGHTS, CLIPS), trained


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_a_window_goes_on_where_the_last_one_ended_and_a_new_group_does_not(cell):
    learning, trained = learner(cell=cell)
    features, labels = (
        torch.randn(FRAMES, CLIPS, 2 * trained.encoder.channels),
        labels_of(11, 11, 11),
    )
    smooth, first = learning.config.smooth, torch.tensor(True)

    def expected(rows: slice) -> Tensor:
        return loss(
            trained.labeller(features[: rows.stop])[0][rows],
            labels[rows],
            WEIGHTS,
            smooth,
        )

    one, _ = learning(features[:4], labels[:4], first)
    two, metrics = learning(features[4:9], labels[4:9], ~first)
    torch.testing.assert_close(one, expected(slice(0, 4)))
    torch.testing.assert_close(two, expected(slice(4, 9)))
    guesses = trained.labeller(features[:9])[0][4:].argmax(-1)
    right = (guesses == labels[4:9]).float().mean().item()
    assert metrics["accuracy"] == pytest.approx(100 * right)  # in %
    two.backward()  # through its own window alone: the first one's graph is not asked for
    again, _ = learning(features[:4], labels[:4], first)
    assert torch.equal(again, one)


def test_the_state_is_a_buffer_only_where_it_is_carried():
    def buffers(**options) -> set[str]:
        return {name for name, _ in learner(**options)[0].named_buffers()}

    assert buffers(cell="lstm") == {"weights", "carried.state0", "carried.state1"}
    assert buffers(cell="gru") == {"weights", "carried.state0"}
    assert buffers(cell="none") == {"weights"}
    assert buffers(bidirectional=True) == {"weights"}


def test_each_process_learns_from_its_own_rows_of_the_state(monkeypatch: pytest.MonkeyPatch):
    """As rank 1 of 3; what is summed over the processes are its own rows, and zeros for theirs."""
    monkeypatch.setenv("WORLD_SIZE", "3")
    monkeypatch.setenv("RANK", "1")
    summed: list[Tensor] = []
    monkeypatch.setattr(
        "core.training.tbptt.distributed.all_reduce_sum", lambda part: summed.append(part) or part
    )
    learning, trained = learner(cell="gru")
    learning.get_buffer("carried.state0").copy_(torch.rand(1, CLIPS, 7))
    before = learning.get_buffer("carried.state0").clone()
    features, labels = (
        torch.randn(4, 1, 2 * trained.encoder.channels),
        torch.zeros(4, 1, dtype=torch.int64),
    )
    learning(features, labels, torch.tensor(False))
    _, (final,) = trained.labeller(features, (before[:, 1:2],))
    torch.testing.assert_close(
        summed[0], torch.cat([torch.zeros(1, 1, 7), final, torch.zeros(1, 1, 7)], 1)
    )


def test_padding_teaches_nothing_both_ways():
    learning, trained = learner(bidirectional=True)
    features, labels = torch.randn(FRAMES, CLIPS, 2 * trained.encoder.channels), labels_of(11, 4, 7)
    other = torch.where((labels < 0)[..., None], torch.randn_like(features), features)
    first = torch.tensor(True)
    assert torch.equal(learning(features, labels, first)[0], learning(other, labels, first)[0])


def test_features_are_standardised_over_the_training_clips():
    net, x = make(standardise=True)
    features = 3 + 2 * x.flatten(0, 1)
    features[:, 0] = 7.0  # which never changes
    net.standardise(features.float())
    plain, _ = make()
    plain.load_state_dict(net.state_dict(), strict=False)
    deviation = features.std(0) + 0.05
    expected = (features - features.mean(0)) / deviation
    ours, _ = net(features.view_as(x))
    theirs, _ = plain(expected.view_as(x))
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


def test_an_encoder_that_is_trained_has_features_of_its_own_scale():
    assert not replace(CONFIG, encoder="micro", standardise=True).standardises
    assert "mean" not in dict(make()[0].named_buffers())
    assert "mean" in dict(make(standardise=True)[0].named_buffers())
