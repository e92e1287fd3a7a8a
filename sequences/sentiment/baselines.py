"""Baselines of a classifier: the most frequent label, and a bag of words without their order."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int

from datasets.text.vocabulary import Vocabulary

Labels = Int[np.ndarray, " texts"]


def metrics(labels: Labels, truth: Labels) -> dict[str, float]:
    """Return the accuracy, and macro F1: the mean of F1 over the labels that occur."""
    from sklearn.metrics import accuracy_score, f1_score  # slow to import

    present = np.unique(truth)
    macro = f1_score(truth, labels, labels=present, average="macro")
    return {"accuracy": float(accuracy_score(truth, labels)), "macro F1": float(macro)}


def majority(train: Labels, count: int) -> Labels:
    """Return the most frequent label in training, `count` times."""
    return np.full(count, np.bincount(train).argmax())


def bag_of_words(
    vocabulary: Vocabulary, train: Sequence[str], labels: Labels, texts: Sequence[str]
) -> Labels:
    """Return the labels that logistic regression on the words that occur predicts for `texts`.

    It takes all words of the training texts, and regularises by C = 1, scikit-learn's default.
    """
    from sklearn.feature_extraction import DictVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    def occurring(texts: Sequence[str]) -> list[dict[str, int]]:
        return [dict.fromkeys(vocabulary.words(text), 1) for text in texts]

    model = make_pipeline(DictVectorizer(), LogisticRegression(max_iter=1000))
    return model.fit(occurring(train), labels).predict(occurring(texts))
