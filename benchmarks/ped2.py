"""Labels for frames of clips that were not learned from: UCSD Ped2, whole clips held out.

    uv run python -m benchmarks.ped2 --data ucsd_ped2              # five folds of all clips
    uv run python -m benchmarks.ped2 --data ucsd_ped2 --folds 0    # the split given with the data

The nets keep the weights of their last step: clips that are measured choose nothing. Figures are
over the frames of all clips held out, mean and standard deviation over seeds; the area under the
curve is that of the probability of the last class.
"""

import contextlib
import io
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean, stdev

import torch
from jaxtyping import Float, Int
from rich.console import Console
from rich.table import Table
from torch import Tensor

from benchmarks.entry import script
from core.errors import InputError
from core.training.loop import fit
from core.training.run import Run
from datasets.videos.clips import VideoSplits
from video.config import PRESETS, Config
from video.data import TrainingBatches, load_data
from video.evaluate import predict
from video.labels.decisions import decide
from video.metrics.segmentation import accuracy, balanced_accuracy, confusion
from video.reading import LoadedClip, read, training_rate
from video.train import Learner, class_weights
from video.trained import build, encoder_of
from vision.encoder import Encoder

CPU = torch.device("cpu")
NETS = ("videos", "videos-by-frame", "videos+motion", "videos-by-frame+motion")
COLUMNS = ("accuracy", "balanced accuracy", "area under the curve")

Fold = tuple[list[LoadedClip], list[LoadedClip]]
"""The clips to learn from, and those held out."""


def read_clips(config: Config, splits: VideoSplits, encoder: Encoder) -> dict[str, LoadedClip]:
    """Return all clips by their names, encoded."""
    rate = training_rate(config, splits.train)
    clips = read(config, encoder, splits.clips, rate, quiet=True)
    return {clip.name: clip for clip in clips}


def folds_of(clips: Sequence[LoadedClip], count: int) -> list[Fold]:
    """Deal clips into folds in turn, those with the most frames of the last class first."""
    last = max(int(clip.labels.max()) for clip in clips)

    def frames_of_last(clip: LoadedClip) -> tuple[int, str]:
        return -int((clip.labels == last).sum()), clip.name

    ordered = sorted(clips, key=frames_of_last)
    folds = []
    for n in range(count):
        held_out = ordered[n::count]
        names = {clip.name for clip in held_out}
        folds.append(([clip for clip in ordered if clip.name not in names], held_out))
    return folds


def given_fold(clips: dict[str, LoadedClip], splits: VideoSplits) -> list[Fold]:
    """Return the split that is given with the data as one fold."""
    train = [clips[clip.name] for clip in splits.train]
    return [(train, [clips[clip.name] for clip in splits.validation])]


def log_probabilities(
    config: Config, encoder: Encoder, classes: tuple[str, ...], fold: Fold
) -> list[Float[Tensor, "frames classes"]]:
    """Train a net, and return log p of the labels of the clips held out."""
    train, held_out = fold
    torch.manual_seed(config.loop.seed)
    trained = build(config, encoder, classes)
    if config.standardises:
        trained.labeller.standardise(torch.cat([clip.frames for clip in train]))
    learner = Learner(trained, class_weights(train, len(classes)), config.loop.batch)
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        run = Run(Path(folder) / "net", "video", config, quiet=True)
        batches = TrainingBatches(train, config, CPU)
        fit(learner, batches, lambda: {"accuracy": 0.0}, run, config.loop)
    return predict(trained, held_out)


def measured(
    log_p: Sequence[Float[Tensor, "frames classes"]],
    truth: Sequence[Int[Tensor, " frames"]],
    self_transition: float = 0.0,
) -> dict[str, float]:
    """Return the metrics of labels, in percent, over the frames of all clips."""
    labels = [decide(each, self_transition=self_transition) for each in log_p]
    frames = torch.cat(list(log_p))
    true = torch.cat(list(truth))
    matrix = confusion(torch.cat(labels), true, frames.shape[1])
    curve = area_under_curve(frames[:, -1] - frames[:, 0], true == frames.shape[1] - 1)
    return dict(zip(COLUMNS, (accuracy(matrix), balanced_accuracy(matrix), curve), strict=True))


