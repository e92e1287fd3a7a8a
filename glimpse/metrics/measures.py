"""Measures of rollouts: where glimpses go, what they cost, and how well classes are told apart."""

import time
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from core.training.loop import evaluating
from datasets.images.boxes import Boxes
from datasets.images.splits import Labelled
from glimpse.config import Config
from glimpse.hints import on_box
from glimpse.model import Policy, RecurrentAttention, greedy

BATCH = 500  # images of a rollout


@dataclass(frozen=True)
class Rollouts:
    """What a policy's rollouts came to."""

    p: Float[Tensor, "glimpses count classes"]  # of the classes after each glimpse
    locations: Float[Tensor, "glimpses count 2"]
    milliseconds: float  # of CPU time an image, reading the files included


def roll_out(
    model: RecurrentAttention, images: Labelled, glimpses: int, policy: Policy
) -> Rollouts:
    """Return the rollouts of all images."""
    p = []
    locations = []
    start = time.process_time()
    with evaluating(model):
        for rows in images.in_order(BATCH):
            episode = model.rollout(images.fetch(rows), glimpses, policy)
            p.append(episode.logits.softmax(-1))
            locations.append(episode.locations)
    seconds = time.process_time() - start
    return Rollouts(torch.cat(p, 1), torch.cat(locations, 1), 1000 * seconds / len(images))


def found(locations: Float[Tensor, "glimpses count 2"], boxes: Boxes) -> list[float]:
    """Return the share of images with a glimpse on a box by each glimpse, of those with boxes."""
    with_boxes = ~boxes[:, 0, 0].isnan()
    hits = on_box(locations, boxes)[:, with_boxes]
    return hits.cummax(0).values.mean(1).tolist()


def share_read(config: Config, glimpses: int, sizes: list[tuple[int, int]]) -> float:
    """Return the numbers that the sensor reads of an image, as a share of its pixels.

    A cell of a patch or of the coarse view is one number, the mean of its pixels.
    """
    numbers = config.context**2 + glimpses * config.scales * config.patch**2
    pixels = sum(height * width for height, width in sizes) / len(sizes)
    return numbers / pixels


def operations(model: RecurrentAttention, images: Labelled, glimpses: int) -> int:
    """Return the multiplications and additions that a rollout of one image takes.

    Those of matrix products and convolutions are counted; the sensor's means are not.
    """
    first = images.fetch(next(iter(images.in_order(1))))
    with evaluating(model), FlopCounterMode(display=False) as counter:
        model.rollout(first, glimpses, greedy)
    return counter.get_total_flops()


def balanced_accuracy(p: Float[Tensor, "count classes"], labels: Int[Tensor, " count"]) -> float:
    """Return the mean over the classes that occur of the share of their images told rightly."""
    right = (p.argmax(-1) == labels).float()
    shares = [right[labels == label].mean() for label in labels.unique()]
    return float(torch.stack(shares).mean())
