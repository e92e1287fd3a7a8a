"""Labels as tables and JSON.

Spreadsheets open the tables; `datasets.videos.labelled` reads those of frames, of segments and of 0
and 1 again. Every function gives the text of a file, to be written as UTF-8. Times are those of
the frames themselves, not frame numbers over a frame rate: so they hold for videos of variable
rate. A segment ends where the next one begins, the last one the median time between frames after
its last frame.
"""

import csv
import io
import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from core import files
from video.labels.segments import Segment, to_segments

FRAME = 0.04  # seconds that the only frame of a video lasts

Labels = Int[Tensor, " frames"] | Int[Tensor, "frames classes"]


class Span(NamedTuple):
    """A segment in time, and the name of its label."""

    start: float  # seconds
    end: float  # seconds
    label: str


def spans(labels: Labels, seconds: Sequence[float], classes: Sequence[str]) -> list[Span]:
    """Return the segments of labels in time, by their start.

    Args:
        labels: label of each frame, or 0 and 1 for each class.
        seconds: time of each frame, later than that of the frame before.
        classes: names of the labels.

    Raises:
        ValueError: there are not as many times as labels.
    """
    if len(labels) != len(seconds):
        counts = f"{len(labels)} labels at {len(seconds)} times"
        raise ValueError(f"{counts}: each frame has one of both")
    if len(labels) == 0:
        return []
    times = [*seconds, end(seconds)]
    return [
        Span(times[segment.start], times[segment.stop], classes[segment.label])
        for segment in segments(labels)
    ]


def segments(labels: Labels) -> list[Segment]:
    """Return the segments of labels by their start: runs of one label, or those of each class."""
    if labels.ndim == 1:
        return to_segments(labels)
    found = []
    for n in range(labels.shape[1]):
        runs = to_segments(labels[:, n])
        found += [run._replace(label=n) for run in runs if run.label]
    return sorted(found, key=lambda segment: (segment.start, segment.label))


def end(seconds: Sequence[float]) -> float:
    """Return when the last frame ends: the median time between frames after it, in seconds."""
    last = float(np.median(np.diff(seconds))) if len(seconds) > 1 else FRAME
    return seconds[-1] + last


def frames_csv(
    labels: Labels,
    seconds: Sequence[float],
    classes: Sequence[str],
    log_p: Float[Tensor, "frames classes"],
    numbers: Sequence[int] | None = None,
) -> str:
    """Return a row for each frame: frame, seconds, label, probability of the label.

    Where several behaviours can occur at once, the label is all that occur, joined by " + ", and
    the probability that of the least certain one. `numbers` are those of the frames in their
    source; by default 0, 1, 2, ...
    """
    if labels.ndim == 1:
        names = [classes[n] for n in labels.tolist()]
        p = log_p.gather(1, labels[:, None])[:, 0].exp()
    else:
        names = [" + ".join(_occurring(row, classes)) for row in labels.tolist()]
        right = torch.where(labels == 1, log_p.exp(), 1 - log_p.exp())
        p = right.amin(1)
    if numbers is None:
        numbers = range(len(seconds))
    rounded = [round(probability, 4) for probability in p.tolist()]
    rows = zip(numbers, seconds, names, rounded, strict=True)
    return csv_text(("frame", "seconds", "label", "probability"), rows)


def segments_csv(spans: Iterable[Span]) -> str:
    """Return a row for each segment: start, end (seconds, to the millisecond), label.

    Times are rounded down, so that no frame comes before the segment it is in.
    """
    rows = [
        (_to_milliseconds(span.start), _to_milliseconds(span.end), span.label) for span in spans
    ]
    return csv_text(("start", "end", "label"), rows)


def onehot_csv(labels: Labels, classes: Sequence[str], numbers: Sequence[int] | None = None) -> str:
    """Return a row for each frame: frame, then 0 or 1 for each class; numbers as `frames_csv`."""
    if labels.ndim == 1:
        labels = (labels[:, None] == torch.arange(len(classes))).long()
    if numbers is None:
        numbers = range(len(labels))
    rows = ((number, *row) for number, row in zip(numbers, labels.tolist(), strict=True))
    return csv_text(("frame", *classes), rows)


def probabilities_csv(
    seconds: Sequence[float],
    classes: Sequence[str],
    log_p: Float[Tensor, "frames classes"],
    numbers: Sequence[int] | None = None,
) -> str:
    """Return a row for each frame: frame, seconds, then the probability of each class.

    Numbers are as in `frames_csv`.
    """
    if numbers is None:
        numbers = range(len(seconds))
    rows = (
        (number, time, *(round(value, 4) for value in row))
        for number, time, row in zip(numbers, seconds, log_p.exp().tolist(), strict=True)
    )
    return csv_text(("frame", "seconds", *classes), rows)


def to_json(name: str, spans: Iterable[Span], classes: Sequence[str], length: float) -> str:
    """Return the segments as JSON, with the names of all classes."""
    bouts = [
        {"start": round(span.start, 3), "end": round(span.end, 3), "label": span.label}
        for span in spans
    ]
    content = {"video": name, "seconds": round(length, 3), "classes": list(classes), "bouts": bouts}
    return files.to_json(content, indent=2) + "\n"


def csv_text(heading: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table as comma-separated values."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(heading)
    writer.writerows(rows)
    return file.getvalue()


def _occurring(row: Sequence[int], classes: Sequence[str]) -> list[str]:
    return [name for name, occurs in zip(classes, row, strict=True) if occurs == 1]


def _to_milliseconds(seconds: float) -> str:
    """Return seconds with three decimals, rounded down but for what floating point lost."""
    return f"{math.floor(seconds * 1000 + 1e-6) / 1000:.3f}"
