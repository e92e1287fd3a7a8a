"""Numbers of things in two languages."""

import pytest

from datasets.text import counting
from datasets.text.counting import NOUNS, czech, english, things


@pytest.mark.parametrize(
    ("number", "words", "masculine", "feminine"),
    [
        (1, "one", "jednoho", "jednu"),
        (2, "two", "dva", "dvě"),
        (13, "thirteen", "třináct", "třináct"),
        (21, "twenty-one", "jednadvacet", "jednadvacet"),
        (42, "forty-two", "dvaačtyřicet", "dvaačtyřicet"),
        (60, "sixty", "šedesát", "šedesát"),
        (99, "ninety-nine", "devětadevadesát", "devětadevadesát"),
    ],
)
def test_numbers(number, words, masculine, feminine):
    assert english(number) == words
    assert (czech(number, "a"), czech(number, "f")) == (masculine, feminine)


def test_things_are_declined():
    dog, apple = (next(noun for noun in NOUNS if noun.one == name) for name in ("dog", "apple"))
    assert things(1, "black", dog) == ("one black dog", "jednoho černého psa")
    assert things(4, "black", dog) == ("four black dogs", "čtyři černé psy")
    assert things(5, "black", dog) == ("five black dogs", "pět černých psů")
    assert things(2, "red", apple) == ("two red apples", "dvě červená jablka")


def test_splits_are_apart():
    train, validation = counting.splits()
    assert (len(set(train)), len(set(validation))) == (counting.TRAIN, counting.VALIDATION)
    assert not set(train) & set(validation)
