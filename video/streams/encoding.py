"""Encodes the frames of a film: threads run the encoder while this one decodes.

    for frame in encoded(open_source("film.mp4"), trained.preparation(), encode, threads=2):
        print(frame.index, frame.seconds, frame.features.shape)

Each frame is encoded by itself and by one thread, so its features are the same bits for any number
of threads, and those of a live stream. On a CPU that is also faster than many frames at once, which
do not fit its caches.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from video.streams.frames import Frame
from video.streams.preparation import Preparation

TASK = 8  # frames that a thread encodes before it takes the next ones
AHEAD = 2  # tasks for each thread that are decoded and wait, at most

Encode = Callable[[UInt8[Tensor, "1 channels size size"]], Float[Tensor, "1 features"]]


@dataclass(frozen=True, eq=False)
class EncodedFrame:
    """What the net is told of a frame."""

    index: int
    """Its number in the source."""
    seconds: float
    """Its time."""
    features: Float[Tensor, "shown features"]
    """Its features, as often as the net is shown them."""


@dataclass(frozen=True, eq=False)
class _PreparedFrame:
    index: int
    seconds: float
    shown: int
    pictures: list[UInt8[Tensor, "1 channels size size"]]


def encoded(
    frames: Iterable[Frame], prepare: Preparation, encode: Encode, threads: int = 1
) -> Generator[EncodedFrame]:
    """Yield the frames of a source with their features, in order.

    Args:
        frames: the source; it is read in the thread of the caller, some frames ahead.
        prepare: makes of each frame what the encoder is shown.
        encode: gives the features of one picture; many threads call it at once.
        threads: how many run the encoder.
    """
    source = iter(frames)
    waiting: deque[Future[list[EncodedFrame]]] = deque()
    pool = ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,))
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # OpenMP's own threads would spin on the cores of the encoders
    try:
        while task := [_prepared(frame, prepare) for frame in islice(source, TASK)]:
            waiting.append(pool.submit(_encoded, task, encode))
            if len(waiting) > AHEAD * threads:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(before)


def encoded_frame(frame: Frame, prepare: Preparation, encode: Encode) -> EncodedFrame:
    """Return one frame with its features."""
    return _encoded([_prepared(frame, prepare)], encode)[0]


def _prepared(frame: Frame, prepare: Preparation) -> _PreparedFrame:
    """Return the pictures of a frame: shown again it is another one, in which nothing moves."""
    pictures = [prepare(frame.pixels)[None]]
    if frame.shown > 1 and prepare.config.motion:
        pictures.append(prepare(frame.pixels)[None])
    return _PreparedFrame(frame.index, frame.seconds, frame.shown, pictures)


def _encoded(task: list[_PreparedFrame], encode: Encode) -> list[EncodedFrame]:
    return [EncodedFrame(frame.index, frame.seconds, _features(frame, encode)) for frame in task]


def _features(frame: _PreparedFrame, encode: Encode) -> Float[Tensor, "shown features"]:
    rows = [encode(picture) for picture in frame.pictures]
    rows += [rows[-1]] * (frame.shown - len(rows))
    return torch.cat(rows)
