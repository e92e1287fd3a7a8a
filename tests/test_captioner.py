"""The decoder: a step against the sentence, attention against its formula, the objectives."""

from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from captioning import objective
from captioning.config import Config
from captioning.model import Attention, Captioner
from captioning.train import Learner
from captioning.trained import Trained
from core import beam
from core.base_cell import State
from core.training import distributed
from datasets.text.vocabulary import Vocabulary
from vision.encoder import make_encoder

IMAGES, CELLS, CHANNELS, WORDS = 3, 4, 6, 11
SMALL = {"embedding": 5, "hidden": 7, "visual": 8, "scores": 3}


def make(**options) -> tuple[Captioner, Tensor]:
    torch.manual_seed(0)
    model = Captioner(Config(**SMALL, **options), CHANNELS, WORDS).double().eval()
    return model, torch.rand(IMAGES, CELLS, CHANNELS, dtype=torch.float64)


@pytest.mark.parametrize("attention", [True, False])
@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_writing_word_by_word_is_teacher_forcing(cell, attention):
    model, features = make(cell=cell, attention=attention)
    tokens = torch.randint(WORDS, (2 * IMAGES, 5))
    known, embedded, alphas = model(features, tokens)
    whole = model.logits(known, embedded)
    projection = model.project(features)
    step, state = model.stepper(projection), model.initial_state(projection, 2)
    for t in range(tokens.shape[1]):
        logits, state = step(tokens[:, t], state)
        torch.testing.assert_close(logits, whole[:, t])
    torch.testing.assert_close(alphas.sum(-1), torch.ones(2 * IMAGES, 5, dtype=torch.float64))


def test_captions_of_an_image_stand_side_by_side():
    model, features = make()
    tokens = torch.randint(WORDS, (2 * IMAGES, 4))
    together = model(features, tokens)[0]
    for image in range(IMAGES):
        rows = slice(2 * image, 2 * image + 2)
        torch.testing.assert_close(
            model(features[image : image + 1], tokens[rows])[0], together[rows]
        )


def test_attention_is_its_formula():
    model, features = make()
    assert isinstance(model.attention, Attention)
    projection, h = model.project(features), torch.rand(IMAGES, 7, dtype=torch.float64)
    z, alpha = model.attention(h, projection)
    part = model.attention
    for image in range(IMAGES):
        energies = torch.stack(
            [(part.key.weight @ a) @ part.query(h[image]) / 3**0.5 for a in projection.cells[image]]
        )
        torch.testing.assert_close(alpha[image], energies.softmax(0))
        gate = torch.sigmoid(part.gate(h[image]))
        torch.testing.assert_close(
            z[image], gate * (energies.softmax(0)[:, None] * projection.cells[image]).sum(0)
        )


def test_pooled_shows_the_mean_at_every_word():
    model, features = make(attention=False)
    projection = model.project(features)
    torch.testing.assert_close(projection.mean, F.relu(model.visual(features)).mean(1))
    known, _, alphas = model(features, torch.zeros(IMAGES, 3, dtype=torch.int64))
    torch.testing.assert_close(known[..., 7:], projection.mean[:, None].expand(-1, 3, -1))
    assert (alphas == 1 / CELLS).all()


def test_beam_search_over_the_captioner_equals_one_image_at_a_time():
    model, features = make()
    options = {"start": 2, "end": 3, "length": 6, "width": 4, "forbidden": (0, 1, 2)}

    def search(images: Tensor) -> list[list[beam.Hypothesis]]:
        projection = model.project(images)
        state: State = model.initial_state(projection)
        return beam.beam_search(model.stepper(projection), state, **options)

    together = search(features)
    for image in range(IMAGES):
        (single,) = search(features[image : image + 1])
        assert [h.tokens for h in single] == [h.tokens for h in together[image]]
        assert [h.score for h in single] == pytest.approx([h.score for h in together[image]])


def test_coverage_counts_only_words_in_the_mask():
    alphas = torch.tensor([[[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]]])
    assert objective.coverage(alphas, torch.tensor([[True, True, False]])) == 0
    assert objective.coverage(alphas, torch.tensor([[True, False, False]])) == pytest.approx(0.5)


def test_a_sample_is_compared_with_its_siblings():
    rewards = torch.tensor([3.0, 0.0, 0.0, 1.0, 1.0, 1.0])
    torch.testing.assert_close(
        objective.advantages(rewards, 3), torch.tensor([3.0, -1.5, -1.5, 0.0, 0.0, 0.0])
    )


def test_self_critical_gradient_is_advantage_times_score():
    logits = torch.randn(4, WORDS, requires_grad=True)
    words, advantage = torch.tensor([1, 5, 2, 2]), torch.tensor([1.0, 1.0, -2.0, 0.0])
    objective.self_critical(logits, words, advantage).backward()
    # The gradient of log p(word) in the logits.
    score = F.one_hot(words, WORDS) - logits.detach().softmax(-1)
    torch.testing.assert_close(logits.grad, -advantage[:, None] * score / 4)


