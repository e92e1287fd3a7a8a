"""A classifier that is ready for use: net, vocabulary and the names of the labels, from a run."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from core.training import batches, checkpoint
from datasets.text import Vocabulary
from sequences.sentiment.config import Config
from sequences.sentiment.data import encode, side_by_side
from sequences.sentiment.model import Classifier

TOGETHER = 64  # sentences classified at a time


@dataclass(frozen=True, eq=False)
class Trained:
    """All that turns a sentence into a label."""

    config: Config
    classifier: Classifier
    vocabulary: Vocabulary
    classes: tuple[str, ...]

    @torch.no_grad()
    def classify(self, texts: Sequence[str]) -> Float[Tensor, "texts classes"]:
        """Return log p of each text's labels, on the CPU."""
        sentences = encode(texts, self.vocabulary, self.config.longest)
        order = sorted(
            range(len(texts)), key=lambda n: len(sentences[n].words)
        )  # texts of like length side by side
        training, device = self.classifier.training, self.classifier.V.weight.device
        self.classifier.eval()
        found = torch.empty(len(texts), len(self.classes))
        for part in batches.in_order(len(texts), TOGETHER):
            shown = side_by_side([sentences[n] for n in order[part]], self.config.buckets)
            found[order[part]] = self.classifier(shown.to(device)).log_softmax(-1).cpu()
        self.classifier.train(training)
        return found


def open_model(path: str | Path, device: torch.device | str) -> Trained:
    """Return a trained classifier; raises `InputError` for a file that is no checkpoint of this application."""
    with checkpoint.opened(path, "sentiment", Config) as (config, saved):
        vocabulary = Vocabulary.from_json(saved["extras"]["vocabulary"])
        classes = tuple(saved["extras"]["classes"])
        weights = checkpoint.part(saved["weights"], "classifier")
        classifier = checkpoint.build(
            lambda: Classifier(config, len(vocabulary), len(classes)), weights, path
        )
    return Trained(config, classifier.to(device).eval(), vocabulary, classes)
