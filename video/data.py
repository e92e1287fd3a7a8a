"""Clips as the labeller meets them: windows of frames, each batch a function of (seed, step)."""

import dataclasses
import hashlib
import io
import sys
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch
from jaxtyping import Bool, Int, Shaped
from PIL import Image
from torch import Tensor

from core.errors import InputError
from core.files import replace, writing
from core.training import batches, devices
from datasets.clips import Clip
from datasets.sprites import RATE
from video.config import Config
from video.model import describe
from video.reader import open_source
from vision.encoder import Encoder
from vision.features import default_cache

TOGETHER = 32  # frames encoded at a time


@dataclass(frozen=True, eq=False)
class Read:
    """A clip that was read: its frames as the encoder wants them, or their features; times; labels."""

    name: str
    frames: Shaped[Tensor, "frames *shape"]
    seconds: list[float]
    labels: Int[Tensor, " frames"]


def read(config: Config, encoder: Encoder, clips: Sequence[Clip]) -> list[Read]:
    """Return clips with their frames; those that cannot be read are told in a line each and left out.

    So are those of which labels and frames are of different number. Raises `InputError` if no clip is left.
    """
    found = []
    for clip in clips:
        try:
            frames, seconds = (
                _pixels(clip, encoder, config)
                if config.trains_encoder
                else _kept(clip, encoder, config)
            )
            found.append(
                Read(clip.name, frames, seconds, clip.labels(seconds, stride=config.stride))
            )
        except InputError as error:
            print(f"warning: {error}; this clip is left out", file=sys.stderr)
    if not found:
        raise InputError(f"{config.data}: not one of {len(clips)} clips can be read")
    return found


def shown(source: Path | str, encoder: Encoder, stride: int) -> Iterator[tuple[float, Tensor]]:
    """Yield the time of each frame of a source, and its pixels as the encoder wants them."""
    for frame in open_source(source, stride=stride):
        yield frame.seconds, encoder.preprocessing(Image.fromarray(frame.pixels))


def _pixels(clip: Clip, encoder: Encoder, config: Config) -> tuple[Tensor, list[float]]:
    if isinstance(clip.source, Path):
        seconds, pixels = zip(*shown(clip.source, encoder, config.stride), strict=True)
        return torch.stack(pixels), list(seconds)
    drawn = clip.source()[:: config.stride]
    if drawn.shape[-2:] != (encoder.preprocessing.size,) * 2:
        drawn = torch.stack(
            [encoder.preprocessing(Image.fromarray(frame[0].numpy())) for frame in drawn]
        )
    return drawn.expand(-1, 3, -1, -1), [n * config.stride / RATE for n in range(len(drawn))]


def _kept(clip: Clip, encoder: Encoder, config: Config) -> tuple[Tensor, list[float]]:
    """The features of a clip from the cache, or computed and kept there: one file a clip."""
    if not isinstance(clip.source, Path):
        frames, seconds = _pixels(clip, encoder, config)
        return torch.cat([_features(encoder, part) for part in frames.split(TOGETHER)]), seconds
    folder = (
        Path(config.cache) if config.cache else default_cache()
    ) / f"{encoder.name}-{encoder.fingerprint[:16]}"
    path = folder / "videos" / f"{_digest(clip.source)}-{config.stride}.npz"
    try:
        with path.open("rb") as file, np.load(file) as saved:  # np.load leaves a spoilt file open
            return torch.from_numpy(saved["features"]), saved["seconds"].tolist()
    except (OSError, ValueError, EOFError, KeyError, BadZipFile):
        pass  # not there yet, or spoilt
    features, seconds, waiting = [], [], []
    for time, pixels in shown(clip.source, encoder, config.stride):
        seconds.append(time)
        waiting.append(pixels)
        if len(waiting) == TOGETHER:
            features.append(_features(encoder, torch.stack(waiting)))
            waiting.clear()
    if waiting:
        features.append(_features(encoder, torch.stack(waiting)))
    whole = torch.cat(features)
    content = io.BytesIO()
    np.savez(content, features=whole.numpy(), seconds=np.array(seconds))
    try:
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        replace(path, content)
    except InputError as error:
        print(f"warning: {error}; its features stay in memory", file=sys.stderr)
    return whole, seconds


