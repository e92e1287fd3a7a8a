"""Segments: labels per frame as runs of one label, and back."""

from collections.abc import Iterable
from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor


class Segment(NamedTuple):
    """The frames from `start` to before `stop`, all of one label."""

    label: int
    start: int
    stop: int

    @property
    def frames(self) -> int:
        """How many frames it has."""
        return self.stop - self.start


def to_segments(labels: Int[Tensor, " frames"]) -> list[Segment]:
    """Return the longest runs of one label, in order."""
    values, counts = torch.unique_consecutive(labels.cpu(), return_counts=True)
    stops = counts.cumsum(0)
    runs = values.tolist(), (stops - counts).tolist(), stops.tolist()
    return [Segment(*run) for run in zip(*runs, strict=True)]


def to_labels(segments: Iterable[Segment]) -> Int[Tensor, " frames"]:
    """Return the label of each frame, int64.

    Raises:
        ValueError: the segments do not follow one another from frame 0.
    """
    segments = list(segments)
    starts = [0, *(segment.stop for segment in segments)]
    if any(segment.start != start for segment, start in zip(segments, starts, strict=False)):
        raise ValueError(f"there are frames in no segment, or in two, of {segments}")
    labels = torch.tensor([segment.label for segment in segments], dtype=torch.int64)
    return labels.repeat_interleave(
        torch.tensor([segment.frames for segment in segments], dtype=torch.int64)
    )
