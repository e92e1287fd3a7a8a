"""Train a captioner, and report it beside the nearest neighbours.

uv run captioning train                                        # drawn scenes, nothing to download
uv run captioning train --preset attention --data FOLDER       # your own captions
uv run captioning train --preset attention --data FOLDER FILE.json --shares 0.7 0.3
uv run captioning train --preset self-critical --data FOLDER --start runs/captioning/attention
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Int, Shaped
from torch import Tensor, nn

from captioning import objective
from captioning.calibrate import calibrate_confidence
from captioning.concepts.classifier import ConceptClassifier, concept_classifier
from captioning.concepts.thresholds import predict, recall_thresholds
from captioning.config import Config
from captioning.data import Part, TrainingBatches, encode, load
from captioning.evaluate import baselines, measure, print_metrics, references, validate
from captioning.metrics.rewards import Rewards
from captioning.model import Captioner
from captioning.sources import Changed, resident
from captioning.starting import fit_to_encoder, tail_of, take_over
from captioning.trained import Trained, open_model
from core import decoding
from core.errors import InputError
from core.losses import IGNORE, cross_entropy
from core.training import checkpoint, cli, devices, distributed
from core.training.arguments import TrainArguments
from core.training.config import to_dict
from core.training.loop import evaluating, fit
from datasets.digests import digest
from datasets.text.vocabulary import Vocabulary
from vision.encoder import Encoder, encoder_of


class Learner(nn.Module):
    """The captioner together with its loss.

    An encoder that is or was trained is part of it; one whose weights come with a package is not.
    On a CPU, padding is left out before the logits of words, which saves time. With `static`, it
    is masked after them: shapes do not depend on the data, and a GPU is never waited for.
    """

    def __init__(
        self,
        trained: Trained,
        rewards: Rewards | None = None,
        *,
        own_encoder: bool = False,
        static: bool = False,
    ):
        super().__init__()
        self.static = static
        self.config = trained.config
        self.decoder = trained.decoder
        self.vocabulary = trained.vocabulary
        self.encoder = trained.encoder if self.config.trains_encoder or own_encoder else None
        trained.encoder.requires_grad_(self.config.trains_encoder)
        self.tail = trained.tail
        if self.tail:
            self.tail.requires_grad_(self.config.tune_rate > 0)
        self.rewards = rewards

    def forward(
        self,
        images: Shaped[Tensor, "images ..."],
        tokens: Int[Tensor, "rows time"],
        numbers: Int[Tensor, " images"],
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss of a batch, and what to log.

        Args:
            images: pixels if the encoder is trained, else features.
            tokens: captions, `config.captions` of each image side by side.
            numbers: the numbers of the images.
        """
        features = images
        if self.encoder and self.config.trains_encoder:
            features = self.encoder(images)
        elif self.tail and self.config.tune_rate:
            features = self.tail(images)
        if self.rewards:
            return self._self_critical(features, numbers, self.rewards)
        logits, targets, alphas, mask = self._read(features, tokens)
        counts = mask.flatten() if self.static else None
        predicted = targets if counts is None else targets.masked_fill(~counts, IGNORE)
        loss = cross_entropy(logits, predicted, smoothing=self.config.smoothing)
        # A mean over words, of which each process has another number.
        loss = loss * distributed.weight_of_mean(mask.sum(), loss.device)
        if self.config.coverage:
            loss = loss + self.config.coverage * objective.coverage(alphas, mask)
        return loss, {"accuracy": objective.mean((logits.argmax(-1) == targets).float(), counts)}

    def _self_critical(
        self, features: Tensor, numbers: Int[Tensor, " images"], rewards: Rewards
    ) -> tuple[Tensor, dict[str, Tensor]]:
        samples = self.config.captions
        tokens = self._sample(features, samples)
        images = numbers.repeat_interleave(samples).tolist()
        values = []
        for image, row in zip(images, tokens.tolist(), strict=True):
            words = self.vocabulary.spoken(row)
            values.append(rewards(image, words, ended=self.vocabulary.end in row))
        reward = torch.tensor(values, device=tokens.device)
        logits, words, _, mask = self._read(features, tokens)
        # Sampling never writes these words, so that its probabilities are those of the others.
        unspoken = torch.tensor(self.vocabulary.unspoken, device=logits.device)
        logits = logits.index_fill(-1, unspoken, -torch.inf)
        advantages = objective.advantages(reward, samples)
        advantage = self._flatten(advantages[:, None].expand_as(mask), mask)
        counts = mask.flatten() if self.static else None
        loss = objective.self_critical(logits, words, advantage, counts)
        loss = loss * distributed.weight_of_mean(mask.sum(), loss.device)
        return loss, {"reward": reward.mean()}

    def _read(
        self, features: Tensor, tokens: Int[Tensor, "rows time"]
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Teacher forcing: logits, words to predict, attention weights, and the mask of words."""
        outputs, embedded, alphas = self.decoder(features, tokens[:, :-1])
        mask = tokens[:, 1:] != self.vocabulary.pad
        logits = self.decoder.logits(self._flatten(outputs, mask), self._flatten(embedded, mask))
        return logits, self._flatten(tokens[:, 1:], mask), alphas, mask

    def _flatten(
        self, values: Shaped[Tensor, "rows time ..."], mask: Tensor
    ) -> Shaped[Tensor, "words ..."]:
        """The positions that are predicted, one after another."""
        return values.flatten(0, 1) if self.static else values[mask]

    def _sample(self, features: Tensor, samples: int) -> Int[Tensor, "rows time"]:
        """Draw sentences of each image, without dropout: <start>, the words, <end>, padding."""
        vocabulary = self.vocabulary
        with evaluating(self.decoder):
            projection = self.decoder.project(features)
            tokens = decoding.sample(
                self.decoder.stepper(projection),
                self.decoder.initial_state(projection, samples),
                start=vocabulary.start,
                end=vocabulary.end,
                length=self.config.longest,
                forbidden=vocabulary.unspoken,
            ).tokens
        after = (tokens == vocabulary.end).cumsum(1) > 1
        return F.pad(tokens.masked_fill(after, vocabulary.pad), (1, 0), value=vocabulary.start)


def main(arguments: TrainArguments[Config]) -> None:
    """Train, validate by free-running captions, calibrate the confidence, report."""
    config, session, run = arguments.start()
    device = devices.select(session.device, session.threads)
    first: Trained | None = None
    own_encoder = config.trains_encoder
    if config.start:
        first, saved = open_model(config.start, device)
        own_encoder = own_encoder or bool(checkpoint.part(saved["weights"], "encoder"))
    same_encoder = first is not None and first.config.encoder == config.encoder
    encoder = first.encoder if first and same_encoder else encoder_of(config).to(device)
    needed = ("train", "validation")
    parts = load(config, encoder, needed, optional=("test",), quiet=session.quiet)
    train = parts["train"]
    for number, source in enumerate(config.data if config.shares else ()):
        if number not in train.sets:
            raise InputError(f"{source} has no training images: leave out it and its share")
    vocabulary = _vocabulary(train, first, config)
    encoded = encode(train.images, vocabulary, config.longest)
    concepts = _concepts(encoder, vocabulary, train, encoded) if config.names else None
    decoder = Captioner(config, encoder.channels, len(vocabulary), concepts).to(device)
    if first:
        take_over(decoder, first, config)
    tail = tail_of(encoder, first, config)
    trained = Trained(config, encoder, decoder, vocabulary, tail=tail)
    if first and not same_encoder:
        fit_to_encoder(trained, first, train, config)
    if tail and not config.tune_rate:
        parts = {name: _with_tail(trained, part) for name, part in parts.items()}
        train = parts["train"]
    learner = Learner(
        trained,
        Rewards(references(trained, train), config.agreed) if config.self_critical else None,
        own_encoder=own_encoder,
        static=device.type != "cpu",
    )
    sources = [resident(train.source, device)]
    if train.mirrored is not None:
        sources.append(resident(train.mirrored, device))
    fit(
        learner.to(device),
        TrainingBatches(sources, encoded, config, device, vocabulary.pad, train.sets),
        lambda: validate(trained, parts["validation"], config.beam),
        run,
        config.loop,
        monitor="CIDEr",
        extras={
            **_extras(encoder, own_encoder, vocabulary, concepts),
            "digest": digest(*(_examples(parts[name]) for name in needed)),
        },
        rate_factors={"encoder": config.tune_rate, "tail": config.tune_rate},
        graph=session.graph,
    )
    if run.writes:
        calibrate_confidence(run.directory / "best.pt", parts["validation"], device)
        _report(run.directory, parts, config, device)


def _vocabulary(train: Part, first: Trained | None, config: Config) -> Vocabulary:
    """Return the words of the training captions, after those of the run to start from."""
    texts = [text for image in train.images for text in image.captions]
    if first:
        return first.vocabulary.extended(texts, config.min_count)
    return Vocabulary.train(texts, config.min_count)


def _concepts(
    encoder: Encoder, vocabulary: Vocabulary, train: Part, encoded: list[list[list[int]]]
) -> ConceptClassifier | None:
    """Return the concepts of the encoder\'s classifier, if it has one, with their thresholds."""
    concepts = concept_classifier(encoder, vocabulary)
    if concepts:
        concepts.to(encoder.mean.device)
        probabilities = predict(concepts, train.source)
        concepts.thresholds = recall_thresholds(concepts, probabilities, encoded)
    return concepts


def _extras(
    encoder: Encoder,
    own_encoder: bool,
    vocabulary: Vocabulary,
    concepts: ConceptClassifier | None,
) -> dict[str, Any]:
    """Return what each checkpoint holds beside the weights."""
    extras = {
        "vocabulary": vocabulary.to_json(),
        "preprocessing": to_dict(encoder.preprocessing),
        "fingerprint": "" if own_encoder else encoder.fingerprint,
    }
    if concepts:
        extras["floors"] = _thresholds_by_word(concepts, vocabulary)
    return extras


def _examples(part: Part) -> Iterator[object]:
    """Yield the name and the captions of each image."""
    for image in part.images:
        yield image.name, image.captions


def _thresholds_by_word(concepts: ConceptClassifier, vocabulary: Vocabulary) -> dict[str, float]:
    """Return the thresholds of concepts by their words, as checkpoints hold them."""
    by_word = {}
    thresholds = concepts.thresholds.tolist()
    for word, threshold in zip(concepts.words.tolist(), thresholds, strict=True):
        if threshold:
            by_word[vocabulary.decode([word])] = threshold
    return by_word


def _with_tail(trained: Trained, part: Part) -> Part:
    """Return a part with what trained blocks, which now stay as they are, make of its images."""
    source = Changed(part.source, trained.features)
    mirrored = part.mirrored and Changed(part.mirrored, trained.features)
    return replace(part, source=source, mirrored=mirrored)


def _report(directory: Path, parts: dict[str, Part], config: Config, device: torch.device) -> None:
    """Print the metrics of the best captioner beside those of the nearest neighbours."""
    name = "test" if "test" in parts else "validation"
    part = parts[name]
    best, _ = open_model(directory, device)
    results = {"this captioner": measure(best, part, config.beam)}
    results |= baselines(best, parts["train"], part)
    print_metrics(results, f"{name}: {len(part.images)} images")
    print(f"{directory} holds the run; now: captioning caption PICTURE --run {directory}")


if __name__ == "__main__":
    raise SystemExit(cli.script("captioning train"))
