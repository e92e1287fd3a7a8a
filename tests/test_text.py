"""Vocabularies: which words there are, their numbers, and sentences there and back."""

import json
import shutil
import unicodedata
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

from datasets.text.vocabulary import SPECIAL, Vocabulary

CAPTIONS = ["A dog runs .", "a dog , a ball", "Two dogs run !", "žluťoučký kůň 🐶", "a kůň"]
SIGNS = st.sampled_from(
    [
        *".,!?;:()[]{}$#@%&'’\"-…🐶🐶🏽❤️👩‍👩‍👧🇨🇿\u0301\u200d\t",
        "n't",
        "'s",
        "<end>",
        "1.5",
        "ǅ",
        "İ",
        "ß",
    ]
)
SENTENCES = st.lists(
    st.one_of(st.text(max_size=5), SIGNS, st.just(" "), st.sampled_from("abn't s")), max_size=12
)


def tokens(vocabulary: Vocabulary) -> list[str]:
    return [vocabulary.spoken([number])[0] for number in range(4, len(vocabulary))]


@pytest.mark.parametrize(
    ("sentence", "words"),
    [
        ('A dog, a ball - and: (two) "men".', "a dog a ball and two men"),
        ("He doesn't see the dog's t-shirt", "he does n't see the dog 's t-shirt"),
        ("he does n’t see the dog ’s ball", "he does n't see the dog 's ball"),
        (
            "they're I've can't we'll I'd 'some' rock'n'roll",
            "they 're i 've ca n't we 'll i 'd some rock'n'roll",
        ),
        (
            "black-and-white at 10:30 o'clock, 2.5 of 10,000.Next",
            "black-and-white at 10:30 o'clock 2.5 of 10,000 next",
        ),
        ("Žluťoučký kůň, příšerně -- ÚPĚL …", "žluťoučký kůň příšerně úpěl"),
        ("dog🐶🐶🏽❤️ 👩‍👩‍👧 in 🇨🇿!", "dog 🐶 🐶🏽 ❤️ 👩‍👩‍👧 in 🇨🇿"),
        (" \t\r\n\ufeff", ""),
    ],
)
def test_words_are_those_that_captions_are_compared_by(sentence: str, words: str):
    assert Vocabulary.train([]).words(sentence) == words.split()


@pytest.mark.skipif(
    shutil.which("java") is None, reason="the tokens of the Penn Treebank are made in Java"
)
def test_words_are_those_of_pycocoevalcap():
    sentences = [
        "A man's dog doesn't run; they're -- he said -- \"tired\"...",
        "The dog 's t-shirt , is n't black-and-white !",
        "Can't you see: the boys' ball at 10:30 , 2.5 of 10,000 ? I'd say we'll win",
        "Žluťoučký kůň - příšerně ' úpěl ' ódy",
    ]
    tokens = PTBTokenizer().tokenize({n: [{"caption": text}] for n, text in enumerate(sentences)})
    words = Vocabulary.train([]).words
    assert [words(text) for text in sentences] == [
        tokens[n][0].split() for n in range(len(sentences))
    ]


def test_punctuation_is_kept_on_request():
    vocabulary = Vocabulary.train([], punctuation=True)
    assert (
        " ".join(vocabulary.words("Isn't it (good)... 100%?")) == "is n't it ( good ) . . . 100 % ?"
    )
    assert " ".join(vocabulary.words("Prý: „ano“ – 🐶🏽!")) == "prý : „ ano “ – 🐶🏽 !"


def test_composed_and_decomposed_letters_are_one():
    decomposed = unicodedata.normalize("NFD", "Kůň běží")
    assert Vocabulary.train([]).words(decomposed) == ["kůň", "běží"]


