"""Names of what the encoder's classifier recognises: the table, the probabilities, the decoder."""

import re
from dataclasses import replace
from typing import Any

import pytest
import torch
from describer import noise
from PIL import Image
from sklearn.datasets import load_sample_images
from torchvision.models._meta import _IMAGENET_CATEGORIES as CATEGORIES

from captioning.config import Config
from captioning.model import Captioner
from captioning.trained import DEFAULT
from captioning.writing.floors import floors, recognise
from captioning.writing.forms import plural
from captioning.writing.imagenet_words import table
from captioning.writing.names import Names, names_of, replace_words
from captioning.writing.steering import ruling_out
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
    assert all(words[word].copied for word in ("cat", "flower", "cup of coffee"))
    assert not words["couch"].copied
    assert all(re.fullmatch("[a-z]+( [a-z]+)*", word) for word in words)


def test_a_flower_is_recognised():
    encoder = make_encoder("lite0")
    vocabulary = Vocabulary.train(["a dog , a flower and a temple"])
    names = names_of(encoder, vocabulary)
    assert names is not None
    assert set(vocabulary.spoken(names.words.tolist())) == {"dog", "flower"}
    flower = Image.fromarray(load_sample_images().images[1])
    probabilities = names(encoder(encoder.preprocessing(flower)[None]))
    assert probabilities.shape == (1, len(names.words))
    place = names.words.tolist().index(vocabulary.number("flower"))
    others = probabilities[0].clone()
    others[place] = 0
    assert probabilities[0, place] > 3 * others.max()
    assert not names.state_dict(), "they are the encoder's, and in no checkpoint of the decoder"


def test_an_encoder_without_a_classifier_has_no_names():
    encoder = make_encoder("tiny")
    assert names_of(encoder, Vocabulary.train(["a dog"])) is None
    with pytest.raises(InputError, match="leave out --names"):
        Config(names=True)


def test_names_change_what_the_decoder_says():
    torch.manual_seed(0)
    encoder = make_encoder("lite0")
    vocabulary = Vocabulary.train(["a dog and a flower"])
    sizes: dict[str, Any] = {"embedding": 6, "hidden": 5, "visual": 4, "scores": 3, "dropout": 0.0}
    config = Config(encoder="lite0", names=True, **sizes)
    names = names_of(encoder, vocabulary)
    features = encoder(encoder.preprocessing(noise())[None])
    tokens = torch.tensor([[vocabulary.start, 5, 6]])
    with_names = Captioner(config, encoder.channels, len(vocabulary), names).eval()
    without = Captioner(replace(config, names=False), encoder.channels, len(vocabulary), names)
    without.eval().take_over(with_names.state_dict())
    for model, expected in ((with_names, True), (without, False)):
        assert any(key.startswith("name.") for key in model.state_dict()) == expected

    def logits(model: Captioner) -> torch.Tensor:
        outputs, embedded, _ = model(features, tokens)
        return model.score(outputs, embedded)

    assert torch.allclose(logits(with_names), logits(without)), "the layer begins at zero"
    with torch.no_grad():
        with_names.name.weight.normal_()
    assert not torch.allclose(logits(with_names), logits(without), atol=1e-3)


def row_of(names: Names, word: str) -> int:
    """The place of a name, among those that a vocabulary has or has a word like."""
    (place,) = (
        place
        for place, number in enumerate(names.words.tolist())
        if names.groups[CATEGORIES.index(OF_CLASS[word]), place]
    )
    return place


OF_CLASS = {"cat": "tabby", "couch": "studio couch", "dog": "beagle", "fox": "red fox"}


