"""Pieces put together give the sentence again."""

import pytest

from datasets.pieces import Pieces, text_of, words_of

SENTENCES = [
    "A man's dog barks.",
    "The dog sees a man (and barks): “ahoj!”",
    "Muž vidí psa .",
    "costs $5, or 10 %",
]


@pytest.mark.parametrize("size", [40, 400])
def test_text_comes_back_as_it_was(size):
    pieces = Pieces.from_json(Pieces.train(SENTENCES, size, 1).to_json())
    for sentence, row in zip(SENTENCES, pieces.encode_all(SENTENCES), strict=True):
        assert row == pieces.encode(sentence)
        if Pieces.unknown not in row:
            assert text_of(pieces.spoken(row)) == sentence
        assert text_of(pieces.surfaces(sentence)) == sentence, (
            "what is unknown stands there as it is"
        )
    assert Pieces.unknown not in pieces.encode(SENTENCES[0])


def test_white_space_is_one_space_and_special_tokens_are_text():
    pieces = Pieces.train(SENTENCES, 100, min_count=1)
    assert pieces.encode("\u00a0a\t man  ") == pieces.encode("a man")
    assert pieces.encode(" \t") == []
    assert min(pieces.encode("<end>")) == Pieces.unknown, "the text <end> does not end a sentence"


def test_unseen_letters_are_one_unknown_each_run():
    pieces = Pieces.train(SENTENCES, 100, min_count=1)
    assert pieces.encode("a 漢字 man").count(Pieces.unknown) == 1
    assert text_of(pieces.surfaces("a 漢字, man 🐕!")) == "a 漢字, man 🐕!"


def test_joint_pieces_of_a_letter_seen_once_are_known():
    assert Pieces.unknown not in Pieces.train([*SENTENCES, "ž"], 5).encode("ž")


def test_words_are_parted_from_marks_at_their_end():
    pieces = ["▁Yes", "ter", "▁a", "'", "s", "▁psy", ".", "▁“", "ahoj", "!", ")"]
    words = [text_of(pieces[part]) for part in words_of(pieces)]
    assert words == ["Yester", "a's", "psy", ".", "“ahoj", "!", ")"]
    assert words_of([]) == []
