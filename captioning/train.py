"""Train a captioner, and report it beside the nearest neighbour.

uv run captioning train                                        # drawn scenes, nothing to download
uv run captioning train --preset attention --data FOLDER       # your own captions, with the lite0 encoder
uv run captioning train --preset self-critical --data FOLDER --start runs/captioning/attention
"""

import torch
import torch.nn.functional as F
from jaxtyping import Int, Shaped
from rich.console import Console
from torch import Tensor, nn

from captioning import objective
from captioning.config import Config
from captioning.data import Part, TrainingBatches, encode, load, resident
from captioning.evaluate import baselines, measure
from captioning.metrics import CiderD
from captioning.model import Captioner
from captioning.trained import Trained, open_model
from core import decoding
from core.errors import InputError
from core.training import checkpoint, cli, devices
from core.training.arguments import TrainArguments
from core.training.config import to_dict
from core.training.loop import fit
from core.training.tables import scores_table
from datasets.text import Vocabulary
from vision.opening import encoder_of

END = "<end>"  # of a sentence, as a word that is rewarded


class Learner(nn.Module):
    """The captioner together with what it learns from.

    An encoder that is trained, or was, is part of it; one whose weights come with a package is not. Places of a
    batch that have no word are not scored, which saves time on a CPU; with `static` they are, and do not count: a
    GPU would be waited for to ask which they are, and such a step could not be captured.
    """

    def __init__(
        self,
        trained: Trained,
        rewards: CiderD | None = None,
        *,
        own_encoder: bool = False,
        static: bool = False,
    ):
        super().__init__()
        self.static = static
        self.config, self.decoder, self.vocabulary = (
            trained.config,
            trained.decoder,
            trained.vocabulary,
        )
        self.encoder = trained.encoder if self.config.trains_encoder or own_encoder else None
        trained.encoder.requires_grad_(self.config.trains_encoder)
        self.rewards = rewards

    def forward(
        self,
        images: Shaped[Tensor, "images ..."],
        tokens: Int[Tensor, "rows time"],
        chosen: Int[Tensor, " images"],
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Learn from a batch; return the loss and what to log."""
        features = self.encoder(images) if self.encoder and self.config.trains_encoder else images
        if self.rewards:
            return self._self_critical(features, chosen, self.rewards)
        logits, targets, alphas, mask = self._read(features, tokens)
        counts = mask.flatten() if self.static else None
        loss = objective.cross_entropy(logits, targets, self.config.smoothing, counts)
        if self.config.doubly:
            loss = loss + self.config.doubly * objective.doubly_stochastic(alphas, mask)
        return loss, {"accuracy": objective.mean((logits.argmax(-1) == targets).float(), counts)}

    def _self_critical(
        self, features: Tensor, chosen: Int[Tensor, " images"], rewards: CiderD
    ) -> tuple[Tensor, dict[str, Tensor]]:
        samples = self.config.captions
        tokens = self._sample(features, samples)
        images = chosen.repeat_interleave(samples).tolist()
        sentences = [self._ended(row) for row in tokens.tolist()]
        earned = [
            rewards.reward(image, sentence)
            for image, sentence in zip(images, sentences, strict=True)
        ]
        reward = torch.tensor(earned, device=tokens.device)
        logits, words, _, mask = self._read(features, tokens)
        advantage = self._scored(
            objective.advantages(reward, samples)[:, None].expand_as(mask), mask
        )
        counts = mask.flatten() if self.static else None
        return objective.self_critical(logits, words, advantage, counts), {"reward": reward.mean()}

    def _read(
        self, features: Tensor, tokens: Int[Tensor, "rows time"]
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Teacher forcing: logits and words to predict [words], where was looked, and which places have words."""
        known, embedded, alphas = self.decoder(features, tokens[:, :-1])
        mask = tokens[:, 1:] != self.vocabulary.pad
        logits = self.decoder.score(self._scored(known, mask), self._scored(embedded, mask))
        return logits, self._scored(tokens[:, 1:], mask), alphas, mask

    def _scored(
        self, values: Shaped[Tensor, "rows time ..."], mask: Tensor
    ) -> Shaped[Tensor, "words ..."]:
        """The places that are scored, one after another."""
        return values.flatten(0, 1) if self.static else values[mask]

    def _ended(self, row: list[int]) -> list[str]:
        """The words that are rewarded, the end as one of them: to stop at the right place is to be learned too."""
        words = self.vocabulary.spoken(row)
        return [*words, END] if self.vocabulary.end in row else words

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
            length=self.config.longest,
            forbidden=vocabulary.unspoken,
        ).tokens
        self.decoder.train()
        after = (tokens == vocabulary.end).cumsum(1) > 1
        return F.pad(tokens.masked_fill(after, vocabulary.pad), (1, 0), value=vocabulary.start)


def main(arguments: TrainArguments[Config]) -> None:
    """Train, judge by free-running captions of the validation images, report."""
    config, session, run = arguments.start()
    device = devices.select(session.device, session.threads)
    first, saved = open_model(config.start, device) if config.start else (None, {"weights": {}})
    encoder = first.encoder if first else encoder_of(config).to(device)
    parts = load(config, encoder, ("train", "validation", "test"), quiet=session.quiet)
    for needed in ("train", "validation"):
        if needed not in parts:
            raise InputError(f"{config.data} has no {needed} images with captions")
    train = parts["train"]
    vocabulary = first.vocabulary if first else _vocabulary(train, config.min_count)
    decoder = Captioner(config, encoder.channels, len(vocabulary)).to(device)
    if first:
        checkpoint.restore(decoder, first.decoder.state_dict(), str(config.start))
    trained = Trained(config, encoder, decoder, vocabulary)
    own_encoder = config.trains_encoder or bool(checkpoint.part(saved["weights"], "encoder"))
    rewards = _rewards(train, vocabulary) if config.self_critical else None
    learner = Learner(trained, rewards, own_encoder=own_encoder, static=device.type != "cpu")
    sources = [
        resident(source, device) for source in (train.source, train.mirrored) if source is not None
    ]
    sentences = encode(train.images, vocabulary, config.longest)
    fit(
        learner.to(device),
        TrainingBatches(sources, sentences, config, device, vocabulary.pad),
        lambda: measure(trained, parts["validation"], config.beam),
        run,
        config.loop,
        monitor="CIDEr",
        extras={
            "vocabulary": vocabulary.to_json(),
            "preprocessing": to_dict(encoder.preprocessing),
            "fingerprint": "" if own_encoder else encoder.fingerprint,
        },
        rates={"encoder": config.tune_rate},
        graph=session.graph,
    )
    if run.writes:
        name = "test" if "test" in parts else "validation"
        best, _ = open_model(run.directory, device)
        results = {"this captioner": measure(best, parts[name], config.beam)} | baselines(
            best, train, parts[name]
        )
        Console().print(
            scores_table(
                results,
                f"{name}: {len(parts[name].images)} images, scores x 100",
                "captions by",
                100,
            )
        )
        print(
            f"{run.directory} holds the run; now: captioning caption PICTURE --run {run.directory}"
        )


def _vocabulary(train: Part, min_count: int) -> Vocabulary:
    return Vocabulary.train((text for image in train.images for text in image.captions), min_count)


def _rewards(train: Part, vocabulary: Vocabulary) -> CiderD:
    return CiderD(
        [[(*vocabulary.words(text), END) for text in image.captions] for image in train.images]
    )


if __name__ == "__main__":
    raise SystemExit(cli.script("captioning train"))
