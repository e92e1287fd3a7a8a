"""The strip under the frames of an overlay: labels over time as colours."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8

from video.labels.formats import Span
from video.pictures.drawing import columns, paint
from video.streams.frames import Pixels

RECENT = 30.0  # seconds in the strip if those to come are not known
EMPTY = "#2b2b38"  # the colour where nothing is known
TO_COME = 0.45  # how bright the strip is after the frame
LEAST_LANE = 4  # pixels of the height of a lane


class Strip:
    """Labels over time: of the whole video with a mark at each frame, or of the last half minute.

    Args:
        classes: names of the labels.
        spans: the segments of the whole video, if they are known.
        rate: frames a second.
        multi: whether there is a lane for each class.
    """

    def __init__(
        self, classes: Sequence[str], spans: Sequence[Span], rate: float, *, multi: bool = False
    ):
        self.classes = classes
        self.rate = rate
        self.multi = multi
        self._known = bool(spans)
        self._spans = list(spans)
        self._start = min((span.start for span in spans), default=0.0)
        self._whole: UInt8[np.ndarray, "lanes width 3"] | None = None
        self.end = max((span.end for span in spans), default=0.0)
        """When the last segment ends, if they are known."""

    def draw(self, seconds: float, labels: Sequence[int], width: int, height: int) -> Pixels:
        """Return the strip for a frame; it is as high as its lanes need at least."""
        if self._known:
            if self._whole is None:
                self._whole = self._colours(self._start, self.end, width)
            colours = self._whole.copy()
            share = (seconds - self._start) / max(self.end - self._start, 1e-9)
            mark = round((width - 1) * min(max(share, 0.0), 1.0))
            colours[:, mark:] = colours[:, mark:] * TO_COME
            colours[:, max(0, mark - 2) : mark + 3] = 0
            colours[:, max(0, mark - 1) : mark + 2] = 255
        else:
            start = seconds - RECENT
            end = seconds + 1 / self.rate
            for label in labels:
                self._note(Span(seconds, end, self.classes[label]))
            self._spans = [span for span in self._spans if span.end > start]
            colours = self._colours(start, end, width)
        lane = max(height // len(colours), LEAST_LANE if self.multi else 1)
        strip = np.repeat(colours, lane, 0)
        missing = max(height - len(strip), len(strip) % 2)
        return np.concatenate([strip, np.repeat(strip[-1:], missing, 0)])

    def _colours(self, start: float, end: float, width: int) -> UInt8[np.ndarray, "lanes width 3"]:
        lanes = [self._spans]
        if self.multi:
            lanes = [[span for span in self._spans if span.label == name] for name in self.classes]
        rows = [columns(spans, self.classes, start, end, width) for spans in lanes]
        return np.stack([paint(row, len(self.classes), EMPTY) for row in rows])

    def _note(self, span: Span) -> None:
        """Add what is labelled now; what was labelled in the frame before reaches up to it."""
        if not self.multi:
            if self._spans:
                last = self._spans[-1]
                end = span.end if last.label == span.label else span.start
                self._spans[-1] = last._replace(end=end)
            if not self._spans or self._spans[-1].label != span.label:
                self._spans.append(span)
            return
        for n, last in enumerate(self._spans):
            if last.label == span.label and last.end >= span.start - 1 / self.rate:
                self._spans[n] = last._replace(end=span.end)
                return
        self._spans.append(span)
