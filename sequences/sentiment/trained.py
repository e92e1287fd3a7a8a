"""A classifier that is ready for use: net, vocabulary and the names of the labels, from a run."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from core.training import batches, checkpoint
from core.training.loop import evaluating
from datasets.text.vocabulary import Vocabulary
from sequences.sentiment.config import Config
from sequences.sentiment.data import collate, encode
from sequences.sentiment.model import Classifier

BATCH = 64  # sentences classified at a time


@dataclass(frozen=True, eq=False)
class Trained:
    """All that turns a sentence into a label."""

    config: Config
    classifier: Classifier
    vocabulary: Vocabulary
    classes: tuple[str, ...]

    def classify(self, texts: Sequence[str]) -> Float[Tensor, "texts classes"]:
        """Return log p of each text's labels, on the CPU."""
        sentences = encode(texts, self.vocabulary, self.config.longest)
        by_length = sorted(range(len(texts)), key=lambda n: len(sentences[n].words))
        device = self.classifier.V.weight.device
        log_p = torch.empty(len(texts), len(self.classes))
        with evaluating(self.classifier):
            for batch_rows in batches.in_order(len(texts), BATCH):
                rows = by_length[batch_rows]
                batch = collate([sentences[n] for n in rows], self.config.buckets)
                log_p[rows] = self.classifier(batch.to(device)).log_softmax(-1).cpu()
        return log_p


def open_model(path: str | Path, device: torch.device | str) -> Trained:
    """Return a trained classifier, ready for use.

    Raises:
        InputError: the file is no checkpoint of this application.
    """
    with checkpoint.opened(path, "sentiment", Config) as (config, saved):
        vocabulary = Vocabulary.from_json(saved["extras"]["vocabulary"])
        classes = tuple(saved["extras"]["classes"])
        weights = checkpoint.part(saved["weights"], "classifier")
        classifier = checkpoint.build(
            lambda: Classifier(config, len(vocabulary), len(classes)), weights, path
        )
    return Trained(config, classifier.to(device).eval(), vocabulary, classes)