def test_a_name_that_no_caption_showed_takes_the_place_of_a_word_like_it():
    vocabulary = Vocabulary.train(["a dog dogs and an animal"])
    names = names_of(make_encoder("lite0"), vocabulary)
    assert names is not None
    fox, dog = row_of(names, "fox"), row_of(names, "dog")
    assert names.words[fox] == names.words[dog] == vocabulary.number("dog")
    probabilities = torch.zeros(4, len(names.words))
    probabilities[0, fox] = 0.4
    probabilities[1, fox] = 0.19  # not sure
    probabilities[2, fox], probabilities[2, dog] = 0.4, 0.5  # a dog, rather
    probabilities[3, dog] = 0.9
    pairs = names.replaced(probabilities)
    assert pairs == [[("dog", "fox"), ("dogs", "foxes")], [], [], []]
    assert names.missing(probabilities, [(4,)] * 4)[0, fox] == torch.tensor(0.4)
    told = replace_words(["two", "dogs", "and", "a", "dog"], pairs[0])
    assert told == ["two", "foxes", "and", "a", "fox"]
    assert replace_words(["a", "bird"], [("bird", "ostrich")]) == ["an", "ostrich"]
    cup = [("cup", "cup of coffee"), ("cups", "cups of coffee")]
    assert replace_words(["a", "cup", "here"], cup) == ["a", "cup", "of", "coffee", "here"]
    for drink in ("tea", "coffee"):
        replaced = replace_words(["an", "old", "cup", "of", drink, "here"], cup)
        assert replaced == ["an", "old", "cup", "of", "coffee", "here"]
    wine = [("glass", "glass of wine")]
    red = replace_words(["a", "glass", "of", "red", "wine", "here"], wine)
    assert red == ["a", "glass", "of", "wine", "here"]
    assert plural("cup of coffee") == "cups of coffee"
    plurals = [plural(word) for word in ("wolf", "cliff", "koala", "ostrich", "pony")]
    assert plurals == ["wolves", "cliffs", "koalas", "ostriches", "ponies"]


def test_the_default_model_can_write_every_name_that_may_be_copied():
    vocabulary = Vocabulary.from_json(
        checkpoint.load(DEFAULT, "captioning")["extras"]["vocabulary"]
    )
    names = names_of(make_encoder("lite0"), vocabulary)
    assert names is not None
    written = {word for word, _ in names.unknown.values()}
    written |= set(vocabulary.spoken(names.words.tolist()))
    assert {row.word for row in table() if row.copied} <= written


def test_names_to_copy_are_sure_and_missing():
    vocabulary = Vocabulary.train(["a cat dogs dog couch"])
    names = names_of(make_encoder("lite0"), vocabulary)
    assert names is not None
    cat, couch, dog, dogs = map(vocabulary.number, ("cat", "couch", "dog", "dogs"))
    place = {cat: row_of(names, "cat"), couch: row_of(names, "couch"), dog: row_of(names, "dog")}
    probabilities = torch.zeros(4, len(names.words))
    probabilities[:, place[dog]] = 0.6
    probabilities[0, place[cat]] = 0.19
    probabilities[1, place[couch]] = 0.4
    missing = names.missing(probabilities, [(4,), (4, cat), (4, dog), (4, dogs)])
    wanted = torch.zeros(4, len(names.words))
    wanted[:2, place[dog]] = 0.6
    assert torch.equal(missing, wanted), "cat is unsure, couch has no star, dogs are dogs"


def test_words_to_expect_are_those_of_names_that_are_sure():
    vocabulary = Vocabulary.train(["a cat dogs dog couch"])
    names = names_of(make_encoder("lite0"), vocabulary)
    assert names is not None
    probabilities = torch.zeros(1, len(names.words))
    probabilities[0, row_of(names, "dog")] = 0.15
    probabilities[0, row_of(names, "fox")] = 0.1
    probabilities[0, row_of(names, "cat")] = 0.19
    probabilities[0, row_of(names, "couch")] = 0.5
    sure = names.sure(probabilities, len(vocabulary))
    dog, dogs = map(vocabulary.number, ("dog", "dogs"))
    assert sure.nonzero()[:, 1].tolist() == sorted([dog, dogs]), "cat is unsure, couch has no star"
    assert sure[0, dogs] == pytest.approx(0.25), "a fox is written as a dog"


def test_a_sentence_begins_with_a_name_that_is_surer_than_it():
    vocabulary = Vocabulary.train(["a cat dogs dog couch"])
    names = names_of(make_encoder("lite0"), vocabulary, {"cat": 0.5})
    assert names is not None
    cat, couch, dog, dogs = map(vocabulary.number, ("cat", "couch", "dog", "dogs"))
    place = {cat: row_of(names, "cat"), couch: row_of(names, "couch"), dog: row_of(names, "dog")}
    probabilities = torch.zeros(7, len(names.words))
    probabilities[:5, place[dog]] = 0.4
    probabilities[3, place[couch]] = 0.5
    probabilities[4, row_of(names, "fox")] = 0.3
    probabilities[5, place[couch]] = 0.9
    probabilities[6, place[cat]] = 0.45
    sentences = [(4,), (4, dogs), (4,), (4,), (4, cat), (4,), (4,)]
    found = names.beginnings(probabilities, sentences, [0.3, 0.3, 0.5, 0.1, 0.6, 0.1, 0.1])
    assert [(image, name) for image, name, _ in found] == [(0, dog), (4, dog)]
    assert [p for _, _, p in found] == pytest.approx([0.4, 0.7]), "a fox is written as a dog"