def test_the_losses_of_two_processes_have_the_mean_of_one(monkeypatch):
    """Though the sentences of one process are longer than those of the other."""
    torch.manual_seed(0)
    vocabulary = Vocabulary.train(["a dog in the green grass runs"])
    sizes = Config(embedding=5, hidden=7, visual=8, scores=3, dropout=0.0)
    config = replace(sizes, encoder="tiny", captions=1, coverage=0.5)
    encoder = make_encoder("tiny", pretrained=False).eval()
    decoder = Captioner(config, encoder.channels, len(vocabulary))
    learner = Learner(Trained(config, encoder, decoder, vocabulary), None)
    learner.encoder = None  # the batch holds features
    features = torch.rand(4, CELLS, encoder.channels)
    long, short = [[2, 5, 6, 7, 8, 3], [2, 9, 8, 7, 5, 3]], [[2, 6, 3, 0, 0, 0], [2, 7, 5, 3, 0, 0]]
    tokens = torch.tensor(long + short)
    assert vocabulary.pad == 0
    loss, _ = learner(features, tokens, torch.arange(4))
    monkeypatch.setenv("WORLD_SIZE", "2")
    words = (tokens[:, 1:] != vocabulary.pad).sum().float()
    monkeypatch.setattr(distributed, "all_reduce_sum", lambda _: words)
    halves = []
    for rows in (slice(0, 2), slice(2, 4)):
        half, _ = learner(features[rows], tokens[rows], torch.arange(2))
        halves.append(half)
    torch.testing.assert_close(torch.stack(halves).mean(), loss)


def make_learner(rewards=None, **options) -> tuple[Learner, Tensor]:
    """A learner without dropout, and features of two images."""
    torch.manual_seed(0)
    vocabulary = Vocabulary.train(["a dog in the green grass runs"])
    config = replace(Config(), **SMALL, dropout=0.0, encoder="tiny", **options)
    encoder = make_encoder("tiny", pretrained=False).eval()
    decoder = Captioner(config, encoder.channels, len(vocabulary))
    learner = Learner(Trained(config, encoder, decoder, vocabulary), rewards)
    learner.encoder = None  # the batches hold features
    return learner, torch.rand(2, CELLS, encoder.channels)


@pytest.mark.parametrize("static", [False, True])
def test_words_that_are_never_written_get_no_gradient_of_the_reward(static):
    def longer(image: int, words: list[str], *, ended: bool) -> float:
        return float(len(words))

    model, features = make_learner(longer, self_critical=True, captions=8)
    model.static = static
    loss, _ = model(features, torch.zeros(16, 2, dtype=torch.int64), torch.arange(2))
    (gradient,) = torch.autograd.grad(loss, model.decoder.bias)
    assert gradient.isfinite().all()
    assert gradient.any()
    assert not gradient[list(model.vocabulary.unspoken)].any()


def test_the_loss_is_cross_entropy_and_coverage():
    model, features = make_learner(captions=1, coverage=0.5, smoothing=0.1)
    tokens = torch.tensor([[2, 5, 6, 3, 0], [2, 7, 8, 9, 3]])
    loss, _ = model(features, tokens, torch.arange(2))
    outputs, embedded, alphas = model.decoder(features, tokens[:, :-1])
    mask = tokens[:, 1:] != 0
    logits = model.decoder.logits(outputs, embedded)[mask]
    expected = F.cross_entropy(logits, tokens[:, 1:][mask], label_smoothing=0.1)
    attention = (alphas * mask[..., None]).sum(1)
    torch.testing.assert_close(loss, expected + 0.5 * ((1 - attention) ** 2).mean())


def test_the_first_state_and_the_output_are_their_equations():
    model, features = make()
    projection = model.project(features)
    mean = F.relu(model.visual(features)).mean(1)
    for part, layer in zip(model.initial_state(projection), model.begin, strict=True):
        torch.testing.assert_close(part, torch.tanh(layer(mean)))
    outputs = torch.rand(2, 15, dtype=torch.float64)
    embedded = torch.rand(2, 5, dtype=torch.float64)
    logits = (model.output(outputs) + embedded) @ model.words.weight.T + model.bias
    torch.testing.assert_close(model.logits(outputs, embedded), logits)


def test_a_captioner_starts_from_one_that_knows_fewer_words():
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"embedding": 6, "hidden": 5, "visual": 4, "scores": 3}
    small = Captioner(Config(**sizes), 7, 10)
    large = Captioner(Config(**sizes), 7, 12)
    with torch.no_grad():
        small.bias.normal_()
    large.take_over(small.state_dict())
    assert torch.equal(large.words.weight[:10], small.words.weight)
    assert torch.equal(large.bias[:10], small.bias)
    assert torch.allclose(large.bias[10:], small.bias.mean())
    assert torch.equal(large.visual.weight, small.visual.weight)
    with pytest.raises(ValueError, match=r"words\.weight|bias"):
        small.take_over(large.state_dict())
    wider: dict[str, Any] = {**sizes, "hidden": 6}
    with pytest.raises(ValueError, match="is"):
        Captioner(Config(**wider), 7, 10).take_over(small.state_dict())
