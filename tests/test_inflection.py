"""The plurals of words."""

import pytest

from captioning.concepts.inflection import plural


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("roof", "roofs"),
        ("chef", "chefs"),
        ("knife", "knives"),
        ("bookshelf", "bookshelves"),
        ("leaf", "leaves"),
        ("giraffe", "giraffes"),
        ("tomato", "tomatoes"),
        ("photo", "photos"),
        ("quiz", "quizzes"),
        ("waltz", "waltzes"),
        ("wolf", "wolves"),
        ("cliff", "cliffs"),
        ("koala", "koalas"),
        ("ostrich", "ostriches"),
        ("pony", "ponies"),
        ("cup of coffee", "cups of coffee"),
    ],
)
def test_plurals(word, expected):
    assert plural(word) == expected
