"""How many marks are paired in samples of a model, of an n-gram model, and in real text."""

import numpy as np

from core.training.loop import evaluating
from datasets.text.alphabets import Alphabet
from datasets.text.corpora import Corpus
from sequences.charlm import structure
from sequences.charlm.arguments import Evaluate
from sequences.charlm.data import Numbers
from sequences.charlm.ngram import ORDER, NGram
from sequences.charlm.trained import Trained
from sequences.charlm.writing import texts


def closing(
    trained: Trained, corpus: Corpus, start: int, training: Numbers | None, arguments: Evaluate
) -> dict[str, dict[str, float]]:
    """Return the share of the marks that are paired, in as many pieces of text from each source.

    Args:
        trained: the model; its samples begin without a prompt.
        corpus: real text; its pieces are taken at equal distances.
        start: where the real text to use begins.
        training: the text that the n-gram model counts; without it there is none.
        arguments: the kind of marks, the number and length of the pieces, and the temperature of
            the samples of both models.
    """
    pieces, length, seed = arguments.pieces, arguments.length, arguments.seed
    with evaluating(trained.model):
        written = texts(
            trained, length=length, rows=pieces, temperature=arguments.temperature, seed=seed
        )
    sources = {"this model": written}
    if training is not None:
        sources[f"{ORDER}-gram"] = counted_pieces(
            training,
            trained.alphabet,
            trained.first,
            pieces=pieces,
            length=length,
            seed=seed,
            temperature=arguments.temperature,
        )
    sources["real text"] = real_pieces(corpus, start, pieces, length)
    kind = arguments.structure or ""
    return {name: structure.share(source, kind) for name, source in sources.items()}


def counted_pieces(
    training: Numbers,
    alphabet: Alphabet,
    first: int,
    *,
    pieces: int,
    length: int,
    seed: int,
    temperature: float,
) -> list[str]:
    """Return pieces of text that an n-gram model of the text `training` writes after `first`."""
    model = NGram(training, len(alphabet))
    columns = np.stack(list(model.write(first, pieces, length, seed, temperature)), 1)
    return [alphabet.decode(row) for row in columns.tolist()]


def real_pieces(corpus: Corpus, start: int, pieces: int, length: int) -> list[str]:
    """Return pieces of a text from `start` on, at equal distances; they may overlap."""
    last = max(start, len(corpus.numbers) - length)
    begins = np.linspace(start, last, pieces).astype(int)
    numbers = [corpus.numbers[begin : begin + length].tolist() for begin in begins]
    return [corpus.alphabet.decode(piece) for piece in numbers]