def test_a_name_has_the_floor_that_leaves_out_a_twentieth_of_its_pictures():
    vocabulary = Vocabulary.train(["a cat cats dog"])
    names = names_of(make_encoder("lite0"), vocabulary)
    assert names is not None
    cat, cats, dog = map(vocabulary.number, ("cat", "cats", "dog"))
    shown = torch.arange(41) / 100
    probabilities = torch.zeros(60, len(names.words))
    probabilities[:41, row_of(names, "cat")] = shown.flip(0)
    probabilities[41:, row_of(names, "cat")] = 0.001
    probabilities[41:, row_of(names, "fox")] = 0.3
    # Two people say it of the first 41 pictures, in the plural too; one of the others.
    captions = [[[cat], [4, cats], [4]]] * 41 + [[[cat], [dog], [dog]]] * 19
    least = floors(names, probabilities, captions)
    assert least[row_of(names, "cat")] == shown[2], "below it are 2 of 41"
    assert least[row_of(names, "dog")] == 0, "19 pictures are too few"
    least = floors(names, probabilities[22:], captions[22:])
    assert not least.any(), "the cat has 19 pictures, and the dog too"
    least = floors(names, probabilities, [*captions[1:], [[dog], [dog]]])
    assert least[row_of(names, "dog")] == torch.tensor(0.3), "as a fox may be written as a dog"


def test_names_below_their_floors_are_ruled_out():
    vocabulary = Vocabulary.train(["a cat dogs dog"])
    cat, dog, dogs = map(vocabulary.number, ("cat", "dog", "dogs"))
    names = names_of(make_encoder("lite0"), vocabulary, {"dog": 0.1})
    assert names is not None
    probabilities = torch.zeros(3, len(names.words))
    probabilities[0, row_of(names, "dog")] = 0.09
    probabilities[1, row_of(names, "dog")] = 0.1
    probabilities[2, row_of(names, "dog")] = 0.09
    probabilities[2, row_of(names, "fox")] = 0.02  # written as a dog, and then put in its place
    forbidden = names.ruled_out(probabilities, len(vocabulary))
    wanted = torch.zeros(3, len(vocabulary), dtype=torch.bool)
    wanted[0, [dog, dogs]] = True
    assert torch.equal(forbidden, wanted)

    def step(tokens, state):
        return torch.ones(len(tokens), len(vocabulary)), (state[0] + 1,)

    logits, (count,) = ruling_out(step, forbidden)(torch.zeros(6), (torch.zeros(6),))
    assert torch.equal(logits == 1, ~wanted.repeat_interleave(2, 0)), "with a beam of two"
    assert logits[0, cat] == 1
    assert logits[0, dog] == -torch.inf
    assert torch.equal(count, torch.ones(6))


def test_names_are_recognised_in_features_and_at_the_end_of_a_trunk():
    names = names_of(make_encoder("lite0"), Vocabulary.train(["a cat and a dog"]))
    assert names is not None
    grids = torch.rand(3, 4, 1280)
    wanted = names(grids)

    class Rows:
        def __init__(self, values):
            self.values = values

        def __len__(self):
            return len(self.values)

        def __call__(self, rows):
            return self.values[list(rows)]

    assert torch.equal(recognise(names, Rows(grids)), wanted)
    trunk = torch.cat((torch.rand(3, 10), grids.mean(1)), 1)
    assert torch.allclose(recognise(names, Rows(trunk)), wanted, atol=1e-6)


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


def test_a_vocabulary_is_extended():
    first = Vocabulary.train(["a dog runs", "a dog"])
    more = first.extended(["a koala sleeps", "the koala eats"], min_count=2)
    assert len(more) == len(first) + 1
    assert more.encode("a dog") == first.encode("a dog")
    assert more.decode(more.encode("a koala")) == "a koala"
    assert first.extended([]).to_json() == first.to_json()
