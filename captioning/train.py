"""Train a captioner, and report it beside the nearest neighbour.

uv run captioning train                                        # drawn scenes, nothing to download
uv run captioning train --preset attention --data FOLDER       # your own captions, with the lite0 encoder
uv run captioning train --preset self-critical --data FOLDER --start runs/captioning/attention
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Int, Shaped
from rich.console import Console
from torch import Tensor, nn

from captioning import objective
from captioning.config import EXPECTED, PRESETS, Config
from captioning.data import TrainingBatches, encode
from captioning.describe import describe
from captioning.evaluate import report, table
from captioning.metrics import CiderD, scores
from captioning.model import Captioner
from captioning.trained import Trained, open_model
from core import cli, decoding
from core.errors import InputError
from core.loop import fit
from datasets import captions
from datasets.text import Vocabulary


class Learner(nn.Module):
    """The captioner together with what it learns from."""

    def __init__(self, trained: Trained, rewards: CiderD | None):
        super().__init__()
        self.config, self.decoder, self.vocabulary = trained.config, trained.decoder, trained.vocabulary
        self.encoder = trained.encoder if self.config.trains_encoder else None  # a frozen one is no weight of ours
        self.rewards = rewards

    def forward(
        self, images: Shaped[Tensor, "images ..."], tokens: Int[Tensor, "rows time"], chosen: Int[Tensor, " images"]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Learn from a batch; return the loss and what to log."""
        features = self.encoder(images) if self.encoder else images
        if self.rewards:
            return self._self_critical(features, chosen, self.rewards)
        logits, targets, alphas, mask = self._read(features, tokens)
        loss = objective.cross_entropy(logits, targets, self.config.smoothing)
        if self.config.doubly:
            loss = loss + self.config.doubly * objective.doubly_stochastic(alphas, mask)
        return loss, {"accuracy": (logits.argmax(-1) == targets).float().mean()}

    def _self_critical(
        self, features: Tensor, chosen: Int[Tensor, " images"], rewards: CiderD
    ) -> tuple[Tensor, dict[str, Tensor]]:
        samples = self.config.captions
        tokens = self._sample(features, samples)
        images = chosen.repeat_interleave(samples).tolist()
        sentences = [[word for word in row if word != self.vocabulary.pad] for row in tokens[:, 1:].tolist()]
        earned = [rewards.reward(image, sentence) for image, sentence in zip(images, sentences, strict=True)]
        reward = torch.tensor(earned, device=tokens.device)
        logits, words, _, mask = self._read(features, tokens)
        advantage = objective.advantages(reward, samples)[:, None].expand_as(mask)[mask]
        return objective.self_critical(logits, words, advantage), {"reward": reward.mean()}

    def _read(self, features: Tensor, tokens: Int[Tensor, "rows time"]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Teacher forcing: logits and words to predict [words], where was looked, and which places have words."""
        known, embedded, alphas = self.decoder(features, tokens[:, :-1])
        mask = tokens[:, 1:] != self.vocabulary.pad
        return self.decoder.score(known[mask], embedded[mask]), tokens[:, 1:][mask], alphas, mask

    @torch.no_grad()
    def _sample(self, features: Tensor, samples: int) -> Int[Tensor, "rows time"]:
        """Draw sentences of each image, without dropout: <start>, the words, <end>, and padding after that."""
        vocabulary = self.vocabulary
        self.decoder.eval()
        seen = self.decoder.see(features)
        tokens = decoding.sample(
            self.decoder.stepper(seen),
            self.decoder.initial_state(seen, samples),
            start=vocabulary.start,
            end=vocabulary.end,
            length=self.config.longest + 1,
            forbidden=vocabulary.unspoken,
        ).tokens
        self.decoder.train()
        after = (tokens == vocabulary.end).cumsum(1) > 1
        return F.pad(tokens.masked_fill(after, vocabulary.pad), (1, 0), value=vocabulary.start)


def main(argv: Sequence[str] | None = None) -> None:
    """Train, judge on the validation images, report."""
    config, session, run = cli.parse_train("captioning", Config, PRESETS, argv, EXPECTED)
    device = cli.device(session.device, session.threads)
    splits = captions.load(config.data, config.images)
    vocabulary = ...
