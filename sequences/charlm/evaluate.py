"""How well a trained model knows what comes next, beside models that count; and how well its marks close.

uv run sequences charlm evaluate runs/charlm/hello                    # nats and bits a character, held-out tail
uv run sequences charlm evaluate runs/charlm/pages --structure xml    # tags and brackets that close, in its samples
"""

import math
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from core.errors import InputError
from core.files import to_json
from core.training import cli, devices
from core.training.tables import scores_table
from datasets.corpora import Corpus, open_corpus
from sequences.charlm import structure
from sequences.charlm.arguments import Evaluate
from sequences.charlm.data import Numbers, read, split
from sequences.charlm.ngram import ORDER, NGram
from sequences.charlm.trained import Trained, open_model
from sequences.charlm.writing import texts

ROWS, WINDOW, WARM = 64, 200, 256  # read side by side; at a time; before the first that counts
STRETCH = 1000  # characters a row has at least
COUNTED = 8_000_000  # characters that models that count are told at most


@torch.no_grad()
def measure(trained: Trained, numbers: Numbers, start: int) -> dict[str, float]:
    """Return nats and bits a character, the mean of -log p over all from number `start` (1 or more) on.

    The text is read by several rows at once, each from its place to that of the next with the state carried on.
    Each has read what stands before its place, up to 256 characters and nothing before `start` = 1, which does not
    count.
    """
    if not 1 <= start < len(numbers):
        raise ValueError(f"start={start} is not within 1..{len(numbers) - 1}")
    count = len(numbers) - start
    rows = min(ROWS, max(1, count // STRETCH))
    stretch, warm = -(-count // rows), min(WARM, start - 1)
    begins = start + np.arange(rows) * stretch
    model, training = trained.model, trained.model.training
    model.eval()
    state, total = (
        model.initial_state(rows),
        torch.zeros((), dtype=torch.float64, device=trained.device),
    )
    for time in range(-warm, stretch, WINDOW):
        offsets = np.arange(time, min(time + WINDOW, stretch))[:, None]
        places = offsets + begins
        counts = torch.from_numpy((offsets >= 0) & (places < len(numbers))).to(trained.device)
        places = np.minimum(places, len(numbers) - 1)
        x, y = (
            torch.from_numpy(numbers[p].astype(np.int64)).to(trained.device)
            for p in (places - 1, places)
        )
        logits, state = model(x, state)
        log_p = logits.float().log_softmax(-1).gather(-1, y[..., None]).squeeze(-1)
        total -= log_p.double()[counts].sum()
    model.train(training)
    return in_units(total.item() / count)


def in_units(nats: float) -> dict[str, float]:
    """Return a number of nats in all units: a bit is log 2 of them."""
    return {"nats": nats, "bits": nats / math.log(2)}


def compare(
    trained: Trained, corpus: Corpus, start: int, known: Numbers | None = None
) -> dict[str, dict[str, float]]:
    """Return nats and bits a character of the text from `start` on: of the model, and of others that count.

    Those know the text `known`, of which they count the last 8 million characters; without it there are none.
    """
    results = {"this model": measure(trained, corpus.numbers, start)}
    if known is not None:
        text = known[-COUNTED:]
        for order, name in ((ORDER, f"{ORDER}-gram"), (1, "frequencies")):
            log_p = NGram(text, len(trained.alphabet), order).log_p(corpus.numbers, start)
            results[name] = in_units(-log_p.mean())
    return {**results, "all alike": in_units(math.log(len(trained.alphabet)))}


def results_table(results: dict[str, dict[str, float]], corpus: Corpus, start: int) -> Table:
    """Lay out what `compare` returns."""
    size, unit = len(corpus.numbers), corpus.alphabet.unit
    part = f"all {size:,}" if start == 1 else f"the last {size - start:,} of {size:,}"
    return scores_table(results, f"{corpus.name}: {part} {unit}s", f"a {unit} costs", decimals=3)


def closing(
    trained: Trained,
    corpus: Corpus,
    start: int,
    known: Numbers | None,
    kind: str,
    *,
    pieces: int,
    length: int,
    temperature: float = 1.0,
    seed: int = 0,
) -> dict[str, dict[str, float]]:
    """Return the share of the marks that have their partner, in as many pieces of text from each source.

    Samples begin of themselves; real pieces are taken at equal distances from the text from `start` on. The model
    that counts knows the last 8 million characters of `known`; without it there is none.
    """
    sources = {
        "this model": texts(trained, length=length, rows=pieces, temperature=temperature, seed=seed)
    }
    if known is not None:
        counting = NGram(known[-COUNTED:], len(trained.alphabet))
        written = np.stack(list(counting.write(trained.first, pieces, length, seed)), 1)
        sources[f"{ORDER}-gram"] = [trained.alphabet.decode(row) for row in written.tolist()]
    sources["real text"] = real_pieces(corpus, start, pieces, length)
    return {name: structure.share(source, kind) for name, source in sources.items()}


def real_pieces(corpus: Corpus, start: int, pieces: int, length: int) -> list[str]:
    """Return pieces of a text from `start` on, at equal distances; they may overlap where the text is short."""
    last = max(start, len(corpus.numbers) - length)
    begins = np.linspace(start, last, pieces).astype(int)
    return [
        corpus.alphabet.decode(corpus.numbers[begin : begin + length].tolist()) for begin in begins
    ]


def open_text(
    trained: Trained, saved: dict[str, Any], file: Path | None
) -> tuple[Corpus, int, Corpus | None]:
    """Return the text to measure on, where to begin, and the text that the model was trained on, if it is there.

    The text of the training is measured from where its held-out tail begins, and any other as a whole.

    Raises:
        InputError: the text of the training is needed and not there any more, or another has unseen characters.
    """
    config, digest = trained.config, saved["extras"]["digest"]
    if file is None:
        corpus = read(config)
        if corpus.digest != digest:
            raise InputError(
                f"{config.file} has changed since the training: name a text to measure on"
            )
        return corpus, split(corpus, config), corpus
    corpus = open_corpus(file, as_bytes=config.bytes, alphabet=trained.alphabet)
    if corpus.digest == digest:
        return corpus, split(corpus, config), corpus
    if len(corpus.numbers) < 2:
        raise InputError(
            f"{file}: one {corpus.alphabet.unit} is too little: there is nothing to predict"
        )
    with suppress(InputError):  # moved, perhaps: then nothing can be counted in it
        trained_on = read(config)
        if trained_on.digest == digest:
            return corpus, 1, trained_on
    return corpus, 1, None


def main(arguments: Evaluate) -> None:
    """Open a run, measure it, print the table."""
    trained, saved = open_model(arguments.run, devices.select(arguments.device, arguments.threads))
    corpus, start, trained_on = open_text(trained, saved, arguments.file)
    known = trained_on.numbers[: split(trained_on, trained.config)] if trained_on else None
    if arguments.structure:
        results = closing(
            trained,
            corpus,
            start,
            known,
            arguments.structure,
            **{
                name: getattr(arguments, name)
                for name in ("pieces", "length", "temperature", "seed")
            },
        )
        title = f"{arguments.pieces} texts of {arguments.length} {corpus.alphabet.unit}s: marks with a partner, %"
        table = scores_table(results, title, "text by", 100)
    else:
        results = compare(trained, corpus, start, known)
        table = results_table(results, corpus, start)
    if arguments.json:
        print(to_json({"text": corpus.name, "start": start, "scores": results}))
    else:
        Console().print(table)


if __name__ == "__main__":
    raise SystemExit(cli.script("sequences charlm evaluate"))
