"""The training sentence most like another: whose translation a translator must be better than."""

from collections.abc import Sequence

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer

from core.training import batches

BATCH = 100  # sentences compared with all others at once


def most_similar(known: Sequence[str], asked: Sequence[str]) -> list[int]:
    """Return for each sentence asked about the number of the known one that is most like it; of several the first.

    Alike is what has a large cosine between counts of words and pairs of words, rare ones weighing more (tf-idf;
    Spärck Jones 1972).
    """
    vectorizer = TfidfVectorizer(
        ngram_range=(1, 2), token_pattern=r"(?u)\w+|[^\w\s]", sublinear_tf=True
    )
    columns = vectorizer.fit_transform(known).T.tocsr()
    rows = vectorizer.transform(asked)
    parts = [(rows[part] @ columns).toarray() for part in batches.in_order(len(asked), BATCH)]
    return [int(np.argmax(row)) for part in parts for row in part]
