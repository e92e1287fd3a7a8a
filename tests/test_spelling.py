"""How words are spelled."""

import zlib

from datasets.text.spelling import spell


def test_ngrams_of_a_marked_word_by_their_hash():
    grams = ["<no", "no>", "<no>"]
    assert spell("no", 1000) == tuple(zlib.crc32(gram.encode()) % 1000 for gram in grams)
    assert len(spell("good", 1000)) == 4 + 3 + 2
    assert set(spell("kůň", 7)) <= set(range(7))
    assert len(spell("a", 1000)) == 1
    assert spell("", 1000) == ()


def test_words_spelled_alike_share_numbers():
    one, other, third = (set(spell(word, 1 << 30)) for word in ("charming", "charmless", "dull"))
    assert len(one & other) > 5
    assert not one & third
