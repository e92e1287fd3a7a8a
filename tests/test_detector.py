"""The detector of words: what it learns, and how it chooses among sentences."""

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from captioning.concepts import detector
from captioning.concepts.detector import RERANKING_WEIGHT, WordDetector, fit
from captioning.config import Config
from captioning.generation.search import Sentence, generate
from captioning.metrics.confidence import Confidence
from captioning.model import Captioner
from captioning.trained import Trained
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
    shares = fitted(means[:, None], len(vocabulary))
    dog, cat, a = map(vocabulary.number, ("dog", "cat", "a"))
    assert shares[shows_dog, dog].mean() == pytest.approx(0.5, abs=0.1), "one of two says it"
    assert shares[~shows_dog, dog].mean() < 0.1
    assert shares[~shows_dog, cat].mean() > 0.9
    assert not shares[:, a].any()
    kept = WordDetector.from_saved(fitted.saved())
    torch.testing.assert_close(kept(means[:, None], len(vocabulary)), shares, atol=1e-2, rtol=0)


def test_without_frequent_words_there_is_none() -> None:
    captions = [[["a", "dog"]]] * (detector.MIN_PICTURES - 1)
    assert fit(torch.rand(len(captions), 3), captions, Vocabulary.train(["a dog"])) is None


def detector_of(word: int, share: float, channels: int) -> WordDetector:
    """Return a detector of one word with the same share in all pictures."""
    bias = torch.logit(torch.tensor([share]))
    nothing = torch.zeros(1, channels), torch.zeros(1), torch.zeros(1, 1)
    return WordDetector(torch.tensor([word]), *nothing, bias)


@pytest.fixture
def plain() -> Trained:
    """A captioner with random weights and no detector."""
    torch.manual_seed(0)
    vocabulary = Vocabulary.train(["a dog in the green grass runs"])
    encoder = make_encoder("tiny", pretrained=False)
    config = Config(embedding=5, hidden=7, visual=8, scores=3, longest=6)
    decoder = Captioner(config, encoder.channels, len(vocabulary)).eval()
    return Trained(config, encoder, decoder, vocabulary)


def test_sentences_with_detected_words_are_found_and_chosen(plain: Trained) -> None:
    features = torch.rand(2, plain.encoder.cells, plain.encoder.channels)
    found = generate(plain, features, beam=5, best=5)
    grass = plain.vocabulary.number("grass")
    share = 0.98

    def rank(one: Sentence) -> float:
        length = len(one.tokens) + 1
        score = one.log_probability / length**plain.config.length_penalty
        return score + RERANKING_WEIGHT * share * (grass in one.tokens)

    with_grass = replace(plain, detector=detector_of(grass, share, plain.encoder.channels))
    chosen = generate(with_grass, features, beam=5, best=5)
    for before, after in zip(found, chosen, strict=True):
        assert len({one.tokens for one in after}) == 5
        ranks = [rank(one) for one in after]
        assert ranks == sorted(ranks, reverse=True)
        better = [one for one in before if rank(one) > ranks[-1]]
        assert all(one in after for one in better), "with the score of the captioner alone"
        assert set(after) - set(before), "some were found by the second search alone"
        assert grass in after[0].tokens
    assert generate(with_grass, features, beam=5) == [one[:1] for one in chosen]


def test_words_that_few_will_use_change_nothing(plain: Trained) -> None:
    features = torch.rand(2, plain.encoder.cells, plain.encoder.channels)
    rare = detector_of(plain.vocabulary.number("grass"), 1e-6, plain.encoder.channels)
    found = generate(plain, features, beam=5, best=5)
    captions = generate(replace(plain, detector=rare), features, beam=5, best=5)
    assert [[one._replace(log_share=0.0) for one in image] for image in captions] == found


def test_a_sentence_of_detected_words_has_more_confidence(plain: Trained) -> None:
    features = torch.rand(2, plain.encoder.cells, plain.encoder.channels)
    grass = plain.vocabulary.number("grass")
    calibrated = replace(plain, confidence=Confidence(1.0, 0.0, 1.0))
    sure = replace(calibrated, detector=detector_of(grass, 0.9, plain.encoder.channels))
    [likely], _ = generate(sure, features, beam=5)
    assert grass in likely.tokens
    assert likely.log_share == pytest.approx(math.log(0.91))
    mean = likely.log_probability / (len(likely.words) + 1)
    assert likely.confidence == pytest.approx(0.91 / (0.91 + math.exp(-mean)))
    [plain_one], _ = generate(calibrated, features, beam=5)
    assert plain_one.log_share == 0.0, "no detector"
    rare = replace(calibrated, detector=detector_of(grass, 1e-6, plain.encoder.channels))
    [unlikely], _ = generate(rare, features, beam=5)
    assert unlikely.tokens == plain_one.tokens
    assert unlikely.confidence < plain_one.confidence
