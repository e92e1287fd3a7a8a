"""Concepts that the encoder's classifier detects: the table, the probabilities, the decoder."""

import re
from dataclasses import replace
from typing import Any

import pytest
import torch
from describer import noise
from PIL import Image
from sklearn.datasets import load_sample_images
from torchvision.models._meta import _IMAGENET_CATEGORIES as CATEGORIES

from captioning.concepts.classifier import ConceptClassifier, concept_classifier
from captioning.concepts.imagenet_words import table
from captioning.concepts.thresholds import predict, recall_thresholds
from captioning.config import Config
from captioning.generation.constraints import ban_words
from captioning.model import Captioner
from captioning.trained import DEFAULT
from core.errors import InputError
from core.training import checkpoint
from datasets.text.vocabulary import Vocabulary
from vision.encoder import make_encoder


@pytest.mark.parametrize(
    ("category", "word"),
    [
        ("Egyptian cat", "cat"),
        ("tabby", "cat"),
        ("espresso", "cup of coffee"),
        ("golden retriever", "dog"),
        ("airliner", "airplane"),
        ("African elephant", "elephant"),
        ("ice bear", "bear"),
        ("daisy", "flower"),
        ("school bus", "bus"),
        ("sorrel", "horse"),
        ("studio couch", "couch"),
        ("street sign", "sign"),
        ("plane", None),  # the tool of a carpenter
    ],
)
def test_people_say_this_of_a_class(category: str, word: str | None):
    words = {number: row.word for row in table() for number in row.classes}
    assert words.get(CATEGORIES.index(category)) == word


def test_the_table_has_each_class_once():
    classes = [number for row in table() for number in row.classes]
    assert len(classes) == len(set(classes)) > 600
    assert all(0 <= number < 1000 for number in classes)
    words = {row.word: row for row in table()}
    assert len(words) == len(table())
    assert all(words[word].copyable for word in ("cat", "flower", "cup of coffee"))
    assert not words["couch"].copyable
    assert all(re.fullmatch("[a-z]+( [a-z]+)*", word) for word in words)


def test_a_flower_is_detected():
    encoder = make_encoder("lite0")
    vocabulary = Vocabulary.train(["a dog , a flower and a temple"])
    concepts = concept_classifier(encoder, vocabulary)
    assert concepts is not None
    assert set(vocabulary.spoken(concepts.words.tolist())) == {"dog", "flower"}
    flower = Image.fromarray(load_sample_images().images[1])
    probabilities = concepts(encoder(encoder.preprocessing(flower)[None]))
    assert probabilities.shape == (1, len(concepts.words))
    place = concepts.words.tolist().index(vocabulary.number("flower"))
    others = probabilities[0].clone()
    others[place] = 0
    assert probabilities[0, place] > 3 * others.max()
    assert not concepts.state_dict(), "they are the encoder's, and in no checkpoint of the decoder"


def test_an_encoder_without_a_classifier_has_no_concepts():
    encoder = make_encoder("tiny")
    assert concept_classifier(encoder, Vocabulary.train(["a dog"])) is None
    with pytest.raises(InputError, match="leave out --names"):
        Config(names=True)


def test_concepts_change_what_the_decoder_says():
    torch.manual_seed(0)
    encoder = make_encoder("lite0")
    vocabulary = Vocabulary.train(["a dog and a flower"])
    sizes: dict[str, Any] = {"embedding": 6, "hidden": 5, "visual": 4, "scores": 3, "dropout": 0.0}
    config = Config(encoder="lite0", names=True, **sizes)
    concepts = concept_classifier(encoder, vocabulary)
    features = encoder(encoder.preprocessing(noise())[None])
    tokens = torch.tensor([[vocabulary.start, 5, 6]])
    with_concepts = Captioner(config, encoder.channels, len(vocabulary), concepts).eval()
    without = Captioner(replace(config, names=False), encoder.channels, len(vocabulary), concepts)
    without.eval().take_over(with_concepts.state_dict())
    for model, expected in ((with_concepts, True), (without, False)):
        assert any(key.startswith("name.") for key in model.state_dict()) == expected

    def logits(model: Captioner) -> torch.Tensor:
        outputs, embedded, _ = model(features, tokens)
        return model.logits(outputs, embedded)

    assert torch.allclose(logits(with_concepts), logits(without)), "the layer begins at zero"
    with torch.no_grad():
        with_concepts.name.weight.normal_()
    assert not torch.allclose(logits(with_concepts), logits(without), atol=1e-3)


