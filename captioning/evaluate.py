"""How well a captioner writes.

    uv run captioning evaluate runs/captioning/scenes               # its own test images
    uv run captioning evaluate captioning.pt --data captions.json   # all images of other data

BLEU, ROUGE-L, CIDEr, and the share of the words that people agree on. The captioner runs freely,
with a beam; nothing of the references is shown to it. Words are compared in lower case and without
punctuation. A second table shows how far its confidence can be trusted.
"""

import math
import sys
from collections.abc import Sequence
from dataclasses import replace

from rich.console import Console
from rich.table import Table

from captioning.arguments import Calibrate, Evaluate
from captioning.config import Config
from captioning.data import Part, load, select
from captioning.generation.search import Sentence, generate
from captioning.metrics.confidence import (
    Confidence,
    calibrate,
    is_right,
    mean_log_probability,
    reliability,
)
from captioning.metrics.content import consensus_words
from captioning.metrics.neighbours import consensus, nearest, pooled
from captioning.metrics.ngrams import Words, corpus_metrics
from captioning.trained import Trained, open_model
from core.errors import own_data_of
from core.files import to_json
from core.training import batches, cli, devices
from core.training.config import WIDEST_BEAM, require_within
from core.training.loop import evaluating
from core.training.tables import metrics_table

BATCH = 50  # images captioned together
CONSENSUS = "consensus words"
NEIGHBOURS = 30  # whose captions are compared for a consensus (Devlin et al. 2015)


def generate_all(trained: Trained, part: Part, beam: int) -> list[Sentence]:
    """Return the best sentence about every image of a part, in order."""
    sentences = []
    with evaluating(trained.decoder):
        for rows in batches.in_order(len(part.source), BATCH):
            images = part.source(range(rows.start, rows.stop))
            captions = generate(trained, trained.features(images), beam)
            sentences += [best for best, *_ in captions]
    return sentences


def measure(trained: Trained, part: Part, beam: int) -> dict[str, float]:
    """Return the metrics of a captioner on a part of its data."""
    sentences = generate_all(trained, part, beam)
    return metrics_of([sentence.words for sentence in sentences], references(trained, part))


def metrics_of(
    candidates: Sequence[Words], truth: Sequence[Sequence[tuple[str, ...]]]
) -> dict[str, float]:
    """Return all metrics of captions, from 0 to 1, CIDEr from 0 to 10."""
    words = [[str(word) for word in candidate] for candidate in candidates]
    return corpus_metrics(candidates, truth) | {CONSENSUS: consensus_words(words, truth)}


def validate(trained: Trained, part: Part, beam: int) -> dict[str, float]:
    """Return the metrics of `measure`, without consensus words where people agree on none."""
    results = measure(trained, part, beam)
    if math.isnan(results[CONSENSUS]):
        del results[CONSENSUS]
    return results


def references(trained: Trained, part: Part) -> list[list[tuple[str, ...]]]:
    """Return all captions of each image of a part, as words."""
    return [
        [tuple(trained.vocabulary.words(caption)) for caption in image.captions]
        for image in part.images
    ]


def baselines(trained: Trained, train: Part, part: Part) -> dict[str, dict[str, float]]:
    """Return the metrics of captions copied from training images with similar features."""
    training = pooled(trained.features, train.source)
    queries = pooled(trained.features, part.source)
    captions = references(trained, train)
    truth = references(trained, part)
    agreeing = consensus(training, captions, queries, NEIGHBOURS)
    return {
        "nearest neighbour": metrics_of(nearest(training, captions, queries), truth),
        f"consensus of {NEIGHBOURS}": metrics_of(agreeing, truth),
    }


def print_metrics(results: dict[str, dict[str, float]], title: str) -> None:
    """Print metrics as a table, in lines of 100 characters where there is no terminal.

    A line below says why there are no consensus words, where there are none.
    """
    width = None if sys.stdout.isatty() else 100
    table = metrics_table(results, f"{title}, scores x 100", "captions by", 100)
    Console(width=width).print(table)
    if any(math.isnan(values[CONSENSUS]) for values in results.values()):
        print(f"{CONSENSUS}: - where no two captions of an image have a content word in common")


def calibration(trained: Trained, part: Part, beam: int) -> Confidence:
    """Return the confidence of a captioner, calibrated on a part of its data."""
    sentences = generate_all(trained, part, beam)
    means = [mean_log_probability(s.log_probability, len(s.words)) for s in sentences]
    log_shares = [sentence.log_share for sentence in sentences]
    return calibrate(means, log_shares, _right(sentences, references(trained, part)))


def main(arguments: Evaluate) -> None:
    """Open a run, measure it, print the tables."""
    require_within(1, WIDEST_BEAM, arguments, "beam")
    device = devices.select(arguments.device, arguments.threads)
    trained, _ = open_model(arguments.run, device)
    config = configured(trained, arguments)
    part, name = _part(trained, arguments)
    beam = arguments.beam or trained.config.beam
    sentences = generate_all(trained, part, beam)
    truth = references(trained, part)
    words = [sentence.words for sentence in sentences]
    results = {"this captioner": metrics_of(words, truth)}
    if len(set(part.sets)) > 1:
        for number, source in enumerate(config.data):
            rows = [row for row, one_set in enumerate(part.sets) if one_set == number]
            if rows:
                own = metrics_of([words[row] for row in rows], [truth[row] for row in rows])
                results[source] = own
    if arguments.baselines:
        parts = load(config, trained.encoder, ("train",))
        results |= baselines(trained, parts["train"], part)
    table = reliability([sentence.confidence for sentence in sentences], _right(sentences, truth))
    if arguments.json:
        bins = [row._asdict() for row in table]
        images = len(part.images)
        values = {"split": name, "images": images, "scores": results, "reliability": bins}
        print(to_json(values))
        return
    print_metrics(results, f"{name}: {len(part.images)} images")
    shown = Table(title="sentences by confidence")
    for heading in ("sentences", "mean confidence", "right"):
        shown.add_column(heading, justify="right")
    for row in table:
        shown.add_row(str(row.sentences), f"{row.confidence:.0%}", f"{row.right:.0%}")
    Console().print(shown)


def configured(trained: Trained, arguments: Evaluate | Calibrate) -> Config:
    """Return the captioner's configuration with the data that the arguments name."""
    names = ("data", "images", "cache")
    given = {name: getattr(arguments, name) for name in names if getattr(arguments, name)}
    return replace(trained.config, **given, shares=(), mirror=False)


def _part(trained: Trained, arguments: Evaluate) -> tuple[Part, str]:
    """The images to measure on, and what they are called.

    Of other data these are all images, of the run's own its test images, or validation images if
    there are none; --split chooses.
    """
    config = configured(trained, arguments)
    if arguments.split:
        splits = (arguments.split,)
    elif arguments.data:
        splits = ("train", "validation", "test")
    else:
        splits = ("test", "validation")
    if arguments.data:
        return select(config, trained.encoder, splits, together=True)
    with own_data_of(arguments.run):
        return select(config, trained.encoder, splits, together=False)


def _right(sentences: Sequence[Sentence], truth: Sequence[Sequence[Sequence[str]]]) -> list[bool]:
    """Which of the sentences are right."""
    return [is_right(one.words, texts) for one, texts in zip(sentences, truth, strict=True)]


if __name__ == "__main__":
    raise SystemExit(cli.script("captioning evaluate"))
