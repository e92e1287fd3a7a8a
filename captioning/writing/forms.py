"""Which words of a vocabulary are forms of one another: singular and plural."""

import torch
from jaxtyping import Int
from torch import Tensor

from captioning.scores.content import content
from datasets.text.vocabulary import Vocabulary

VOICED = ("alf", "shelf", "wolf", "leaf", "loaf", "thief", "scarf", "ife")  # half, knife
"""Endings whose f is v in the plural; other words, as "roof" and "giraffe", take an s."""
WITH_ES = ("tomato", "potato", "hero", "echo", "mosquito", "volcano", "buffalo", "torpedo")
"""Endings in -o that take -es; other words, as "photo" and "piano", take an s."""


def forms_of(vocabulary: Vocabulary) -> Int[Tensor, "vocabulary 3"]:
    """Return the forms of each content word: itself, its plural, and the word it is the plural of.

    Plurals are the regular ones: "man" and "men" are no forms of one another here.
    For a form that the vocabulary lacks, and for words without content, stands the start of a
    sentence, which is never written.
    """
    forms = torch.full((len(vocabulary), 3), vocabulary.start)
    for number in range(len(vocabulary)):
        word = vocabulary.spoken([number])
        if number in vocabulary.unspoken or not content(word):
            continue
        forms[number, 0] = number
        more = vocabulary.number(plural(word[0]))
        if more != vocabulary.unknown:
            forms[number, 1] = more
            forms[more, 2] = number
    return forms


def plural(word: str) -> str:
    """Return the plural of a name: of its first word, if it has several ("cups of coffee")."""
    first, space, others = word.partition(" ")
    if space:
        return f"{plural(first)} {others}"
    if word.endswith(VOICED):
        return f"{word.removesuffix('e').removesuffix('f')}ves"
    if word.endswith("iz"):
        return f"{word}zes"
    if word.endswith(("s", "x", "z", "ch", "sh", *WITH_ES)):
        return f"{word}es"
    if word.endswith("y") and word[-2:-1] not in "aeiou":
        return f"{word[:-1]}ies"
    return f"{word}s"