def row_of(concepts: ConceptClassifier, word: str) -> int:
    """The position of a concept, among those whose word or proxy a vocabulary has."""
    (place,) = (
        place
        for place, number in enumerate(concepts.words.tolist())
        if concepts.groups[CATEGORIES.index(OF_CLASS[word]), place]
    )
    return place


OF_CLASS = {"cat": "tabby", "couch": "studio couch", "dog": "beagle", "fox": "red fox"}


def test_a_word_that_no_caption_showed_takes_the_place_of_its_proxy():
    vocabulary = Vocabulary.train(["a dog dogs and an animal"])
    concepts = concept_classifier(make_encoder("lite0"), vocabulary)
    assert concepts is not None
    fox, dog = row_of(concepts, "fox"), row_of(concepts, "dog")
    assert concepts.words[fox] == concepts.words[dog] == vocabulary.number("dog")
    probabilities = torch.zeros(4, len(concepts.words))
    probabilities[0, fox] = 0.4
    probabilities[1, fox] = 0.19  # below the threshold
    probabilities[2, fox], probabilities[2, dog] = 0.4, 0.5  # a dog, rather
    probabilities[3, dog] = 0.9
    pairs = concepts.substitutions(probabilities)
    assert pairs == [[("dog", "fox"), ("dogs", "foxes")], [], [], []]
    assert concepts.missing(probabilities, [(4,)] * 4)[0, fox] == torch.tensor(0.4)


def test_the_default_model_can_write_every_copyable_concept():
    vocabulary = Vocabulary.from_json(
        checkpoint.load(DEFAULT, "captioning")["extras"]["vocabulary"]
    )
    concepts = concept_classifier(make_encoder("lite0"), vocabulary)
    assert concepts is not None
    written = {word for word, _ in concepts.proxies.values()}
    written |= set(vocabulary.spoken(concepts.words.tolist()))
    assert {row.word for row in table() if row.copyable} <= written


def test_concepts_to_copy_are_probable_and_missing():
    vocabulary = Vocabulary.train(["a cat dogs dog couch"])
    concepts = concept_classifier(make_encoder("lite0"), vocabulary)
    assert concepts is not None
    cat, couch, dog, dogs = map(vocabulary.number, ("cat", "couch", "dog", "dogs"))
    rows = [row_of(concepts, word) for word in ("cat", "couch", "dog")]
    place = dict(zip((cat, couch, dog), rows, strict=True))
    probabilities = torch.zeros(4, len(concepts.words))
    probabilities[:, place[dog]] = 0.6
    probabilities[0, place[cat]] = 0.19
    probabilities[1, place[couch]] = 0.4
    missing = concepts.missing(probabilities, [(4,), (4, cat), (4, dog), (4, dogs)])
    wanted = torch.zeros(4, len(concepts.words))
    wanted[:2, place[dog]] = 0.6
    assert torch.equal(missing, wanted), "cat is improbable, couch has no star, dogs are dogs"


def test_copyable_words_are_those_of_probable_concepts():
    vocabulary = Vocabulary.train(["a cat dogs dog couch"])
    concepts = concept_classifier(make_encoder("lite0"), vocabulary)
    assert concepts is not None
    probabilities = torch.zeros(1, len(concepts.words))
    probabilities[0, row_of(concepts, "dog")] = 0.15
    probabilities[0, row_of(concepts, "fox")] = 0.1
    probabilities[0, row_of(concepts, "cat")] = 0.19
    probabilities[0, row_of(concepts, "couch")] = 0.5
    words = concepts.copyable_words(probabilities, len(vocabulary))
    dog, dogs = map(vocabulary.number, ("dog", "dogs"))
    assert words.nonzero()[:, 1].tolist() == sorted([dog, dogs]), "no cat, and no star"
    assert words[0, dogs] == pytest.approx(0.25), "a fox is written as a dog"


