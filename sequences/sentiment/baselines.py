"""What a classifier is measured beside: the most frequent label, and a linear model that knows no order of words."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int

from datasets.text import Vocabulary

Labels = Int[np.ndarray, " texts"]


def scores(labels: Labels, truth: Labels) -> dict[str, float]:
    """Return the accuracy, and F1 averaged over the labels that occur, each as much as the others (macro F1)."""
    from sklearn.metrics import accuracy_score, f1_score  # takes a second to import

    present = np.unique(truth)
    macro = f1_score(truth, labels, labels=present, average="macro")
    return {"accuracy": float(accuracy_score(truth, labels)), "macro F1": float(macro)}


def majority(train: Labels, count: int) -> Labels:
    """Return the most frequent label in training, `count` times."""
    return np.full(count, np.bincount(train).argmax())


def bag_of_words(
    vocabulary: Vocabulary, train: Sequence[str], labels: Labels, texts: Sequence[str]
) -> Labels:
    """Return the labels that logistic regression on which words occur gives to `texts`.

    All words of the training texts count, rare ones too; regularised by C = 1, scikit-learn's default.
    """
    from sklearn.feature_extraction import DictVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    def occurring(texts: Sequence[str]) -> list[dict[str, int]]:
        return [dict.fromkeys(vocabulary.words(text), 1) for text in texts]

    model = make_pipeline(DictVectorizer(), LogisticRegression(max_iter=1000))
    return model.fit(occurring(train), labels).predict(occurring(texts))
