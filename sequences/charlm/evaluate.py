"""Measure a trained model beside n-gram models, and how well the marks in its samples are paired.

uv run sequences charlm evaluate runs/charlm/hello    # nats and bits a character, held-out tail
uv run sequences charlm evaluate RUN --orders 3 4 5 6 7 --dynamic 0.1
uv run sequences charlm evaluate runs/charlm/pages --structure xml    # tags and brackets that close
"""

import math
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from core.errors import InputError, counted
from core.files import to_json
from core.training import cli, devices
from core.training.tables import metrics_table
from datasets.text.corpora import Corpus, open_corpus
from sequences.charlm.arguments import Evaluate
from sequences.charlm.closing import closing
from sequences.charlm.data import Numbers, read, split
from sequences.charlm.measure import in_units, measure, measure_dynamic
from sequences.charlm.ngram import ORDER, NGram
from sequences.charlm.trained import Trained, open_model

COUNTED = 8_000_000  # characters that n-gram models count, at most


def compare(
    trained: Trained,
    corpus: Corpus,
    start: int,
    training: Numbers | None = None,
    *,
    orders: Sequence[int] = (ORDER,),
    dynamic: float = 0.0,
) -> dict[str, dict[str, float]]:
    """Return nats and bits a character of the text from `start` on: of the model and of baselines.

    Args:
        trained: the model.
        corpus: the text.
        start: where it begins to count.
        training: the text whose end n-gram models count; without it there are none.
        orders: the n of these models, beside 1 for the frequencies of the characters.
        dynamic: learning rate of dynamic evaluation, a row of its own; 0: none.
    """
    results = {"this model": measure(trained, corpus.numbers, start)}
    if dynamic:
        metrics = measure_dynamic(trained, corpus.numbers, start, dynamic)
        results["this model, dynamic evaluation"] = metrics
    if training is not None:
        names = {order: f"{order}-gram" for order in orders} | {1: "frequencies"}
        for order, name in names.items():
            model = NGram(training[-COUNTED:], len(trained.alphabet), order)
            results[name] = in_units(-model.log_p(corpus.numbers, start).mean())
    results["uniform"] = in_units(math.log(len(trained.alphabet)))
    return results


def results_table(results: dict[str, dict[str, float]], corpus: Corpus, start: int) -> Table:
    """Lay out what `compare` returns."""
    size = len(corpus.numbers)
    unit = corpus.alphabet.unit
    measured = f"the last {size - start:,} of {size:,}"
    if start == 1:
        measured = f"all {size:,}"
    return metrics_table(
        results, f"{corpus.name}: {measured} {unit}s", f"a {unit} costs", decimals=3
    )


def open_text(
    trained: Trained, saved: dict[str, Any], file: Path | None
) -> tuple[Corpus, int, Corpus | None]:
    """Return the text to measure on, where to begin, and the training's text if it is there.

    The training's text is measured from where its held-out tail begins, any other as a whole.

    Raises:
        InputError: the training's text is needed and not there any more, or another text has
            characters that the model does not know.
    """
    config, digest = trained.config, saved["extras"]["digest"]
    if file is None:
        text = config.file or config.corpus
        if text is None:
            raise InputError("the model does not hold where its text lies: name one to measure on")
        corpus = read(config, trained.alphabet)
        if corpus.digest != digest:
            hint = "name a text to measure on"
            raise InputError(f"{text} has changed since the training: {hint}")
        return corpus, split(corpus, config), corpus
    corpus = open_corpus(file, as_bytes=config.bytes, alphabet=trained.alphabet)
    if corpus.digest == digest:
        return corpus, split(corpus, config), corpus
    if len(corpus.numbers) < 2:
        raise InputError(f"{file}: one {corpus.alphabet.unit} leaves nothing to predict")
    with suppress(InputError):  # it may have moved: then there are no n-gram models
        trained_on = read(config, trained.alphabet)
        if trained_on.digest == digest:
            return corpus, 1, trained_on
    return corpus, 1, None


def main(arguments: Evaluate) -> None:
    """Open a run, measure it, print the table."""
    trained, saved = open_model(arguments.run, devices.select(arguments.device, arguments.threads))
    corpus, start, trained_on = open_text(trained, saved, arguments.file)
    training = trained_on.numbers[: split(trained_on, trained.config)] if trained_on else None
    if arguments.structure:
        to_count = None if training is None else training[-COUNTED:]
        results = closing(trained, corpus, start, to_count, arguments)
        length = counted(arguments.length, corpus.alphabet.unit)
        texts = f"{counted(arguments.pieces, 'text')} of {length}"
        title = f"{texts}, temperature {arguments.temperature:g}: marks that are paired, %"
        table = metrics_table(results, title, "text by", 100)
    else:
        orders, dynamic = arguments.orders, arguments.dynamic
        results = compare(trained, corpus, start, training, orders=orders, dynamic=dynamic)
        table = results_table(results, corpus, start)
    if arguments.json:
        print(to_json({"text": corpus.name, "start": start, "scores": results}))
    else:
        Console().print(table)


if __name__ == "__main__":
    raise SystemExit(cli.script("sequences charlm evaluate"))
