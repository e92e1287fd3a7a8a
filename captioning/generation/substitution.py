"""Words of a finished sentence replaced by words that the vocabulary lacks.

substitute(["two", "dogs"], [("dog", "fox"), ("dogs", "foxes")])      # ["two", "foxes"]
"""

from collections.abc import Sequence


def substitute(words: Sequence[str], pairs: Sequence[tuple[str, str]]) -> list[str]:
    """Return the words of a sentence with some replaced, and with "a" or "an" before those.

    A replacement of several words takes the place of all words like it: with ("cup", "cup of
    coffee"), "a cup of tea" becomes "a cup of coffee".

    Args:
        words: the words of the sentence.
        pairs: words and their replacements.
    """
    replacements = dict(pairs)
    result: list[str] = []
    position = 0
    while position < len(words):
        word = words[position]
        position += 1
        replacement = replacements.get(word, word).split()
        if word in replacements:
            if result and result[-1] in ("a", "an"):
                result[-1] = "an" if replacement[0][0] in "aeiou" else "a"
            position += _words_to_skip(words[position:], replacement)
        result += replacement
    return result


def _words_to_skip(following: Sequence[str], replacement: Sequence[str]) -> int:
    """Return how many of the words after a replaced one belong to it: "of tea" after "cup"."""
    if len(replacement) == 1 or list(following[:1]) != replacement[1:2]:
        return 0
    phrase = following[: len(replacement)]  # with an adjective: "of red wine"
    if replacement[-1] in phrase:
        return phrase.index(replacement[-1]) + 1
    return len(replacement) - 1
