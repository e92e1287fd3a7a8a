"""The training sentence most similar to another: a baseline for translators."""

from collections.abc import Sequence

from sklearn.feature_extraction.text import TfidfVectorizer

from core.training import batches

BATCH = 100  # sentences compared with all others at once


def most_similar(training: Sequence[str], sentences: Sequence[str]) -> list[int]:
    """Return for each sentence the number of the most similar training sentence.

    Similarity is the cosine between tf-idf vectors of words and pairs of words (Spärck Jones 1972).
    """
    vectorizer = TfidfVectorizer(
        ngram_range=(1, 2), token_pattern=r"(?u)\w+|[^\w\s]", sublinear_tf=True
    )
    columns = vectorizer.fit_transform(training).T.tocsr()
    rows = vectorizer.transform(sentences)
    similar: list[int] = []
    for batch in batches.in_order(len(sentences), BATCH):
        similar += (rows[batch] @ columns).toarray().argmax(1).tolist()
    return similar
