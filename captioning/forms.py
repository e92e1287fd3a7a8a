"""Which words of a vocabulary are forms of one another: singular and plural."""

import torch
from jaxtyping import Int
from torch import Tensor

from captioning.names import plural
from captioning.scores.content import content
from datasets.text.vocabulary import Vocabulary


def forms_of(vocabulary: Vocabulary) -> Int[Tensor, "vocabulary 3"]:
    """Return the forms of each content word: itself, its plural, and the word it is the plural of.

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