def area_under_curve(score: Float[Tensor, " frames"], truth: Tensor) -> float:
    """Return how often a frame that is true has the greater score than one that is not, in percent.

    Equal scores count half.
    """
    _, places, counts = score.unique(return_inverse=True, return_counts=True)
    ranks = (counts.cumsum(0) - (counts - 1) / 2).double()[places]
    true = int(truth.sum())
    above = ranks[truth].sum() - true * (true + 1) / 2
    return 100 * float(above) / (true * (len(truth) - true))


def cross_validated(
    config: Config, splits: VideoSplits, folds: int, seeds: int, self_transition: float
) -> dict[str, list[dict[str, float]]]:
    """Return the metrics of each seed, of the labels as they are and smoothed.

    The encoder must be frozen, as all folds and seeds share it.
    """
    encoder = encoder_of(config)
    clips = read_clips(config, splits, encoder)
    parts = folds_of(list(clips.values()), folds) if folds else given_fold(clips, splits)
    truth = [clip.labels for _, held_out in parts for clip in held_out]
    metrics: dict[str, list[dict[str, float]]] = {"": [], ", smoothed": []}
    for seed in range(seeds):
        seeded = replace(config, loop=replace(config.loop, seed=seed))
        log_p = []
        for fold in parts:
            log_p += log_probabilities(seeded, encoder, splits.classes, fold)
        metrics[""].append(measured(log_p, truth))
        metrics[", smoothed"].append(measured(log_p, truth, self_transition))
    return metrics


def main(
    data: str,
    nets: tuple[str, ...] = NETS,
    folds: int = 5,
    seeds: int = 3,
    self_transition: float = 0.99,
) -> None:
    """Train each net on each fold with each seed; print what it reaches on clips held out.

    Args:
        data: folder of the clips, with their labels.
        nets: presets of `video train`; with "+motion" after its name the encoder is also shown what
            changed since the frame before.
        folds: how many; 0: the split that is given with the data.
        seeds: how many nets of each.
        self_transition: probability that a frame has the label of the one before, for the smoothed
            rows (Viterbi).
    """
    torch.set_num_threads(1)
    for net in nets:
        name = net.partition("+")[0]
        if name not in PRESETS:
            raise InputError(f"there is no preset {name!r}: {', '.join(PRESETS)}")
        if PRESETS[name].trains_encoder:
            # Later folds would begin with weights that have seen the clips they hold out.
            raise InputError(f"{net}: choose presets with a frozen encoder, which all folds share")
    where = f"{folds} folds" if folds else "the split given"
    table = Table("labels by", title=f"{where}, {seeds} seeds, %")
    for column in COLUMNS:
        table.add_column(column, justify="right")
    for net in nets:
        name, _, motion = net.partition("+")
        config = replace(PRESETS[name], data=data)
        if motion:
            config = replace(config, motion=True)
        splits = load_data(config)
        if splits.multi or len(splits.classes) != 2:
            raise InputError(f"{data}: the area under the curve is that of two labels")
        metrics = cross_validated(config, splits, folds, seeds, self_transition)
        for smoothed, each in metrics.items():
            cells = [_spread([score[column] for score in each]) for column in COLUMNS]
            table.add_row(f"{net}{smoothed}", *cells)
            print(f"{net}{smoothed}:", ", ".join(cells), flush=True)
    Console().print(table)


def _spread(values: Sequence[float]) -> str:
    if len(values) == 1:
        return f"{values[0]:.1f}"
    return f"{mean(values):.1f} ± {stdev(values):.1f}"


if __name__ == "__main__":
    script(main)
