"""Train a translator, and report it beside its baselines.

uv run sequences translate train                                          # numbers of things, nothing to download
uv run sequences translate train --preset attention --data train.en train.cs --validation val.en val.cs
uv run sequences translate train --preset plain --data train --source en --target cs     # train.en, train.cs
"""

from collections.abc import Iterator

import torch
from jaxtyping import Int
from torch import Tensor, nn

from core.losses import projected_cross_entropy
from core.training import batches, cli, devices
from core.training.arguments import TrainArguments
from core.training.loop import evaluate, fit
from datasets.pieces import Pieces
from sequences.translate.config import Config
from sequences.translate.data import (
    Encoded,
    TrainingBatches,
    collate,
    encode,
    load,
    no_longer,
    vocabularies,
)
from sequences.translate.evaluate import Judge, baselines, measure, report
from sequences.translate.model import Translator
from sequences.translate.trained import Trained, open_model

BATCH = 64  # pairs that are judged together


class Learner(nn.Module):
    """The translator together with what it learns from."""

    def __init__(self, trained: Trained):
        super().__init__()
        self.config, self.network = trained.config, trained.network

    def forward(
        self,
        source: Int[Tensor, "places pairs"],
        lengths: Int[Tensor, " pairs"],
        target: Int[Tensor, "time pairs"],
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Learn from a batch; return the loss and what to log."""
        o, wanted = self._read(self._forget(source), lengths, self._forget(target[:-1]), target[1:])
        network = self.network
        loss = projected_cross_entropy(
            o, network.target.weight, network.bias, wanted, self.config.smoothing
        )
        return loss, {}

    def sums(self, source: Tensor, lengths: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Sums over the pieces of a batch, for `core.training.loop.evaluate`."""
        o, wanted = self._read(source, lengths, target[:-1], target[1:])
        right = self.network.score(o).log_softmax(-1).gather(-1, wanted[:, None])
        return {"nats": -right.sum(), "count": wanted.new_tensor(len(wanted))}

    def _read(
        self, source: Tensor, lengths: Tensor, read: Tensor, wanted: Tensor
    ) -> tuple[Tensor, Tensor]:
        """What scores each piece of the target, and which it should be; padding is left out."""
        o, _ = self.network(source, lengths, read)
        counts = wanted != Pieces.pad
        return o.transpose(0, 1)[counts], wanted[counts]

    def _forget(self, tokens: Int[Tensor, "time pairs"]) -> Int[Tensor, "time pairs"]:
        """Make some words unknown, as those will be that are new."""
        if not self.config.word_dropout:
            return tokens
        forgotten = torch.rand(tokens.shape, device=tokens.device) < self.config.word_dropout
        return tokens.masked_fill(forgotten & (tokens > Pieces.end), Pieces.unknown)


def main(arguments: TrainArguments[Config]) -> None:
    """Train, judge by greedy translations of the validation pairs, report those of a beam."""
    config, session, run = arguments.start()
    device = devices.select(session.device, session.threads)
    parts = load(config)
    pieces = vocabularies(config, parts.train)
    trained = Trained(config, Translator(config, *map(len, pieces)).to(device), pieces)
    learner = Learner(trained)
    train, validation = (encode(part, pieces) for part in parts)
    fitting = no_longer(train, config.longest)
    if not session.quiet:
        print(f"{len(fitting.source)} pairs to learn from, {len(parts.validation)} to judge by")

    judge = Judge()

    def validate() -> dict[str, float]:
        nats = evaluate(learner, learner.sums, _batches(validation, device))
        return nats | measure(trained, parts.validation, 1, judge)

    fit(
        learner,
        TrainingBatches(fitting, config, device),
        validate,
        run,
        config.loop,
        monitor="BLEU",
        extras={side: vocabulary.to_json() for side, vocabulary in pieces._asdict().items()},
        graph=session.graph,
    )
    if run.writes:
        best, _ = open_model(run.directory, device)
        results = {"this translator": measure(best, parts.validation, config.beam, judge)}
        results |= baselines(parts.train, parts.validation, judge)
        report(results, judge, f"validation: {len(parts.validation)} pairs, beam {config.beam}")
        print(f"{run.directory} holds the run; now: sequences translate lines {run.directory}")


def _batches(pairs: Encoded, device: torch.device) -> Iterator[tuple[Tensor, ...]]:
    order = sorted(range(len(pairs.source)), key=lambda n: len(pairs.target[n]))
    for part in batches.in_order(len(order), BATCH):
        yield collate(
            [pairs.source[n] for n in order[part]], [pairs.target[n] for n in order[part]], device
        )


if __name__ == "__main__":
    raise SystemExit(cli.script("sequences translate train"))
