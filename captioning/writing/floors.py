"""The probabilities below which names are not written, from the training captions.

The encoder's classifier gives "dog" a probability of 0.15 or more on 95 % of the training pictures
of which two people or more say "dog". Below that, the captioner does not write the word.

    floors(names, recognise(names, train.source), captions)        # 0.15 for "dog"
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from captioning.sources import Source
from captioning.writing.names import Names
from core.training import batches

LOST = 0.05  # share of the pictures with a name on which it would not be written
PEOPLE = 2  # who use the name of such a picture
PICTURES = 20  # with a name; names of fewer have no floor
BATCH = 256


def recognise(names: Names, source: Source) -> Float[Tensor, "images names"]:
    """Return the probabilities of names on the pictures of a source of features."""
    channels = names.weight.shape[1]
    parts = []
    for rows in batches.in_order(len(source), BATCH):
        features = source(range(rows.start, rows.stop))
        if features.dim() == 2:  # of a trunk: at the end stands the mean of the features
            features = features[:, None, -channels:]
        parts.append(names(features.to(names.weight.device)))
    return torch.cat(parts)


def floors(
    names: Names,
    probabilities: Float[Tensor, "images names"],
    captions: Sequence[Sequence[Sequence[int]]],
) -> Float[Tensor, " names"]:
    """Return the floor of each name, 0 for those that too few people use.

    Args:
        names: the names.
        probabilities: theirs on training pictures.
        captions: the captions of each picture, as numbers of words.
    """
    uses = [[set(words) for words in texts] for texts in captions]
    of_words = names.of_words(probabilities)
    least = torch.zeros(len(names.words), device=of_words.device)
    for place, word in enumerate(names.words.tolist()):
        forms = {word, names.plurals.get(word, word)}
        shown = [sum(bool(forms & words) for words in texts) >= PEOPLE for texts in uses]
        found = of_words[torch.tensor(shown), place].sort().values
        if len(found) >= PICTURES:
            least[place] = found[int(LOST * len(found))]
    return least
