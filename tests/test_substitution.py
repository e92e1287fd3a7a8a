"""Words of a sentence replaced by words that the vocabulary lacks."""

from captioning.generation.substitution import substitute


def test_words_are_replaced_with_their_articles():
    pairs = [("dog", "fox"), ("dogs", "foxes")]
    words = substitute(["two", "dogs", "and", "a", "dog"], pairs)
    assert words == ["two", "foxes", "and", "a", "fox"]
    assert substitute(["a", "bird"], [("bird", "ostrich")]) == ["an", "ostrich"]


def test_a_replacement_of_several_words_takes_the_place_of_all_like_it():
    cup = [("cup", "cup of coffee"), ("cups", "cups of coffee")]
    assert substitute(["a", "cup", "here"], cup) == ["a", "cup", "of", "coffee", "here"]
    for drink in ("tea", "coffee"):
        replaced = substitute(["an", "old", "cup", "of", drink, "here"], cup)
        assert replaced == ["an", "old", "cup", "of", "coffee", "here"]
    wine = [("glass", "glass of wine")]
    red = substitute(["a", "glass", "of", "red", "wine", "here"], wine)
    assert red == ["a", "glass", "of", "wine", "here"]
