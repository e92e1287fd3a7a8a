"""The clips of a configuration, and training batches of them.

A batch is made of windows of clips, and is a function of (seed, step).
"""

import dataclasses
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from typing import Any

import torch
from jaxtyping import Bool, Int, Shaped
from torch import Tensor

from core.training import batches, devices
from datasets.videos import labelled
from datasets.videos.clips import VideoSplits
from datasets.videos.merging import merged
from video.config import Config
from video.reading import LoadedClip

PADDING = -2  # the label of what lies beyond a clip's end


def load_data(config: Config) -> VideoSplits:
    """Return the clips that a configuration names, with those that were added."""
    flags: dict[str, Any] = {"background": config.background, "split": config.split}
    splits = labelled.load(config.data, **flags, multi=config.multi)
    for source in config.add:
        added = labelled.read_labels(source, **flags, multi=splits.multi)
        splits = merged(splits, added.everything())
    return splits


def resident(clips: Sequence[LoadedClip], device: torch.device) -> Sequence[LoadedClip]:
    """Return the clips with frames and labels on the device, if all of them fit there."""
    if not devices.fits(sum(clip.frames.nbytes + clip.labels.nbytes for clip in clips), device):
        return clips
    return [
        dataclasses.replace(clip, frames=clip.frames.to(device), labels=clip.labels.to(device))
        for clip in clips
    ]


@dataclass(frozen=True, eq=False)
class TrainingBatches:
    """Makes the batch of a step: a window of some clips, and whether they begin with it.

    The clips of an epoch are taken in groups of one batch, and each group from its first window to
    its last, so that the state a window ends with is the one that the next starts from.
    """

    clips: Sequence[LoadedClip]
    config: Config
    device: torch.device

    def __call__(
        self, step: int, rows: slice
    ) -> tuple[Shaped[Tensor, "time batch *shape"], Int[Tensor, "time batch *c"], Bool[Tensor, ""]]:
        """Return frames and labels of step `step`, and whether a new group of clips begins."""
        group, start = self.place(step)
        window = self.config.window
        longest = max(min(len(self.clips[n].labels) - start, window) for n in group)
        windows = [self._window(self.clips[n], start, longest) for n in group[rows]]
        frames = torch.stack([frames for frames, _ in windows], 1)
        labels = torch.stack([labels for _, labels in windows], 1)
        begins = torch.tensor(start == 0)
        return (
            devices.send(frames, self.device),
            devices.send(labels, self.device),
            devices.send(begins, self.device),
        )

    def place(self, step: int) -> tuple[list[int], int]:
        """Return the clips of step `step`, and the frame its window starts with."""
        epoch = 0
        while step >= (ends := self._ends(epoch))[-1]:
            step -= ends[-1]
            epoch += 1
        group = bisect_right(ends, step)
        before = ends[group - 1] if group else 0
        return self._groups(epoch)[group], (step - before) * self.config.window

    def _window(self, clip: LoadedClip, start: int, length: int) -> tuple[Tensor, Tensor]:
        frames = clip.frames[start : start + length]
        labels = clip.labels[start : start + length]
        missing = length - len(labels)
        if missing:
            frames = torch.cat((frames, frames.new_zeros(missing, *frames.shape[1:])))
            labels = torch.cat((labels, labels.new_full((missing, *labels.shape[1:]), PADDING)))
        return frames, labels

    def _groups(self, epoch: int) -> list[list[int]]:
        loop = self.config.loop
        count = len(self.clips)
        order = batches.permutation(loop.seed, epoch, count).tolist()
        order += order[: -count % loop.batch] * loop.batch  # the first ones fill the last group up
        return [order[n : n + loop.batch] for n in range(0, count, loop.batch)]

    @cache  # noqa: B019 - it lives as long as the training; each step asks for all epochs before
    def _ends(self, epoch: int) -> list[int]:
        """Return after how many steps of an epoch each group is done."""
        longest = (max(len(self.clips[n].labels) for n in group) for group in self._groups(epoch))
        return list(accumulate(-(-length // self.config.window) for length in longest))
