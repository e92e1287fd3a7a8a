"""Labels a live source: the newest frame each time, and a line whenever the labels change."""

import sys
import time
from contextlib import nullcontext
from pathlib import Path

import numpy as np

from core.errors import InputError
from video.labels.decisions import decide
from video.labels.formats import Span
from video.labels.outputs import Labelled, tell
from video.labels.probabilities import Record, follow
from video.pictures.overlay import NOTHING, Overlay
from video.streams.frames import Frame, Frames
from video.streams.latest import Latest
from video.trained import Trained

PATIENCE = 10.0  # seconds between two lines about skipped frames


def follow_live(frames: Frames, trained: Trained, overlay: Path | None) -> Labelled:
    """Label a source until it ends, or Ctrl-C.

    Args:
        frames: the source.
        trained: the net.
        overlay: the video to draw, if any.

    Raises:
        InputError: the source ended before a frame was labelled.
    """
    record = Record(len(trained.classes))
    classes = trained.classes
    nothing = Frame(0, 0.0, np.zeros((*frames.size, 3), np.uint8))
    next(follow(trained, [nothing]))  # the first time takes longest: before frames come in
    latest = Latest(frames)
    drawn = nullcontext()
    if overlay:
        drawn = Overlay(overlay, frames.rate, classes, multi=trained.multi)
    current: list[int] | None = None
    last_remark = -PATIENCE
    with drawn as video:
        try:
            for frame, log_p in follow(trained, latest):
                record.add(frame.index, frame.seconds, log_p)
                decided = decide(log_p[None], thresholds=trained.thresholds)[0]
                labels = decided.nonzero()[:, 0].tolist() if trained.multi else [int(decided)]
                if labels != current:
                    name = " + ".join(classes[label] for label in labels) or NOTHING
                    tell([Span(frame.seconds, frame.seconds, name)])
                current = labels
                if video:
                    video.write(frame, *labels)
                if latest.skipped and time.monotonic() > last_remark + PATIENCE:
                    last_remark = time.monotonic()
                    remark(_skipped(frames, latest, record))
        except KeyboardInterrupt:
            pass  # the way to end it
        except InputError as error:  # what came before is not lost
            remark(str(error))
        finally:
            latest.close()
    if not len(record):
        raise InputError(f"{frames.name}: ended before a frame was labelled")
    if latest.skipped:
        remark(_skipped(frames, latest, record))
    numbers, seconds, log_p = record.read()
    labels = decide(log_p, thresholds=trained.thresholds)
    background = trained.config.background
    return Labelled(frames.name, classes, seconds, labels, log_p, background, numbers)


def remark(line: str) -> None:
    """Print a line on standard error."""
    print(f"video label: {line}", file=sys.stderr, flush=True)


def _skipped(frames: Frames, latest: Latest, record: Record) -> str:
    whole = latest.skipped + len(record)
    return f"{frames.name}: skipped {latest.skipped} of {whole} frames to keep up"
