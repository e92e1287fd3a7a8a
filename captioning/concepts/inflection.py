"""Singular and plural of the words of a vocabulary."""

import torch
from jaxtyping import Int
from torch import Tensor

from captioning.metrics.content import content
from datasets.text.vocabulary import Vocabulary

VOICED = ("alf", "shelf", "wolf", "leaf", "loaf", "thief", "scarf", "ife")  # half, knife
"""Endings whose f is v in the plural; other words, as "roof" and "giraffe", take an s."""
WITH_ES = ("tomato", "potato", "hero", "echo", "mosquito", "volcano", "buffalo", "torpedo")
"""Endings in -o that take -es; other words, as "photo" and "piano", take an s."""


def inflections_of(vocabulary: Vocabulary) -> Int[Tensor, "vocabulary 3"]:
    """Return of each content word itself, its plural, and the word whose plural it is.

    Plurals are the regular ones: "man" and "men" are unrelated here. A form that the vocabulary
    lacks, and each form of a function word, is the start token, which is never written.
    """
    forms = torch.full((len(vocabulary), 3), vocabulary.start)
    for token in range(len(vocabulary)):
        word = vocabulary.spoken([token])
        if token in vocabulary.unspoken or not content(word):
            continue
        forms[token, 0] = token
        plural_token = vocabulary.number(plural(word[0]))
        if plural_token != vocabulary.unknown:
            forms[token, 1] = plural_token
            forms[plural_token, 2] = token
    return forms


def plural(noun: str) -> str:
    """Return the plural of a noun; of several words it is that of the first ("cups of coffee")."""
    first, space, others = noun.partition(" ")
    if space:
        return f"{plural(first)} {others}"
    if noun.endswith(VOICED):
        return f"{noun.removesuffix('e').removesuffix('f')}ves"
    if noun.endswith("iz"):
        return f"{noun}zes"
    if noun.endswith(("s", "x", "z", "ch", "sh", *WITH_ES)):
        return f"{noun}es"
    if noun.endswith("y") and noun[-2:-1] not in "aeiou":
        return f"{noun[:-1]}ies"
    return f"{noun}s"