def test_a_sentence_begins_with_a_concept_more_probable_than_it():
    vocabulary = Vocabulary.train(["a cat dogs dog couch"])
    concepts = concept_classifier(make_encoder("lite0"), vocabulary, {"cat": 0.5})
    assert concepts is not None
    cat, couch, dog, dogs = map(vocabulary.number, ("cat", "couch", "dog", "dogs"))
    rows = [row_of(concepts, word) for word in ("cat", "couch", "dog")]
    place = dict(zip((cat, couch, dog), rows, strict=True))
    probabilities = torch.zeros(7, len(concepts.words))
    probabilities[:5, place[dog]] = 0.4
    probabilities[3, place[couch]] = 0.5
    probabilities[4, row_of(concepts, "fox")] = 0.3
    probabilities[5, place[couch]] = 0.9
    probabilities[6, place[cat]] = 0.45
    sentences = [(4,), (4, dogs), (4,), (4,), (4, cat), (4,), (4,)]
    prefixes = concepts.prefixes(probabilities, sentences, [0.3, 0.3, 0.5, 0.1, 0.6, 0.1, 0.1])
    assert [(image, word) for image, word, _ in prefixes] == [(0, dog), (4, dog)]
    assert [p for _, _, p in prefixes] == pytest.approx([0.4, 0.7]), "a fox is written as a dog"


def test_a_threshold_leaves_out_a_twentieth_of_the_positive_pictures():
    vocabulary = Vocabulary.train(["a cat cats dog"])
    concepts = concept_classifier(make_encoder("lite0"), vocabulary)
    assert concepts is not None
    cat, cats, dog = map(vocabulary.number, ("cat", "cats", "dog"))
    shown = torch.arange(41) / 100
    probabilities = torch.zeros(60, len(concepts.words))
    probabilities[:41, row_of(concepts, "cat")] = shown.flip(0)
    probabilities[41:, row_of(concepts, "cat")] = 0.001
    probabilities[41:, row_of(concepts, "fox")] = 0.3
    # Two people say it of the first 41 pictures, in the plural too; one of the others.
    captions = [[[cat], [4, cats], [4]]] * 41 + [[[cat], [dog], [dog]]] * 19
    thresholds = recall_thresholds(concepts, probabilities, captions)
    assert thresholds[row_of(concepts, "cat")] == shown[2], "below it are 2 of 41"
    assert thresholds[row_of(concepts, "dog")] == 0, "19 pictures are too few"
    thresholds = recall_thresholds(concepts, probabilities[22:], captions[22:])
    assert not thresholds.any(), "the cat has 19 pictures, and the dog too"
    thresholds = recall_thresholds(concepts, probabilities, [*captions[1:], [[dog], [dog]]])
    assert thresholds[row_of(concepts, "dog")] == torch.tensor(0.3), "a fox is written as a dog"


def test_words_below_their_thresholds_are_banned():
    vocabulary = Vocabulary.train(["a cat dogs dog"])
    cat, dog, dogs = map(vocabulary.number, ("cat", "dog", "dogs"))
    concepts = concept_classifier(make_encoder("lite0"), vocabulary, {"dog": 0.1})
    assert concepts is not None
    probabilities = torch.zeros(3, len(concepts.words))
    probabilities[0, row_of(concepts, "dog")] = 0.09
    probabilities[1, row_of(concepts, "dog")] = 0.1
    probabilities[2, row_of(concepts, "dog")] = 0.09
    probabilities[2, row_of(concepts, "fox")] = 0.02  # written as a dog, and then put in its place
    banned = concepts.banned_words(probabilities, len(vocabulary))
    wanted = torch.zeros(3, len(vocabulary), dtype=torch.bool)
    wanted[0, [dog, dogs]] = True
    assert torch.equal(banned, wanted)

    def step(tokens, state):
        return torch.ones(len(tokens), len(vocabulary)), (state[0] + 1,)

    logits, (count,) = ban_words(step, banned)(torch.zeros(6), (torch.zeros(6),))
    assert torch.equal(logits == 1, ~wanted.repeat_interleave(2, 0)), "with a beam of two"
    assert logits[0, cat] == 1
    assert logits[0, dog] == -torch.inf
    assert torch.equal(count, torch.ones(6))


def test_concepts_are_predicted_from_features_and_at_the_end_of_a_trunk():
    concepts = concept_classifier(make_encoder("lite0"), Vocabulary.train(["a cat and a dog"]))
    assert concepts is not None
    grids = torch.rand(3, 4, 1280)
    wanted = concepts(grids)

    class Rows:
        def __init__(self, values):
            self.values = values

        def __len__(self):
            return len(self.values)

        def __call__(self, rows):
            return self.values[list(rows)]

    assert torch.equal(predict(concepts, Rows(grids)), wanted)
    trunk = torch.cat((torch.rand(3, 10), grids.mean(1)), 1)
    assert torch.allclose(predict(concepts, Rows(trunk)), wanted, atol=1e-6)
