"""Train a labeller of video frames, and report it beside the majority class.

uv run video train                                  # moving sprites, nothing to download
uv run video train --preset videos --data FOLDER    # your own labelled videos, with lite0
uv run video train --start RUN --add LABELS         # go on from a run, with what was labelled since
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor, nn

from core.errors import InputError
from core.training import checkpoint, cli, devices
from core.training.arguments import TrainArguments
from core.training.config import LoopConfig, to_dict
from core.training.loop import fit
from core.training.tbptt import CarriedState
from datasets.digests import digest
from datasets.videos import labelled
from datasets.videos.clips import VideoSplits
from datasets.videos.merging import renumbered
from video.config import PRESETS, Config
from video.data import PADDING, TrainingBatches, load_data, resident
from video.evaluate import compare, measure, print_metrics, set_thresholds
from video.model import behaviours_loss, encode, loss
from video.reading import LoadedClip, read, training_rate
from video.trained import Trained, build, encoder_of, open_model


class Learner(nn.Module):
    """The labeller together with what it learns from, and the carried state of truncated BPTT."""

    def __init__(self, trained: Trained, weights: Tensor, batch: int):
        super().__init__()
        self.config = trained.config
        self.labeller = trained.labeller
        trained.encoder.requires_grad_(self.config.trains_encoder)
        self.encoder = None
        if self.config.trains_encoder:
            self.encoder = trained.encoder
        self.register_buffer("weights", weights)
        self.carried = None
        recurrent = self.labeller.recurrent
        if recurrent and not self.config.bidirectional:
            self.carried = CarriedState(recurrent.initial_state, batch)

    def forward(
        self,
        frames: Shaped[Tensor, "time batch *shape"],
        labels: Int[Tensor, "time batch *classes"],
        first: Bool[Tensor, ""],
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Learn from a window; return the loss and what to log."""
        if self.encoder:
            features = encode(self.encoder, frames.flatten(0, 1), whole=True)
            frames = features.unflatten(0, labels.shape[:2])
        lengths = None  # in one direction the padding comes last
        if self.config.bidirectional:
            inside = labels != PADDING
            if self.labeller.multi:
                inside = inside[..., 0]
            lengths = inside.sum(0)
        before = None
        if self.carried:
            before = self.carried.before(first)
        logits, state = self.labeller(frames, before, lengths)
        if self.carried:
            self.carried.keep(state)
        error = behaviours_loss if self.labeller.multi else loss
        value = error(logits, labels, self.get_buffer("weights"), self.config.smooth)
        return value, {"accuracy": _accuracy(logits, labels)}


def _accuracy(logits: Tensor, labels: Tensor) -> Float[Tensor, ""]:
    """Return which of the scored labels are right, in %; of several behaviours, from p = 1/2."""
    scored = labels >= 0
    guesses = (logits > 0).long() if labels.ndim == 3 else logits.argmax(-1)
    return 100 * ((guesses == labels) & scored).sum() / scored.sum().clamp(min=1)


def class_weights(clips: Sequence[LoadedClip], classes: int) -> Float[Tensor, " classes"]:
    """Return the inverse of each class's share of the frames, 1 on average over frames.

    A class without frames has 0.
    """
    labels = torch.cat([clip.labels for clip in clips])
    counts = torch.bincount(labels[labels >= 0], minlength=classes).float()
    present = counts > 0
    weights = counts.sum() / (counts.clamp(min=1) * present.sum())
    return torch.where(present, weights, 0.0)


def behaviour_weights(clips: Sequence[LoadedClip]) -> Float[Tensor, "2 classes"]:
    """Return the weights of absence and occurrence of each behaviour: half of their inverse share.

    One that never occurs, or always does, has 1 for what there is and 0 for what is not.
    """
    labels = torch.cat([clip.labels for clip in clips])
    counts = torch.stack([(labels == 0).sum(0), (labels == 1).sum(0)]).float()
    present = counts > 0
    weights = counts.sum(0) / (counts.clamp(min=1) * present.sum(0).clamp(min=1))
    return torch.where(present, weights, 0.0)


def continued(config: Config, old: Config, preset: Config) -> Config:
    """Return the configuration to go on with from that of an old run: with more labels.

    Flags are what differs from the preset. Those of the training loop, and those that say where
    files lie, replace what the old run had.

    Raises:
        InputError: another flag differs from the old run.
    """
    places: dict[str, Any] = {}
    refused = []
    for field in fields(Config):
        value = getattr(config, field.name)
        if field.name in ("add", "loop") or value == getattr(preset, field.name):
            continue
        if field.metadata.get("place"):
            places[field.name] = value
        elif value != getattr(old, field.name):
            refused.append(f"--{field.name.replace('_', '-')}")
    if refused:
        flags = ", ".join(refused)
        raise InputError(f"--start takes the settings of the old run; leave out: {flags}")
    steps = {
        field.name: getattr(config.loop, field.name)
        for field in fields(LoopConfig)
        if getattr(config.loop, field.name) != getattr(preset.loop, field.name)
    }
    return replace(old, **places, add=(*old.add, *config.add), loop=replace(old.loop, **steps))


