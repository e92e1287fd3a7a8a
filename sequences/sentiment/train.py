"""Train a classifier of sentences, and report it beside the majority class and a bag of words.

uv run sequences sentiment train    # generated reviews: 100 % of them right
uv run sequences sentiment train --preset sentences --data talk.neg talk.pos    # your own
"""

from collections import Counter

import torch.nn.functional as F
from jaxtyping import Int
from rich.console import Console
from torch import Tensor, nn

from core.errors import counted
from core.training import cli, devices
from core.training.arguments import TrainArguments
from core.training.loop import fit
from core.training.tables import metrics_table
from datasets.digests import digest
from datasets.text.labelled import TextSplits
from datasets.text.vocabulary import Vocabulary
from sequences.sentiment.config import Config
from sequences.sentiment.data import Sentences, TrainingBatches, encode, label_numbers
from sequences.sentiment.evaluate import compare, load, measure
from sequences.sentiment.model import Classifier
from sequences.sentiment.trained import Trained, open_model


class Learner(nn.Module):
    """The classifier together with its loss."""

    def __init__(self, classifier: Classifier):
        super().__init__()
        self.classifier = classifier

    def forward(
        self, labels: Int[Tensor, " batch"], *sentences: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss of a batch, given as the fields of `Sentences`, and what to log."""
        logits = self.classifier(Sentences(*sentences))
        loss = F.cross_entropy(logits, labels)
        return loss, {"accuracy": (logits.argmax(-1) == labels).float().mean()}


def _counts(splits: TextSplits) -> str:
    """Return in a line how many sentences there are, and of the training sentences by label."""
    held_out = f"{len(splits.validation)} for validation, {len(splits.test)} for the test"
    labels = Counter(row.label for row in splits.train)
    by_label = ", ".join(f"{count} {label}" for label, count in sorted(labels.items())[:10])
    more = ", ..." if len(labels) > 10 else ""
    sentences = counted(len(splits.train), "training sentence")
    return f"{sentences} ({by_label}{more}); {held_out}"


def main(arguments: TrainArguments[Config]) -> None:
    """Train, validate, report."""
    config, session, run = arguments.start()
    device = devices.select(session.device, session.threads)
    splits = load(config)
    if not session.quiet:
        print(_counts(splits))
    texts = [row.text for row in splits.train]
    vocabulary = Vocabulary.train(texts, config.min_count, punctuation=True)
    classifier = Classifier(config, len(vocabulary), len(splits.classes)).to(device)
    trained = Trained(config, classifier, vocabulary, splits.classes)
    labels = label_numbers(splits.train, splits.classes, config.data[0])
    fit(
        Learner(classifier),
        TrainingBatches(encode(texts, vocabulary, config.longest), labels, config, device),
        lambda: measure(trained, splits.validation),
        run,
        config.loop,
        extras={
            "vocabulary": vocabulary.to_json(),
            "classes": list(splits.classes),
            "digest": digest(splits.train, splits.validation),
        },
        graph=session.graph,
    )
    if run.writes:
        name = "test" if splits.test else "validation"
        rows = splits.test or splits.validation
        results = compare(open_model(run.directory, device), rows, splits.train)
        Console().print(
            metrics_table(results, f"{name}: {counted(len(rows), 'sentence')}, %", "labels by", 100)
        )
        hint = f"sequences sentiment classify {run.directory} < SENTENCES"
        print(f"{run.directory} holds the run; now: {hint}")


if __name__ == "__main__":
    raise SystemExit(cli.script("sequences sentiment train"))
