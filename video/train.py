"""Train a labeller of video frames, and report it beside the majority class.

uv run video train                                  # moving sprites, nothing to download
uv run video train --preset videos --data FOLDER    # your own labelled videos, with the lite0 encoder
"""

import sys
from collections.abc import Sequence

import torch
from jaxtyping import Bool, Int, Shaped
from rich.console import Console
from torch import Tensor, nn

from core.training import cli, devices
from core.training.arguments import TrainArguments
from core.training.config import to_dict
from core.training.loop import fit
from core.training.tables import scores_table
from core.training.tbptt import CarriedState
from datasets import videos
from video.config import Config
from video.data import Read, TrainingBatches, read, resident
from video.evaluate import compare, measure
from video.model import describe, loss
from video.trained import Trained, build, encoder_of, open_model


class Learner(nn.Module):
    """The labeller together with what it learns from, and the state that one window hands to the next."""

    def __init__(self, trained: Trained, weights: Tensor, batch: int):
        super().__init__()
        self.config, self.labeller = trained.config, trained.labeller
        self.encoder = (
            trained.encoder if self.config.trains_encoder else None
        )  # a frozen one is no weight of ours
        trained.encoder.requires_grad_(self.config.trains_encoder)
        self.register_buffer("weights", weights)
        core = None if self.config.bidirectional else self.labeller.recurrent
        self.carried = CarriedState(core.initial_state(batch)) if core else None

    def forward(
        self,
        frames: Shaped[Tensor, "time batch *shape"],
        labels: Int[Tensor, "time batch"],
        first: Bool[Tensor, ""],
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Learn from a window; return the loss and what to log."""
        if self.encoder:
            grid = self.encoder(frames.flatten(0, 1))
            frames = describe(grid, whole=True).unflatten(0, labels.shape)
        valid = labels >= 0
        lengths = (
            valid.sum(0) if self.config.bidirectional else None
        )  # one direction meets padding last
        logits, state = self.labeller(
            frames, self.carried.before(first) if self.carried else None, lengths
        )
        if self.carried:
            self.carried.keep(state)
        accuracy = ((logits.argmax(-1) == labels) & valid).sum() / valid.sum().clamp(min=1)
        return loss(logits, labels, self.get_buffer("weights"), self.config.smooth), {
            "accuracy": accuracy
        }


def class_weights(clips: Sequence[Read], classes: int) -> Tensor:
    """Return the inverse of each class's share of the frames, 1 on average over frames; 0 for those without any."""
    counts = torch.bincount(torch.cat([clip.labels for clip in clips]), minlength=classes).float()
    present = counts > 0
    return torch.where(present, counts.sum() / (counts.clamp(min=1) * present.sum()), 0.0)


def main(arguments: TrainArguments[Config]) -> None:
    """Train, judge by the validation clips, report."""
    config, session, run = arguments.start()
    device = devices.select(session.device, session.threads)
    splits = videos.load(config.data, background=config.background, split=config.split)
    for line in videos.suspects((*splits.train, *splits.validation, *splits.test)):
        print(f"warning: {line}", file=sys.stderr)
    encoder = encoder_of(config).to(device)
    train, validation = (
        read(config, encoder, splits.train),
        read(config, encoder, splits.validation),
    )
    trained = build(config, encoder, splits.classes)
    trained.labeller.to(device)
    weights = (
        class_weights(train, len(splits.classes))
        if config.weighted
        else torch.ones(len(splits.classes))
    )
    learner = Learner(trained, weights, config.loop.batch).to(device)
    fit(
        learner,
        TrainingBatches(resident(train, device), config, device),
        lambda: measure(trained, validation),
        run,
        config.loop,
        monitor="balanced accuracy",
        extras={
            "classes": list(splits.classes),
            "preprocessing": to_dict(encoder.preprocessing),
            "fingerprint": "" if config.trains_encoder else encoder.fingerprint,
        },
        graph=session.graph,
    )
    if run.writes:
        best, _ = open_model(run.directory, device)
        name = "test" if splits.test else "validation"
        clips = read(config, best.encoder, splits.test) if splits.test else validation
        Console().print(
            scores_table(compare(best, train, clips), f"{name}: {len(clips)} clips, %", "labels by")
        )
        print(f"{run.directory} holds the run; now: video label VIDEO --run {run.directory}")


if __name__ == "__main__":
    raise SystemExit(cli.script("video train"))