def adopt(trained: Trained, old: Trained, saved: Mapping[str, Any]) -> None:
    """Give a net the weights of another, whose classes are the first of its own.

    Raises:
        InputError: the other has behaviours at once and this one has not, or its other classes.
    """
    count = len(old.classes)
    if trained.classes[:count] != old.classes or trained.multi != old.multi:
        raise InputError(f"{trained.config.start} was trained on other labels: train a new run")
    weights = checkpoint.part(saved["weights"], "labeller")
    with torch.no_grad():
        for name, value in trained.labeller.state_dict().items():
            given = weights[name]
            if given.shape == value.shape:
                value.copy_(given)
            else:  # more classes now: those known keep their rows
                value[:count] = given
    trained.encoder.load_state_dict(old.encoder.state_dict())


def _in_old_order(splits: VideoSplits, old: Trained) -> VideoSplits:
    """Return splits whose classes begin with those of a net."""
    new = [name for name in splits.classes if name not in old.classes]
    classes = (*old.classes, *new)
    numbers = [classes.index(name) for name in splits.classes]
    train, validation, test = (
        tuple(renumbered(clip, numbers, len(classes)) for clip in part)
        for part in (splits.train, splits.validation, splits.test)
    )
    return VideoSplits(train, validation, test, classes, splits.multi)


def _examples(clips: Sequence[LoadedClip]) -> Iterator[object]:
    """Yield the name and the labels of each clip."""
    for clip in clips:
        yield clip.name, clip.labels.tolist()


def main(arguments: TrainArguments[Config]) -> None:
    """Train, keep the best on the validation clips, report."""
    config, session, run = arguments.start()
    device = devices.select(session.device, session.threads)
    old = None
    saved: dict[str, Any] = {}
    if config.start:
        old, saved = open_model(config.start, device)
        if not session.resume:
            config = continued(config, old.config, PRESETS[arguments.preset])
            run.config = config
    splits = load_data(config)
    if old:
        splits = _in_old_order(splits, old)
        if new := splits.classes[len(old.classes) :]:
            print(f"behaviours that {config.start} lacks: {', '.join(new)}", file=sys.stderr)
    for line in labelled.suspects(splits.clips):
        print(f"warning: {line}", file=sys.stderr)
    rate = old.rate if old else training_rate(config, splits.train)
    encoder = encoder_of(config).to(device)
    trained = build(config, encoder, splits.classes, rate=rate, multi=splits.multi)
    trained.labeller.to(device)
    if old and not session.resume:
        adopt(trained, old, saved)
    train = read(config, encoder, splits.train, rate, quiet=session.quiet)
    validation = read(config, encoder, splits.validation, rate, quiet=session.quiet)
    if config.standardises and not old:
        trained.labeller.standardise(torch.cat([clip.frames for clip in train]))
    learner = Learner(trained, _weights(train, splits, config), config.loop.batch).to(device)
    fit(
        learner,
        TrainingBatches(resident(train, device), config, device),
        lambda: _validate(trained, validation),
        run,
        config.loop,
        monitor="mean average precision" if splits.multi else "balanced accuracy",
        extras={
            "classes": list(splits.classes),
            "multi": splits.multi,
            "rate": rate,
            "digest": digest(_examples(train), _examples(validation)),
            "preprocessing": to_dict(encoder.preprocessing),
            "fingerprint": "" if config.trains_encoder else encoder.fingerprint,
        },
        graph=session.graph,
    )
    if run.writes:
        best, _ = open_model(run.directory, device)
        part = "validation"
        clips = validation
        if splits.test:
            part = "test"
            clips = read(config, best.encoder, splits.test, rate, quiet=session.quiet)
        print_metrics(compare(best, train, clips), part, len(clips), several=splits.multi)
        print(f"{run.directory} holds the run; now: video label VIDEO --run {run.directory}")


def _weights(train: Sequence[LoadedClip], splits: VideoSplits, config: Config) -> Tensor:
    """Return the weights of the classes in the loss."""
    classes = len(splits.classes)
    if splits.multi:
        if config.weighted:
            return behaviour_weights(train)
        return torch.ones(2, classes)
    if config.weighted:
        return class_weights(train, classes)
    return torch.ones(classes)


def _validate(trained: Trained, validation: Sequence[LoadedClip]) -> dict[str, float]:
    if trained.multi:
        set_thresholds(trained, validation)
    return measure(trained, validation)


if __name__ == "__main__":
    raise SystemExit(cli.script("video train"))
