"""From frames to the probabilities of their labels: recordings, and live sources as they come.

A net of one direction is given one frame at a time and carries its state on, in recordings as in
live streams. So it does the same sums in both, and says the same of a frame, bit for bit. Frames
that share a matrix product would be rounded otherwise, in the seventh digit, which a net can make
more of over time. A net of two directions begins when the last frame is there; until then the
features of each are kept.
"""

from array import array
from collections.abc import Iterable, Iterator, Sequence
from functools import partial

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from core.cells import State
from video.streams.encoding import EncodedFrame, encoded, encoded_frame
from video.streams.frames import Frame
from video.streams.preparation import Preparation
from video.trained import Trained


class Record:
    """Number, time (seconds) and log p of the frames labelled so far: some bytes for each."""

    def __init__(self, classes: int):
        self._classes = classes
        self._rows = array("d")

    def add(self, index: int, seconds: float, log_p: Float[Tensor, " classes"]) -> None:
        """Add the next frame; Ctrl-C comes before or after, never between its numbers."""
        self._rows.extend((index, seconds, *log_p.tolist()))

    def __len__(self) -> int:
        return len(self._rows) // (self._classes + 2)

    def read(self) -> tuple[list[int], list[float], Float[Tensor, "frames classes"]]:
        """Return numbers, times and log p of all frames."""
        rows = np.array(self._rows).reshape(len(self), self._classes + 2)
        numbers = rows[:, 0].astype(int).tolist()
        return numbers, rows[:, 1].tolist(), torch.from_numpy(rows[:, 2:]).float()


def label_recording(trained: Trained, frames: Iterable[Frame]) -> Record:
    """Label all frames of a source that ends; each of torch's threads encodes some of them."""
    record = Record(len(trained.classes))
    encoded_frames = encode(trained, frames)
    if trained.config.bidirectional:
        _label_whole(trained, encoded_frames, record)
        return record
    state = None
    for frame in encoded_frames:
        log_p, state = _label_frame(trained, frame.features, state)
        record.add(frame.index, frame.seconds, log_p)
    return record


def _label_whole(trained: Trained, frames: Iterable[EncodedFrame], record: Record) -> None:
    """Label frames with a net of two directions, which needs all of them."""
    places = []
    kept = bytearray()  # one block: as many small ones would leave gaps in memory
    for frame in frames:
        kept += frame.features.cpu().numpy().tobytes()
        places.append((frame.index, frame.seconds, len(frame.features)))
    shown = sum(times for _, _, times in places)
    features = torch.frombuffer(kept, dtype=_precision(trained)).view(shown, -1)
    log_p = trained.label(features)[0].cpu()
    last = -1
    for index, seconds, times in places:
        last += times
        record.add(index, seconds, log_p[last])


def follow(
    trained: Trained, frames: Iterable[Frame]
) -> Iterator[tuple[Frame, Float[Tensor, " classes"]]]:
    """Yield each frame as soon as it is labelled, with its log p: for nets of one direction.

    Of a frame that the net is shown several times it is the last log p.
    """
    state = None
    prepare = trained.preparation()
    for frame in frames:
        log_p, state = _label_frame(trained, features_of(trained, frame, prepare), state)
        yield frame, log_p


def _label_frame(
    trained: Trained, features: Float[Tensor, "shown features"], state: State | None
) -> tuple[Float[Tensor, " classes"], State | None]:
    """Return log p of a frame after the last time it is shown, and the state to go on from."""
    *earlier, last = features.split(1)
    for each in earlier:
        _, state = trained.label(each, state)
    log_p, state = trained.label(last, state)
    return log_p[0].cpu(), state


def encode(trained: Trained, frames: Iterable[Frame]) -> Iterator[EncodedFrame]:
    """Yield the frames of a recording with their features, encoded by torch's number of threads."""
    threads = torch.get_num_threads()
    return encoded(frames, trained.preparation(), partial(_features, trained), threads)


def features_of(
    trained: Trained, frame: Frame, prepare: Preparation
) -> Float[Tensor, "shown features"]:
    """Return the encoder's features of a frame, as often as the net is shown it."""
    return encoded_frame(frame, prepare, partial(_features, trained)).features


def _features(
    trained: Trained, picture: UInt8[Tensor, "1 channels size size"]
) -> Float[Tensor, "1 features"]:
    return trained.features(picture).to(_precision(trained))


def nearest(numbers: Sequence[int], times: Sequence[float]) -> Int[Tensor, " frames"]:
    """Return for every frame of a film the row of the labelled frame nearest to it in time.

    Args:
        numbers: which frames of the film were labelled, in order.
        times: the time of every frame of the film.
    """
    every = torch.tensor(times, dtype=torch.float64)
    labelled = every[torch.tensor(numbers)]
    after = torch.searchsorted(labelled, every).clamp(max=len(labelled) - 1)
    before = (after - 1).clamp(min=0)
    closer = (every - labelled[before]).abs() < (labelled[after] - every).abs()
    return torch.where(closer, before, after)


def _precision(trained: Trained) -> torch.dtype:
    """That of the features that the net was trained on: a frozen encoder's are half precision."""
    return torch.float32 if trained.config.trains_encoder else torch.float16
