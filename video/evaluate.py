"""How well a trained net labels every frame, beside the majority class.

uv run video evaluate runs/video/sprites                  # the test clips of its own data
uv run video evaluate runs/video/sprites --data FOLDER    # everything that is labelled in FOLDER
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Float, Int
from rich.console import Console
from torch import Tensor

from core.errors import InputError, counted
from core.files import to_json
from core.training import cli, devices
from core.training.config import require_at_least, require_share
from core.training.loop import evaluating
from core.training.tables import metrics_table
from datasets.videos import labelled
from datasets.videos.clips import Clip
from datasets.videos.merging import renumbered
from video.arguments import Evaluate
from video.config import Config
from video.data import load_data
from video.labels.decisions import best_thresholds, decide
from video.metrics.behaviours import behaviour_metrics, mean_metrics
from video.metrics.segmentation import majority, mean_over_clips, segmentation_metrics
from video.reading import FRAMES_AT_ONCE, LoadedClip, read
from video.trained import Trained, open_model

Labels = Int[Tensor, " frames"]


def predict(trained: Trained, clips: Sequence[LoadedClip]) -> list[Float[Tensor, "frames classes"]]:
    """Return log p of the labels of each frame, clip by clip."""
    predicted = []
    with evaluating(trained.labeller):
        for clip in clips:
            features = clip.frames
            if trained.config.trains_encoder:
                parts = clip.frames.split(FRAMES_AT_ONCE)
                features = torch.cat([trained.features(part) for part in parts])
            predicted.append(trained.label(features)[0].cpu())
    return predicted


def measure(
    trained: Trained, clips: Sequence[LoadedClip], shortest: int = 1, self_transition: float = 0.0
) -> dict[str, float]:
    """Return the metrics of a net on clips; frames that nobody scored do not count."""
    log_p = predict(trained, clips)
    labels = [decide(each, shortest, self_transition, trained.thresholds) for each in log_p]
    truth = [clip.labels.cpu() for clip in clips]
    if trained.multi:
        return mean_metrics([each.exp() for each in log_p], labels, truth, trained.classes)
    ours, theirs = scored_frames(labels, truth)
    return segmentation_metrics(ours, theirs, trained.classes, _background(trained))


def set_thresholds(trained: Trained, clips: Sequence[LoadedClip]) -> None:
    """Set the thresholds of behaviours to those with the greatest F1 on clips."""
    probabilities = [each.exp() for each in predict(trained, clips)]
    best = best_thresholds(probabilities, [clip.labels.cpu() for clip in clips])
    trained.labeller.thresholds.copy_(best)


def compare(
    trained: Trained,
    train: Sequence[LoadedClip],
    clips: Sequence[LoadedClip],
    shortest: int = 1,
    self_transition: float = 0.0,
) -> dict[str, dict[str, float]]:
    """Return the metrics of a net beside those of the majority class of `train`, if it is given.

    They are over all frames, and as means over clips. Where several behaviours can occur at once
    they are means over behaviours, and then those of each behaviour.
    """
    log_p = predict(trained, clips)
    labels = [decide(each, shortest, self_transition, trained.thresholds) for each in log_p]
    truth = [clip.labels.cpu() for clip in clips]
    if trained.multi:
        p = [each.exp() for each in log_p]
        return behaviour_metrics(p, labels, truth, trained.classes)
    background = _background(trained)
    ours, theirs = scored_frames(labels, truth)
    results = {
        "this net": segmentation_metrics(ours, theirs, trained.classes, background),
        "this net, mean over clips": mean_over_clips(ours, theirs, trained.classes, background),
    }
    if train:
        scored = [clip.labels[clip.labels >= 0].cpu() for clip in train]
        most = majority(scored, theirs)
        results["majority class"] = segmentation_metrics(most, theirs, trained.classes, background)
        results["majority class, mean over clips"] = mean_over_clips(
            most, theirs, trained.classes, background
        )
    return results


def scored_frames(
    labels: Sequence[Labels], truth: Sequence[Labels]
) -> tuple[list[Labels], list[Labels]]:
    """Return labels and truth of the frames that were scored, of clips that have any.

    Raises:
        InputError: there is no such frame.
    """
    ours = [each[true >= 0] for each, true in zip(labels, truth, strict=True)]
    theirs = [true[true >= 0] for true in truth]
    kept = [n for n, true in enumerate(theirs) if len(true)]
    if not kept:
        raise InputError("not one frame of these clips is labelled")
    return [ours[n] for n in kept], [theirs[n] for n in kept]


def _background(trained: Trained) -> str | None:
    """The name of the label of frames in no segment, if the data have one."""
    name = trained.config.background
    if name in trained.classes:
        return name
    return None


def main(arguments: Evaluate) -> None:
    """Open a run, measure it, print the table."""
    require_share(arguments, "self_transition")
    require_at_least(1, arguments, "shortest")
    trained, _ = open_model(arguments.run, devices.select(arguments.device, arguments.threads))
    config = replace(trained.config, data=arguments.data or trained.config.data)
    part, chosen, training = _clips(config, trained, arguments)
    clips = read(config, trained.encoder, chosen, trained.rate)
    train = clips  # without a training part, the majority class is that of the clips themselves
    if training and not trained.multi:
        train = read(config, trained.encoder, training, trained.rate)
    results = compare(trained, train, clips, arguments.shortest, arguments.self_transition)
    if arguments.json:
        print(to_json({"split": part, "clips": len(clips), "scores": results}))
        return
    print_metrics(results, part, len(clips), several=trained.multi)


def print_metrics(
    metrics: dict[str, dict[str, float]], part: str, clips: int, *, several: bool
) -> None:
    """Print a table of the metrics of the clips of a part, of several behaviours at once or not."""
    heading = "labels by"
    if several:
        heading = "behaviour"
    Console().print(metrics_table(metrics, f"{part}: {counted(clips, 'clip')}, %", heading))


def _clips(
    config: Config, trained: Trained, arguments: Evaluate
) -> tuple[str, Sequence[Clip], Sequence[Clip]]:
    """Return the name of the part to measure, its clips, and those that tell the majority class."""
    if arguments.data and arguments.data not in labelled.NAMES and arguments.split is None:
        flags = {"background": config.background, "split": config.split, "multi": trained.multi}
        splits = labelled.read_labels(arguments.data, **flags).everything()
        name = "all"
        clips = splits.test
    else:
        added = () if arguments.data else config.add
        splits = load_data(replace(config, add=added, multi=trained.multi))
        name = arguments.split or ("test" if splits.test else "validation")
        clips = getattr(splits, name)
    if not clips:
        raise InputError(f"{config.data} has no {name} clips")
    unknown = [each for each in splits.classes if each not in trained.classes]
    if splits.multi and not trained.multi:
        unknown = ["several at once"]
    elif trained.multi and not splits.multi:
        unknown = ["one at a time"]
    if unknown:
        other = f"{config.data} has other labels than {arguments.run} was trained on"
        raise InputError(f"{other}: {', '.join(unknown)}")
    numbers = [trained.classes.index(each) for each in splits.classes]
    count = len(trained.classes)
    in_our_order = [[renumbered(clip, numbers, count) for clip in p] for p in (clips, splits.train)]
    return name, in_our_order[0], in_our_order[1]


if __name__ == "__main__":
    raise SystemExit(cli.script("video evaluate"))
