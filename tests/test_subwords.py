"""Subwords put together give the sentence again."""

import pytest

from datasets.text.subwords import Subwords, text_of, words_of

SENTENCES = [
    "A man's dog barks.",
    "The dog sees a man (and barks): “ahoj!”",
    "Muž vidí psa .",
    "costs $5, or 10 %",
]


@pytest.mark.parametrize("size", [40, 400])
def test_text_comes_back_as_it_was(size):
    subwords = Subwords.from_json(Subwords.train(SENTENCES, size, 1).to_json())
    for sentence, row in zip(SENTENCES, subwords.encode_all(SENTENCES), strict=True):
        assert row == subwords.encode(sentence)
        if Subwords.unknown not in row:
            assert text_of(subwords.spoken(row)) == sentence
        assert text_of(subwords.surfaces(sentence)) == sentence, (
            "what is unknown stands there as it is"
        )
    assert Subwords.unknown not in subwords.encode(SENTENCES[0])


def test_white_space_is_one_space_and_special_tokens_are_text():
    subwords = Subwords.train(SENTENCES, 100, min_count=1)
    assert subwords.encode("\u00a0a\t man  ") == subwords.encode("a man")
    assert subwords.encode(" \t") == []
    assert min(subwords.encode("<end>")) == Subwords.unknown, (
        "the text <end> does not end a sentence"
    )


def test_unseen_letters_are_one_unknown_each_run():
    subwords = Subwords.train(SENTENCES, 100, min_count=1)
    assert subwords.encode("a 漢字 man").count(Subwords.unknown) == 1
    assert text_of(subwords.surfaces("a 漢字, man 🐕!")) == "a 漢字, man 🐕!"


def test_joint_pieces_of_a_letter_seen_once_are_known():
    assert Subwords.unknown not in Subwords.train([*SENTENCES, "ž"], 5).encode("ž")


def test_words_are_parted_from_marks_at_their_end():
    subwords = ["▁Yes", "ter", "▁a", "'", "s", "▁psy", ".", "▁“", "ahoj", "!", ")"]
    words = [text_of(subwords[part]) for part in words_of(subwords)]
    assert words == ["Yester", "a's", "psy", ".", "“ahoj", "!", ")"]
    assert words_of([]) == []
