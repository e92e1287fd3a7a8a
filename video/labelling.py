"""From frames to the probabilities of their labels: recordings, and live sources as they come.

A net of one direction is given one frame at a time and carries its state on, in recordings as in live streams. So
it does the same sums in both, and says the same of a frame, bit for bit. Frames that share a matrix product would
be rounded otherwise, in the seventh digit, which a net can make more of over time. A net of two directions begins
when the last frame is there; until then what the encoder saw in each is kept.
"""

from array import array
from collections.abc import Iterable, Iterator

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from video.reader import Frame
from video.trained import Trained


class Record:
    """Number, time (seconds) and log p of the frames labelled so far: some bytes for each."""

    def __init__(self, classes: int):
        self._classes, self._rows = classes, array("d")

    def add(self, index: int, seconds: float, log_p: Float[Tensor, " classes"]) -> None:
        """Add the next frame; Ctrl-C comes before or after, never between its numbers."""
        self._rows.extend((index, seconds, *log_p.tolist()))

    def __len__(self) -> int:
        return len(self._rows) // (self._classes + 2)

    def read(self) -> tuple[list[int], list[float], Float[Tensor, "frames classes"]]:
        """Return numbers, times and log p of all frames."""
        rows = np.array(self._rows).reshape(len(self), self._classes + 2)
        return (
            rows[:, 0].astype(int).tolist(),
            rows[:, 1].tolist(),
            torch.from_numpy(rows[:, 2:]).float(),
        )


def label_recording(trained: Trained, frames: Iterable[Frame]) -> Record:
    """Label all frames of a source that ends."""
    record = Record(len(trained.classes))
    if not trained.config.bidirectional:
        for frame, log_p in follow(trained, frames):
            record.add(frame.index, frame.seconds, log_p)
        return record
    places, kept = [], bytearray()  # one block: as many small ones would leave gaps in memory
    for frame in frames:
        places.append((frame.index, frame.seconds))
        kept += look(trained, frame).cpu().numpy().tobytes()
    features = torch.frombuffer(kept, dtype=_precision(trained)).view(len(places), -1)
    for (index, seconds), log_p in zip(places, trained.label(features)[0].cpu(), strict=True):
        record.add(index, seconds, log_p)
    return record


def follow(
    trained: Trained, frames: Iterable[Frame]
) -> Iterator[tuple[Frame, Float[Tensor, " classes"]]]:
    """Yield each frame as soon as it is labelled, with its log p: for nets that do not look ahead."""
    state = None
    for frame in frames:
        log_p, state = trained.label(look(trained, frame), state)
        yield frame, log_p[0].cpu()


def look(trained: Trained, frame: Frame) -> Float[Tensor, "1 features"]:
    """Return what the encoder sees in a frame."""
    pixels = trained.encoder.preprocessing(Image.fromarray(frame.pixels))
    return trained.features(pixels[None]).to(_precision(trained))


def _precision(trained: Trained) -> torch.dtype:
    """That of the features that the net was trained on: those of a frozen encoder are kept in half precision."""
    return torch.float32 if trained.config.trains_encoder else torch.float16
