"""Train a translator, and report it beside its baselines.

    uv run sequences translate train    # numbers of things, nothing to download
    uv run sequences translate train --preset attention --data train.en train.cs \
        --validation val.en val.cs
    uv run sequences translate train --preset plain --data train    # train.en, train.cs
"""

from collections.abc import Iterator

import torch
from jaxtyping import Int
from torch import Tensor, nn

from core.errors import counted
from core.losses import projected_cross_entropy
from core.training import batches, cli, devices, distributed
from core.training.arguments import TrainArguments
from core.training.loop import evaluate, fit
from datasets.digests import digest
from datasets.text.subwords import Subwords
from sequences.translate.config import Config
from sequences.translate.data import (
    Encoded,
    TrainingBatches,
    collate,
    encode,
    load,
    vocabularies,
    without_long_pairs,
)
from sequences.translate.evaluate import Metrics, baselines, measure, report
from sequences.translate.model import Translator
from sequences.translate.trained import Trained, open_model

BATCH = 64  # validation pairs that are read together


class Learner(nn.Module):
    """The translator together with its loss."""

    def __init__(self, trained: Trained):
        super().__init__()
        self.config = trained.config
        self.network = trained.network

    def forward(
        self,
        source: Int[Tensor, "places pairs"],
        lengths: Int[Tensor, " pairs"],
        target: Int[Tensor, "time pairs"],
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Learn from a batch; return the loss and what to log."""
        source = self._drop_words(source)
        o, targets = self._read(source, lengths, self._drop_words(target[:-1]), target[1:])
        weight, bias = self.network.target.weight, self.network.bias
        loss = projected_cross_entropy(o, weight, bias, targets, self.config.smoothing)
        # A mean over subwords, of which each process has another number.
        return loss * distributed.weight_of_mean(len(targets), loss.device), {}

    def sums(self, source: Tensor, lengths: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Return sums over the subwords of a batch, for `core.training.loop.evaluate`."""
        o, targets = self._read(source, lengths, target[:-1], target[1:])
        log_p = self.network.logits(o).log_softmax(-1).gather(-1, targets[:, None])
        return {"nats": -log_p.sum(), "count": targets.new_tensor(len(targets))}

    def _read(
        self, source: Tensor, lengths: Tensor, inputs: Tensor, targets: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the decoder's output before each subword of the target, and that subword."""
        o, _ = self.network(source, lengths, inputs)
        inside = targets != Subwords.pad
        return o.transpose(0, 1)[inside], targets[inside]

    def _drop_words(self, tokens: Int[Tensor, "time pairs"]) -> Int[Tensor, "time pairs"]:
        """Replace some subwords by <unk>, as those will be that training never saw."""
        if not self.config.word_dropout:
            return tokens
        dropped = torch.rand(tokens.shape, device=tokens.device) < self.config.word_dropout
        return tokens.masked_fill(dropped & (tokens > Subwords.end), Subwords.unknown)


def main(arguments: TrainArguments[Config]) -> None:
    """Train, validate by greedy translations, report those of beam search."""
    config, session, run = arguments.start()
    device = devices.select(session.device, session.threads)
    parts = load(config)
    subwords = vocabularies(config, parts.train)
    network = Translator(config, len(subwords.source), len(subwords.target)).to(device)
    trained = Trained(config, network, subwords)
    learner = Learner(trained)
    train = without_long_pairs(encode(parts.train, subwords), config.longest)
    validation = encode(parts.validation, subwords)
    if not session.quiet:
        print(f"{len(train.source)} training pairs, {len(parts.validation)} validation pairs")

    metrics = Metrics()

    def validate() -> dict[str, float]:
        nats = evaluate(learner, learner.sums, _batches(validation, device))
        return nats | measure(trained, parts.validation, 1, metrics)

    fit(
        learner,
        TrainingBatches(train, config, device),
        validate,
        run,
        config.loop,
        monitor="BLEU",
        extras={
            "source": subwords.source.to_json(),
            "target": subwords.target.to_json(),
            "digest": digest(parts.train, parts.validation),
        },
        graph=session.graph,
    )
    if run.writes:
        best, _ = open_model(run.directory, device)
        results = {"this translator": measure(best, parts.validation, config.beam, metrics)}
        results |= baselines(parts.train, parts.validation, metrics)
        pairs = counted(len(parts.validation), "pair")
        report(results, metrics, f"validation: {pairs}, beam {config.beam}")
        print(f"{run.directory} holds the run; now: sequences translate lines {run.directory}")


def _batches(pairs: Encoded, device: torch.device) -> Iterator[tuple[Tensor, ...]]:
    source, target = pairs
    order = sorted(range(len(source)), key=lambda n: len(target[n]))
    for part in batches.in_order(len(order), BATCH):
        rows = order[part]
        yield collate([source[n] for n in rows], [target[n] for n in rows], device)


if __name__ == "__main__":
    raise SystemExit(cli.script("sequences translate train"))
