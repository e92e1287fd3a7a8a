"""How well a trained net classifies, beside the majority class and a bag of words.

uv run sequences sentiment evaluate runs/sentiment/reviews                    # on its test split
uv run sequences sentiment evaluate runs/sentiment/sentences --data a.neg a.pos    # other data
"""

from collections.abc import Sequence

import torch.nn.functional as F
from rich.console import Console

from core.errors import InputError, counted, going_without, own_data_of
from core.files import to_json
from core.training import cli, devices
from core.training.tables import metrics_table
from datasets.text import labelled
from datasets.text.labelled import Columns, Labelled, TextSplits
from sequences.sentiment import baselines
from sequences.sentiment.arguments import Evaluate
from sequences.sentiment.config import Config
from sequences.sentiment.data import label_numbers
from sequences.sentiment.trained import Trained, open_model


def load(config: Config) -> TextSplits:
    """Return the data of a configuration; raises `InputError` as `datasets.text.labelled.load`."""
    columns = Columns(config.text_column, config.label_column)
    return labelled.load(config.data, config.validation_share, config.test_share, columns)


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
    """Return the metrics of a net, and of the baselines if there are texts to learn from."""
    texts = [row.text for row in rows]
    truth = label_numbers(rows, trained.classes, "the data").numpy()
    predicted = trained.classify(texts).argmax(-1).numpy()
    results = {"this net": baselines.metrics(predicted, truth)}
    if train:
        train_texts = [row.text for row in train]
        train_labels = label_numbers(train, trained.classes, "the data").numpy()
        majority = baselines.majority(train_labels, len(rows))
        bag = baselines.bag_of_words(trained.vocabulary, train_texts, train_labels, texts)
        results["bag of words"] = baselines.metrics(bag, truth)
        results["majority class"] = baselines.metrics(majority, truth)
    return results


def main(arguments: Evaluate) -> None:
    """Open a run, measure it, print the table."""
    if (arguments.text_column or arguments.label_column) and not arguments.data:
        raise InputError("--text-column and --label-column name columns of --data: give that too")
    trained = open_model(arguments.run, devices.select(arguments.device, arguments.threads))
    own = None
    if arguments.data:
        if arguments.baselines:
            with going_without("baselines, which learn from the training texts"):
                own = load(trained.config)
        name = " ".join(arguments.data)
        rows = _given(arguments)
        if arguments.split:
            name = f"{name} ({arguments.split})"
    else:
        with own_data_of(arguments.run):
            own = load(trained.config)
        name = arguments.split or ("test" if own.test else "validation")
        rows = getattr(own, name)
        if not rows:
            raise InputError(f"{arguments.run} has no {name} split")
    label_numbers(rows, trained.classes, " ".join(arguments.data or trained.config.data))
    results = compare(trained, rows, own.train if own and arguments.baselines else ())
    if arguments.json:
        print(to_json({"split": name, "sentences": len(rows), "scores": results}))
    else:
        title = f"{name}: {counted(len(rows), 'sentence')}, %"
        Console().print(metrics_table(results, title, "labels by", 100))


def _given(arguments: Evaluate) -> Sequence[Labelled]:
    """Return all texts of --data, or those of the given split."""
    columns = Columns(arguments.text_column, arguments.label_column)
    splits = labelled.read(arguments.data, columns)
    if not arguments.split:
        return [row for rows in splits.values() for row in rows]
    if arguments.split not in splits:
        raise InputError(f"{arguments.data[0]}: the data name no split {arguments.split}")
    return splits[arguments.split]


if __name__ == "__main__":
    raise SystemExit(cli.script("sequences sentiment evaluate"))