@torch.no_grad()
def _features(encoder: Encoder, pixels: Tensor) -> Shaped[Tensor, "frames features"]:
    device = next(encoder.parameters()).device
    return describe(encoder(pixels.to(device)), whole=False).half().cpu()


def _digest(source: Path) -> str:
    """The hash of a file, or of the files in a folder of frames and their names, which give the order."""
    if source.is_dir():
        files = sorted(file for file in source.iterdir() if file.is_file())
        return hashlib.sha256(
            repr([(file.name, _digest(file)) for file in files]).encode()
        ).hexdigest()
    with source.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def resident(clips: Sequence[Read], device: torch.device) -> Sequence[Read]:
    """Return the clips with frames and labels on the device, if all of them fit there; else as they are."""
    if not devices.fits(sum(clip.frames.nbytes + clip.labels.nbytes for clip in clips), device):
        return clips
    return [
        dataclasses.replace(c, frames=c.frames.to(device), labels=c.labels.to(device))
        for c in clips
    ]


@dataclass(frozen=True, eq=False)
class TrainingBatches:
    """Makes the batch of a step: a window of some clips, and which of them begin with it.

    The clips of an epoch are taken in groups of one batch, and each group from its first window to its last, so
    that the state a window ends with is the one that the next starts from.
    """

    clips: Sequence[Read]
    config: Config
    device: torch.device

    def __call__(
        self, step: int, rows: slice
    ) -> tuple[Shaped[Tensor, "time batch *shape"], Int[Tensor, "time batch"], Bool[Tensor, ""]]:
        """Return frames and labels (-1: padding) of step `step`, and whether a new group of clips begins."""
        chosen, start = self.place(step)
        window = self.config.window
        longest = max(min(len(self.clips[n].labels) - start, window) for n in chosen)
        frames, labels = zip(
            *(self._window(self.clips[n], start, longest) for n in chosen[rows]), strict=True
        )
        shown, known = (
            devices.send(torch.stack(frames, 1), self.device),
            devices.send(torch.stack(labels, 1), self.device),
        )
        return shown, known, devices.send(torch.tensor(start == 0), self.device)

    def place(self, step: int) -> tuple[list[int], int]:
        """Which clips step `step` is about, and the frame its window starts with."""
        epoch = 0
        while step >= (ends := self._ends(epoch))[-1]:
            step, epoch = step - ends[-1], epoch + 1
        group = bisect_right(ends, step)
        before = ends[group - 1] if group else 0
        return self._groups(epoch)[group], (step - before) * self.config.window

    def _window(self, clip: Read, start: int, length: int) -> tuple[Tensor, Tensor]:
        frames, labels = clip.frames[start : start + length], clip.labels[start : start + length]
        missing = length - len(labels)
        if missing:
            frames = torch.cat((frames, frames.new_zeros(missing, *clip.frames.shape[1:])))
            labels = torch.cat((labels, labels.new_full((missing,), -1)))
        return frames, labels

    def _groups(self, epoch: int) -> list[list[int]]:
        loop, count = self.config.loop, len(self.clips)
        order = batches.permutation(loop.seed, epoch, count).tolist()
        order += (
            order[: -count % loop.batch] * loop.batch
        )  # the last group is filled up with the first clips
        return [order[n : n + loop.batch] for n in range(0, count, loop.batch)]

    @cache  # noqa: B019 - it lives as long as the training, and each step asks for all epochs before it
    def _ends(self, epoch: int) -> list[int]:
        """After how many steps of an epoch each group is done."""
        longest = (max(len(self.clips[n].labels) for n in group) for group in self._groups(epoch))
        return list(accumulate(-(-length // self.config.window) for length in longest))
