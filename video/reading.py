"""Clips as the labeller learns from them: frames or their features, and the labels of each.

Features of a frozen encoder are kept: one file a clip, with checksums, named by the hashes of the
encoder, of the video and of how its frames are chosen. So nothing ever goes out of date. It is
not the cache of `vision.features`, which has a file for each picture: an hour of film would be
100,000 of them, and the numbers and times of its frames must be kept too.
"""

import hashlib
import io
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median_low
from zipfile import BadZipFile

import numpy as np
import torch
from jaxtyping import Int, Shaped, UInt8
from torch import Tensor

from core.errors import InputError
from core.files import make_folder, replace
from datasets.videos.clips import Clip
from datasets.videos.sprites import RATE
from video.config import Config
from video.model import encode
from video.streams.encoding import EncodedFrame, encoded
from video.streams.frames import Frame
from video.streams.preparation import Preparation, changed
from video.streams.progress import FrameProgress, stated_frames
from video.streams.reader import open_source
from vision.encoder import Encoder
from vision.features import default_cache

FRAMES_AT_ONCE = 32  # that are encoded


@dataclass(frozen=True, eq=False)
class LoadedClip:
    """A clip that was read: what the net is shown, frame by frame, and what is true of it."""

    name: str
    frames: Shaped[Tensor, "frames *shape"]
    """Frames as the encoder is shown them, or their features."""
    seconds: list[float]
    """The time of each frame."""
    labels: Int[Tensor, " frames"] | Int[Tensor, "frames classes"]


@dataclass(frozen=True, eq=False)
class _Shown:
    """What is shown of a film, and when."""

    frames: Shaped[Tensor, "shown *shape"]
    numbers: Int[np.ndarray, " shown"]
    """Which frame of the film each is."""
    times: Shaped[np.ndarray, " frames"]
    """The time of every frame of the film."""


def training_rate(config: Config, clips: Iterable[Clip]) -> float:
    """Return the median of the clips' frames a second, one that a clip has, over the stride."""
    rates = [stated_rate(config, clip) for clip in clips]
    return median_low(rates) / config.stride


def stated_rate(config: Config, clip: Clip) -> float:
    """Return the frames a second that a clip states, or for which it is drawn."""
    if not isinstance(clip.source, Path):
        return RATE
    try:
        frames = open_source(clip.source, rate=config.fps)
    except InputError:
        return RATE  # it will be told, and left out
    frames.close()
    return frames.rate


def read(
    config: Config,
    encoder: Encoder,
    clips: Sequence[Clip],
    rate: float | None = None,
    *,
    quiet: bool = False,
) -> list[LoadedClip]:
    """Return clips with their frames; one that cannot be read is told in a line and left out.

    So is one of which labels and frames differ in number by more than the configuration allows.

    Args:
        config: how frames are chosen and prepared.
        encoder: the encoder; if it is frozen its features are read or kept.
        clips: the clips.
        rate: frames a second to choose by their times, in films of another rate.
        quiet: plain lines instead of a progress bar.

    Raises:
        InputError: no clip is left.
    """
    loaded = []
    total = stated_frames(clip.source for clip in clips if isinstance(clip.source, Path))
    with FrameProgress(total, "read", sys.stdout, quiet=quiet) as progress:
        for clip in clips:
            try:
                shown = _show(clip, encoder, config, rate, progress.tick)
                times = shown.times.tolist()
                labels = clip.labels(times, config.excess)[torch.from_numpy(shown.numbers)]
                seconds = [times[number] for number in shown.numbers]
                loaded.append(LoadedClip(clip.name, shown.frames, seconds, labels))
            except InputError as error:
                print(f"warning: {error}; this clip is left out", file=sys.stderr)
    if not loaded:
        raise InputError(f"{config.data}: not one of {len(clips)} clips can be read")
    return loaded


def _show(
    clip: Clip,
    encoder: Encoder,
    config: Config,
    rate: float | None,
    tick: Callable[[int], None],
) -> _Shown:
    if not isinstance(clip.source, Path):
        return _drawn(clip.source(), encoder, config)
    if config.trains_encoder:
        return _from_film(clip.source, encoder, config, rate, tick)
    path = _kept_at(clip.source, encoder, config, rate)
    try:
        with path.open("rb") as file, np.load(file) as kept:  # np.load leaves a damaged file open
            features = torch.from_numpy(kept["features"])
            shown = _Shown(features, kept["numbers"], kept["times"])
        tick(len(shown.times))
        return shown
    except (OSError, ValueError, EOFError, KeyError, BadZipFile):
        pass  # it is not there yet, or damaged
    shown = _from_film(clip.source, encoder, config, rate, tick)
    _keep(path, shown)
    return shown


