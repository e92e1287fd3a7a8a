"""Names of what the encoder's classifier recognises: the table, the probabilities, the decoder."""

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
from captioning.names import (
    Names,
    class_words,
    copied_words,
    copying,
    names_of,
    plural,
    replace_words,
)
from captioning.trained import DEFAULT
from core.errors import InputError
from core.training import checkpoint
from datasets.text import Vocabulary
from vision.encoder import make_encoder


@pytest.mark.parametrize(
    ("category", "word"),
    [
        ("Egyptian cat", "cat"),
        ("tabby", "cat"),
        ("espresso", "coffee"),
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
    assert class_words().get(CATEGORIES.index(category)) == word


def test_the_table_has_each_class_once():
    words = class_words()
    assert len(words) > 600
    assert all(0 <= number < 1000 for number in words)
    assert {"cat", "flower", "coffee"} <= copied_words() < set(words.values())
    assert "couch" not in copied_words()
    assert all(word.isalpha() and word.islower() for word in words.values())


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


def test_a_name_is_copied_once():
    words = torch.tensor([4, 5])
    probabilities = torch.tensor([[0.9, 0.0], [0.0, 0.0]])

    def step(tokens, state):
        return torch.zeros(len(tokens), 7), (state[0] + 1,)

    prefer, state = copying(step, (torch.zeros(2, 1),), words, probabilities, 10.0)
    logits, after = prefer(torch.tensor([2, 2]), state)
    assert logits[0].tolist() == [0, 0, 0, 0, 9, 0, 0]
    assert not logits[1].any()
    assert torch.equal(after[0], torch.ones(2, 1)), "the state of the step goes with it"
    logits, after = prefer(torch.tensor([4, 6]), after)
    assert not logits.any(), "the name was written"
    rows = tuple(part.repeat_interleave(3, 0) for part in state)
    logits, _ = prefer(torch.tensor([2] * 6), rows)
    assert logits[:, 4].tolist() == [9, 9, 9, 0, 0, 0], "with a beam of three"


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
    plurals = [plural(word) for word in ("wolf", "koala", "ostrich", "pony")]
    assert plurals == ["wolves", "koalas", "ostriches", "ponies"]


def test_the_default_model_can_write_every_name_that_may_be_copied():
    vocabulary = Vocabulary.from_json(
        checkpoint.load(DEFAULT, "captioning")["extras"]["vocabulary"]
    )
    names = names_of(make_encoder("lite0"), vocabulary)
    assert names is not None
    written = {word for word, _ in names.unknown.values()}
    written |= set(vocabulary.spoken(names.words.tolist()))
    assert copied_words() <= written


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
