"""How well a trained net classifies, beside the majority class and a bag of words.

uv run sequences sentiment evaluate runs/sentiment/reviews                         # accuracy and F1, on the test part
uv run sequences sentiment evaluate runs/sentiment/sentences --data a.neg a.pos    # on all of other data
"""

import json
from collections.abc import Sequence

import torch.nn.functional as F
from rich.console import Console

from core.errors import InputError
from core.training import cli, devices
from core.training.tables import scores_table
from datasets import labelled_text
from datasets.labelled_text import Labelled, TextSplits
from sequences.sentiment import baselines
from sequences.sentiment.arguments import Evaluate
from sequences.sentiment.config import Config
from sequences.sentiment.data import label_numbers
from sequences.sentiment.trained import Trained, open_model


def load(config: Config) -> TextSplits:
    """Return the data of a configuration; raises `InputError` as `labelled_text.load`."""
    return labelled_text.load(config.data, config.validation_share, config.test_share)


def measure(trained: Trained, rows: Sequence[Labelled]) -> dict[str, float]:
    """Return the accuracy of a net, and its mean cross-entropy in nats."""
    truth = label_numbers(rows, trained.classes, "the data")
    log_p = trained.classify([row.text for row in rows])
    return {
        "accuracy": (log_p.argmax(-1) == truth).float().mean().item(),
        "loss": F.nll_loss(log_p, truth).item(),
    }


def compare(
    trained: Trained, rows: Sequence[Labelled], train: Sequence[Labelled] = ()
) -> dict[str, dict[str, float]]:
    """Return the scores of a net, and if there are training texts those of the baselines that learn from them."""
    texts, truth = (
        [row.text for row in rows],
        label_numbers(rows, trained.classes, "the data").numpy(),
    )
    results = {"this net": baselines.scores(trained.classify(texts).argmax(-1).numpy(), truth)}
    if train:
        known, labels = (
            [row.text for row in train],
            label_numbers(train, trained.classes, "the data").numpy(),
        )
        most = baselines.majority(labels, len(rows))
        bag = baselines.bag_of_words(trained.vocabulary, known, labels, texts)
        results |= {
            "bag of words": baselines.scores(bag, truth),
            "majority class": baselines.scores(most, truth),
        }
    return results


def main(arguments: Evaluate) -> None:
    """Open a run, measure it, print the table."""
    if arguments.data and arguments.part:
        raise InputError("--part is a part of the run's own data; of other --data all is measured")
    trained = open_model(arguments.run, devices.select(arguments.device, arguments.threads))
    splits = None if arguments.data and not arguments.baselines else load(trained.config)
    name, rows = _chosen(arguments, splits)
    label_numbers(rows, trained.classes, " ".join(arguments.data or trained.config.data))
    results = compare(trained, rows, splits.train if splits and arguments.baselines else ())
    if arguments.json:
        print(json.dumps({"part": name, "sentences": len(rows), "scores": results}))
    else:
        Console().print(
            scores_table(results, f"{name}: {len(rows)} sentences, %", "labels by", 100)
        )


def _chosen(arguments: Evaluate, splits: TextSplits | None) -> tuple[str, Sequence[Labelled]]:
    """What is measured, and its name."""
    if splits is None or arguments.data:
        parts = labelled_text.read(arguments.data)
        return " ".join(arguments.data), [row for part in parts.values() for row in part]
    name = arguments.part or ("test" if splits.test else "validation")
    if not (rows := getattr(splits, name)):
        raise InputError(f"{arguments.run} has no {name} part")
    return name, rows


if __name__ == "__main__":
    raise SystemExit(cli.script("sequences sentiment evaluate"))
