"""The plurals of words."""

import pytest

from captioning.writing.forms import plural


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
    ],
)
def test_plurals_in_f_o_and_z(word, expected):
    assert plural(word) == expected
