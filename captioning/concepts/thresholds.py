"""Probabilities below which concepts are not written, chosen on the training captions.

The encoder's classifier gives "dog" a probability of 0.15 or more on 95 % of the training pictures
of which two people or more say "dog". Below that, the captioner does not write the word.

    probabilities = predict(concepts, train.source)
    recall_thresholds(concepts, probabilities, captions)           # 0.15 for "dog"
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from captioning.concepts.classifier import ConceptClassifier
from captioning.sources import Source
from core.training import batches

MISS_RATE = 0.05  # share of the positive pictures of a concept below its threshold
MIN_PEOPLE = 2  # who use the word of a positive picture
MIN_PICTURES = 20  # positive ones; concepts with fewer have threshold 0
BATCH = 256


def predict(concepts: ConceptClassifier, source: Source) -> Float[Tensor, "images concepts"]:
    """Return the probabilities of concepts on the pictures of a source of features."""
    channels = concepts.weight.shape[1]
    parts = []
    for rows in batches.in_order(len(source), BATCH):
        features = source(range(rows.start, rows.stop))
        if features.dim() == 2:  # of a trunk: at the end stands the mean of the features
            features = features[:, None, -channels:]
        parts.append(concepts(features.to(concepts.weight.device)))
    return torch.cat(parts)


def recall_thresholds(
    concepts: ConceptClassifier,
    probabilities: Float[Tensor, "images concepts"],
    captions: Sequence[Sequence[Sequence[int]]],
) -> Float[Tensor, " concepts"]:
    """Return for each concept the threshold with a recall of 95 %, 0 if too few people use it.

    Args:
        concepts: the classifier.
        probabilities: of its concepts on training pictures.
        captions: the captions of each picture, as tokens.
    """
    caption_words = [[set(words) for words in texts] for texts in captions]
    by_word = concepts.word_probabilities(probabilities)
    thresholds = torch.zeros(len(concepts.words), device=by_word.device)
    for concept, word in enumerate(concepts.words.tolist()):
        forms = {word, concepts.plurals.get(word, word)}
        people = [sum(bool(forms & words) for words in texts) for texts in caption_words]
        positive = torch.tensor(people) >= MIN_PEOPLE
        ranked = by_word[positive, concept].sort().values
        if len(ranked) >= MIN_PICTURES:
            thresholds[concept] = ranked[int(MISS_RATE * len(ranked))]
    return thresholds
