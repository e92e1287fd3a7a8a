"""A trained captioner, from a run or from this package: encoder, decoder and vocabulary.

trained, _ = open_model(DEFAULT, "cpu")
features = trained.encode(trained.encoder.preprocessing(picture)[None])
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int, Shaped, UInt8
from torch import Tensor

from captioning.concepts.classifier import concept_classifier
from captioning.concepts.detector import WordDetector
from captioning.concepts.inflection import inflections_of
from captioning.config import Config
from captioning.metrics.confidence import UNCALIBRATED, Confidence
from captioning.model import Captioner
from core.training import checkpoint
from datasets.text.vocabulary import Vocabulary
from vision.encoder import Encoder, open_encoder
from vision.tuning import Tail, Trunk

DEFAULT = Path(__file__).parent / "default.pt"


@dataclass(frozen=True, eq=False)
class Trained:
    """Encoder, decoder and vocabulary, ready to write (`captioning.generation.search`)."""

    config: Config
    encoder: Encoder
    decoder: Captioner
    vocabulary: Vocabulary
    confidence: Confidence = UNCALIBRATED
    tail: Tail | None = None
    """The encoder's last blocks, if they were trained."""
    detector: WordDetector | None = None
    """The words that people will use, if it was fitted (`captioning calibrate`)."""

    @cached_property
    def inflections(self) -> Int[Tensor, "vocabulary forms"]:
        """Singular and plural of each word (`captioning.concepts.inflection`)."""
        return inflections_of(self.vocabulary).to(self.decoder.bias.device)

    @torch.no_grad()
    def encode(
        self, pixels: UInt8[Tensor, "images 3 size size"]
    ) -> Float[Tensor, "images cells channels"]:
        """Return the features of pictures that were preprocessed."""
        pixels = pixels.to(self.decoder.bias.device)
        if self.tail is None:
            return self.encoder(pixels)
        return self.tail(Trunk(self.encoder, self.config.tune_blocks)(pixels))

    @torch.no_grad()
    def features(
        self, images: Shaped[Tensor, "images ..."]
    ) -> Float[Tensor, "images cells channels"]:
        """Return the features of pictures from what `captioning.data` gives of them."""
        if self.config.trains_encoder:
            return self.encode(images)
        images = images.to(self.decoder.bias.device)
        return self.tail(images) if self.tail and images.dim() == 2 else images

    @torch.no_grad()
    def attention(
        self, features: Float[Tensor, "1 cells channels"], tokens: Sequence[int]
    ) -> Float[Tensor, "words cells"]:
        """Return the attention weights for each word of a sentence about one picture."""
        device = self.decoder.bias.device
        read = torch.tensor([[self.vocabulary.start, *tokens]], device=device)
        _, _, alphas = self.decoder(features.to(device), read)
        return alphas[0, : len(tokens)]


def open_model(path: str | Path, device: torch.device | str) -> tuple[Trained, dict[str, Any]]:
    """Return a trained captioner and the checkpoint it came in.

    Raises:
        InputError: the file is no checkpoint of this application, or it was trained with other
            weights of the encoder than those at hand.
    """
    with checkpoint.opened(path, "captioning", Config) as (config, saved):
        encoder = open_encoder(config, saved, path)
        vocabulary = Vocabulary.from_json(saved["extras"]["vocabulary"])
        concepts = concept_classifier(encoder, vocabulary, saved["extras"].get("floors"))
        weights = checkpoint.part(saved["weights"], "decoder")
        decoder = checkpoint.build(
            lambda: Captioner(config, encoder.channels, len(vocabulary), concepts), weights, path
        )
        tail = None
        if config.tune_blocks:
            tail = Tail(Trunk(encoder, config.tune_blocks))
            checkpoint.restore(tail, checkpoint.part(saved["weights"], "tail"), path)
            tail.to(device).eval()
        confidence = Confidence(*saved["extras"].get("confidence", ()))
        fitted = saved["extras"].get("detector")
        detector = WordDetector.from_saved(fitted).to(device) if fitted else None
        if detector:  # one that was altered fails here
            detector(torch.zeros(1, 1, encoder.channels, device=device), len(vocabulary))
    decoder.to(device).eval()
    return Trained(
        config, encoder.to(device), decoder, vocabulary, confidence, tail, detector
    ), saved