def test_numbers_go_by_count_then_by_alphabet():
    vocabulary = Vocabulary.train(CAPTIONS)
    assert tokens(vocabulary) == [
        "a",
        "dog",
        "kůň",
        "ball",
        "dogs",
        "run",
        "runs",
        "two",
        "žluťoučký",
        "🐶",
    ]
    assert (vocabulary.pad, vocabulary.unknown, vocabulary.start, vocabulary.end) == (0, 1, 2, 3)
    assert tokens(Vocabulary.train(CAPTIONS, 2)) == ["a", "dog", "kůň"]
    assert tokens(Vocabulary.train(reversed(CAPTIONS), punctuation=True))[:3] == ["a", "dog", "kůň"]
    assert len(Vocabulary.train([])) == len(SPECIAL)


@settings(deadline=None, max_examples=60)
@given(st.lists(SENTENCES.map("".join), max_size=5), st.integers(1, 3), st.booleans())
def test_numbers_are_those_of_a_plain_count(sentences: list[str], least: int, punctuation: bool):
    vocabulary = Vocabulary.train(sentences, least, punctuation=punctuation)
    counts = Counter(word for sentence in sentences for word in vocabulary.words(sentence))
    kept = sorted((-count, word.encode()) for word, count in counts.items() if count >= least)
    assert tokens(vocabulary) == [word.decode() for _, word in kept]


@settings(deadline=None, max_examples=60)
@given(SENTENCES.map("".join), st.booleans())
def test_what_was_read_is_read_again(sentence: str, punctuation: bool):
    vocabulary = Vocabulary.train([sentence], punctuation=punctuation)
    words, numbers = vocabulary.words(sentence), vocabulary.encode(sentence)
    assert vocabulary.unknown not in numbers
    assert vocabulary.spoken(numbers) == words
    assert vocabulary.encode(vocabulary.decode(numbers)) == numbers


def test_words_that_were_rare_are_unknown():
    vocabulary = Vocabulary.train(CAPTIONS, 2)
    assert vocabulary.encode("a cat, a dog") == [4, vocabulary.unknown, 4, 5]


def test_special_tokens_are_not_to_be_had_by_writing_them():
    for punctuation in (False, True):
        vocabulary = Vocabulary.train(["<end> <pad> end"], punctuation=punctuation)
        assert min(vocabulary.encode("<end><pad>")) > vocabulary.end
        again = Vocabulary.from_json(vocabulary.to_json())
        assert again.encode("<end><start>") == vocabulary.encode("<end><start>")


def test_sentences_for_the_reader():
    vocabulary = Vocabulary.train(["The dog's ( or cats ) don't see 5 %, OK? 🐶"], punctuation=True)
    text = "the dog's (or cats) don't see 5%, ok? 🐶"
    numbers = vocabulary.encode(text)
    assert vocabulary.decode(numbers) == text
    assert vocabulary.decode([2, *numbers, 3, 5, 3, 0]) == text
    assert vocabulary.decode([*numbers[:1], 1, 10_000]) == "the <unk> <unk>"
    assert vocabulary.decode([]) == ""
    assert vocabulary.decode([3]) == ""


@pytest.mark.parametrize("punctuation", [False, True])
def test_all_of_it_is_in_the_json(punctuation: bool):
    vocabulary = Vocabulary.train(CAPTIONS, punctuation=punctuation)
    text = vocabulary.to_json()
    json.loads(text)
    again = Vocabulary.from_json(text)
    assert again.to_json() == text
    assert len(again) == len(vocabulary)
    sentence = "Žluťoučký dogs, isn't 🐶?"
    assert again.encode(sentence) == vocabulary.encode(sentence)
    assert again.words(sentence) == vocabulary.words(sentence)


def test_a_vocabulary_is_extended():
    first = Vocabulary.train(["a dog runs", "a dog"])
    more = first.extended(["a koala sleeps", "the koala eats"], min_count=2)
    assert len(more) == len(first) + 1
    assert more.encode("a dog") == first.encode("a dog")
    assert more.decode(more.encode("a koala")) == "a koala"
    assert first.extended([]).to_json() == first.to_json()
