"""How well a trained net labels every frame, beside the majority class.

uv run video evaluate runs/video/sprites    # accuracy, balanced accuracy, edit score and F1 on the test clips
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Float, Int
from rich.console import Console
from torch import Tensor

from core.errors import InputError
from core.files import to_json
from core.training import cli, devices
from core.training.config import require_share
from core.training.tables import scores_table
from datasets import videos
from video.arguments import Evaluate
from video.data import TOGETHER, Read, read
from video.metrics import majority, mean_over_clips, scores
from video.smoothing import merge_short, stay, viterbi
from video.trained import Trained, open_model

Labels = Int[Tensor, " frames"]


def predict(trained: Trained, clips: Sequence[Read]) -> list[Float[Tensor, "frames classes"]]:
    """Return log p of the labels of each frame, clip by clip."""
    training = trained.labeller.training
    trained.labeller.eval()
    found = []
    for clip in clips:
        parts = clip.frames.split(TOGETHER)
        features = [
            trained.features(part) if trained.config.trains_encoder else part for part in parts
        ]
        found.append(trained.label(torch.cat(features))[0].cpu())
    trained.labeller.train(training)
    return found


def decide(
    log_p: Float[Tensor, "frames classes"], shortest: int = 1, staying: float = 0.0
) -> Labels:
    """Return labels: the most probable ones, or by Viterbi's path if `staying`, and no segment below `shortest`."""
    labels = viterbi(log_p, stay(staying, log_p.shape[1])) if staying else log_p.argmax(-1)
    return merge_short(labels, log_p, shortest) if shortest > 1 else labels


def measure(
    trained: Trained, clips: Sequence[Read], shortest: int = 1, staying: float = 0.0
) -> dict[str, float]:
    """Return the scores of a net on clips."""
    labels = [decide(log_p, shortest, staying) for log_p in predict(trained, clips)]
    return scores(labels, [clip.labels for clip in clips], trained.classes, _background(trained))


def compare(
    trained: Trained,
    train: Sequence[Read],
    clips: Sequence[Read],
    shortest: int = 1,
    staying: float = 0.0,
) -> dict[str, dict[str, float]]:
    """Return the scores of a net and of the majority class: over all frames, and as means over clips."""
    truth, background = [clip.labels for clip in clips], _background(trained)
    labels = [decide(log_p, shortest, staying) for log_p in predict(trained, clips)]
    most = majority([clip.labels for clip in train], truth)
    return {
        "this net": scores(labels, truth, trained.classes, background),
        "this net, mean over clips": mean_over_clips(labels, truth, trained.classes, background),
        "majority class": scores(most, truth, trained.classes, background),
        "majority class, mean over clips": mean_over_clips(
            most, truth, trained.classes, background
        ),
    }


def _background(trained: Trained) -> str | None:
    """The name of the label of frames in no segment, if the data have one."""
    name = trained.config.background
    return name if name in trained.classes else None


def main(arguments: Evaluate) -> None:
    """Open a run, measure it, print the table."""
    require_share(arguments, "staying")
    trained, _ = open_model(arguments.run, devices.select(arguments.device, arguments.threads))
    config = replace(trained.config, data=arguments.data or trained.config.data)
    splits = videos.load(config.data, background=config.background, split=config.split)
    if splits.classes != trained.classes:
        raise InputError(f"{config.data} has other labels than {arguments.run} was trained on")
    part = arguments.part or ("test" if splits.test else "validation")
    if not (chosen := getattr(splits, part)):
        raise InputError(f"{config.data} has no {part} clips")
    train, clips = (
        read(config, trained.encoder, splits.train),
        read(config, trained.encoder, chosen),
    )
    results = compare(trained, train, clips, arguments.shortest, arguments.staying)
    if arguments.json:
        print(to_json({"part": part, "clips": len(clips), "scores": results}))
    else:
        Console().print(scores_table(results, f"{part}: {len(clips)} clips, %", "labels by"))


if __name__ == "__main__":
    raise SystemExit(cli.script("video evaluate"))