def _from_film(
    film: Path,
    encoder: Encoder,
    config: Config,
    rate: float | None,
    tick: Callable[[int], None],
) -> _Shown:
    """Read a film: the features of its frames, or its pixels if the encoder is to be trained."""
    source = open_source(film, stride=config.stride, shown_rate=rate, rate=config.fps)
    prepare = Preparation(config, encoder.preprocessing)
    if config.trains_encoder:
        kept = _pixels(prepare, source)
    else:
        kept = encoded(source, prepare, partial(_features, encoder), torch.get_num_threads())
    numbers: list[int] = []
    rows: list[Tensor] = []
    before = 0
    for frame in kept:
        numbers += [frame.index] * len(frame.features)
        rows.append(frame.features)
        tick(source.read - before)
        before = source.read
    tick(source.read - before)
    for remark in source.remarks:
        if "no times" not in remark or config.fps is None:
            print(f"warning: {remark}", file=sys.stderr)
    return _Shown(torch.cat(rows), np.array(numbers), np.array(source.times))


def _pixels(prepare: Preparation, frames: Iterable[Frame]) -> Iterator[EncodedFrame]:
    """Yield frames as they are to be shown to an encoder that is trained."""
    for frame in frames:
        pictures = torch.stack(list(prepare.all([frame])))
        yield EncodedFrame(frame.index, frame.seconds, pictures)


def _drawn(
    pictures: UInt8[Tensor, "frames 1 height width"], encoder: Encoder, config: Config
) -> _Shown:
    """Return the frames of a drawn clip, grey, as the encoder is shown them."""
    times = np.arange(len(pictures)) / RATE
    numbers = np.arange(0, len(pictures), config.stride)
    chosen = pictures[:: config.stride]
    if config.crop or chosen.shape[-2:] != (encoder.preprocessing.size,) * 2:
        still = Preparation(config, encoder.preprocessing)
        colours = chosen.expand(-1, 3, -1, -1).permute(0, 2, 3, 1).numpy()
        frames = torch.stack([still(picture) for picture in colours])
    else:
        frames = chosen.expand(-1, 3, -1, -1)
        if config.motion:
            before = torch.cat((frames[:1], frames[:-1]))
            frames = torch.cat((frames, changed(frames, before)), 1)
    if not config.trains_encoder:
        parts = frames.split(FRAMES_AT_ONCE)
        frames = torch.cat([_features(encoder, part) for part in parts])
    return _Shown(frames, numbers, times)


@torch.no_grad()
def _features(
    encoder: Encoder, pixels: UInt8[Tensor, "frames channels size size"]
) -> Shaped[Tensor, "frames features"]:
    device = next(encoder.parameters()).device
    return encode(encoder, pixels.to(device), whole=False).half().cpu()


def _kept_at(film: Path, encoder: Encoder, config: Config, rate: float | None) -> Path:
    """Return the file of a film's features."""
    source = open_source(film, stride=config.stride, shown_rate=rate, rate=config.fps)
    chosen = rate if source.resamples else None
    source.close()
    how = repr((config.stride, chosen, config.fps, config.crop, config.motion))
    name = hashlib.sha256(f"{_digest(film)} {how}".encode()).hexdigest()
    root = default_cache()
    if config.cache:
        root = Path(config.cache)
    return root / f"{encoder.name}-{encoder.fingerprint[:16]}" / "videos" / f"{name}.npz"


def _keep(path: Path, shown: _Shown) -> None:
    content = io.BytesIO()
    np.savez(content, features=shown.frames.numpy(), numbers=shown.numbers, times=shown.times)
    try:
        make_folder(path.parent)
        replace(path, content)
    except InputError as error:
        print(f"warning: {error}; its features stay in memory", file=sys.stderr)


def _digest(source: Path) -> str:
    """Return the hash of a file, or of the files in a folder of frames and of their names."""
    if source.is_dir():
        files = sorted(file for file in source.iterdir() if file.is_file())
        content = repr([(file.name, _digest(file)) for file in files])
        return hashlib.sha256(content.encode()).hexdigest()
    with source.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
