"""The detector of words: what it learns, and how it chooses among sentences."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from captioning import detector
from captioning.config import Config
from captioning.detector import WEIGHT, WordDetector, fit
from captioning.model import Captioner
from captioning.trained import Sentence, Trained
from datasets.text.vocabulary import Vocabulary
from vision.encoder import make_encoder

IMAGES, CHANNELS = 400, 8


def test_it_learns_the_share_of_people_who_use_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detector, "EPOCHS", 100)
    monkeypatch.setattr(detector, "LEARNING_RATE", 0.03)
    torch.manual_seed(0)
    shows_dog = torch.arange(IMAGES) % 2 == 0
    means = torch.where(shows_dog, 1.0, -1.0)[:, None] + 0.3 * torch.randn(IMAGES, CHANNELS)
    means = F.normalize(means, dim=-1)
    captions = []
    for dog in shows_dog.tolist():
        captions.append([["a", "dog"], ["the", "field"]] if dog else [["a", "cat"], ["the", "cat"]])
    captions[0].append(["zebra"])
    vocabulary = Vocabulary.train(["a dog the field cat zebra"])
    fitted = fit(means, captions, vocabulary)
    assert fitted is not None
    learned = {vocabulary.decode([number]) for number in fitted.words.tolist()}
    assert learned == {"dog", "field", "cat"}, "no function words, and no rare ones"
    expected = fitted(means[:, None], len(vocabulary))
    dog, cat, a = map(vocabulary.number, ("dog", "cat", "a"))
    assert expected[shows_dog, dog].mean() == pytest.approx(0.5, abs=0.1), "one of two says it"
    assert expected[~shows_dog, dog].mean() < 0.1
    assert expected[~shows_dog, cat].mean() > 0.9
    assert not expected[:, a].any()
    kept = WordDetector(**fitted.saved())
    torch.testing.assert_close(kept(means[:, None], len(vocabulary)), expected, atol=1e-2, rtol=0)


def test_without_frequent_words_there_is_none() -> None:
    captions = [[["a", "dog"]]] * (detector.PICTURES - 1)
    assert fit(torch.rand(len(captions), 3), captions, Vocabulary.train(["a dog"])) is None


def test_the_sentence_with_the_most_expected_words_is_chosen() -> None:
    torch.manual_seed(0)
    vocabulary = Vocabulary.train(["a dog in the green grass runs"])
    encoder = make_encoder("tiny", pretrained=False)
    config = Config(embedding=5, hidden=7, visual=8, scores=3, longest=6)
    decoder = Captioner(config, encoder.channels, len(vocabulary)).eval()
    plain = Trained(config, encoder, decoder, vocabulary)
    features = torch.rand(2, encoder.cells, encoder.channels)
    found = plain.write(features, beam=5, best=5)
    grass = vocabulary.number("grass")
    weight = torch.zeros(1, encoder.channels)
    expecting = WordDetector(torch.tensor([grass]), weight, torch.tensor([4.0]))
    share = torch.tensor(4.0).sigmoid().item()

    def rank(one: Sentence) -> float:
        length = len(one.tokens) + 1
        score = one.log_probability / length**config.length_penalty
        return score + WEIGHT * share * (grass in one.tokens)

    chosen = replace(plain, detector=expecting).write(features, beam=5, best=5)
    for before, after in zip(found, chosen, strict=True):
        assert after == sorted(before, key=rank, reverse=True)
    assert chosen != found, "or nothing was tested"
    assert replace(plain, detector=expecting).write(features, beam=5) == [one[:1] for one in chosen]
