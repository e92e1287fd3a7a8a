"""A label for every frame of your videos, cameras and streams.

    uv run video label film.mp4                                  # its segments
    uv run video label films/*.mp4 --csv --srt --eaf             # labels/NAME.frames.csv, labels/NAME.srt, ...
    uv run video label film.mp4 --overlay out.webm --timeline out.png
    uv run video label 0                                         # a camera: a line when the label changes

Exit codes: 0 all sources are labelled; 1 some could not be, told in a line each; 2 none, or bad arguments. Ctrl-C
ends a live source: what was labelled until then is written.
"""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import numpy as np

from core.errors import InputError
from core.files import replace, writing
from core.training import cli, devices
from core.training.config import require_at_least, require_share
from video.arguments import Label
from video.drawing import timeline
from video.evaluate import decide
from video.formats import Span
from video.labelling import Record, follow, label_recording
from video.latest import Latest
from video.outputs import Labelled, name_outputs, tell, write
from video.overlay import CODES, Overlay
from video.reader import Frame, Frames, open_source
from video.trained import DEFAULT, Trained, open_model

PATIENCE = 10.0  # seconds between two lines about skipped frames


def main(arguments: Label) -> None:
    """Label every source, and print what is in it."""
    device = devices.select(arguments.device, arguments.threads)
    _check(arguments)
    trained, _ = open_model(arguments.run or DEFAULT, device)
    failed, names = 0, name_outputs(arguments.sources)
    for source, name in names.items():
        try:
            with _opened(source, trained, arguments) as frames:
                live = frames.live
                labelled = (
                    _follow(frames, trained, arguments)
                    if live
                    else _label(source, frames, trained, arguments)
                )
            written = _finish(labelled, source, name, arguments)
            cli.say(f"{labelled.name}: {labelled.summary()}")
            if written:
                cli.say(f"    written: {', '.join(map(str, written))}")
            elif not live:  # whose segments were told as they came
                tell(labelled.spans)
        except InputError as error:
            failed += 1
            _remark(str(error))
    if failed:
        raise SystemExit(1 if failed < len(names) else 2)


def _check(arguments: Label) -> None:
    """Complain of what is wrong before work begins, and make the folders to write to."""
    if not arguments.sources:
        raise InputError("nothing to label: name files, folders of frames, addresses or cameras")
    require_at_least(1, arguments, "shortest")
    require_share(arguments, "staying")
    for flag, path, suffixes in (
        ("--overlay", arguments.overlay, tuple(CODES)),
        ("--timeline", arguments.timeline, (".png",)),
    ):
        if path and path.suffix.lower() not in suffixes:
            raise InputError(
                f"{flag} takes the name of a {' or '.join(suffixes)} file to write, not {path}"
            )
        if path and len(set(arguments.sources)) > 1:
            raise InputError(f"{flag} is one file: label one source at a time")
        if (
            path
            and path.exists()
            and os.path.exists(arguments.sources[0])
            and path.samefile(arguments.sources[0])
        ):
            raise InputError(f"{flag} {path} would replace the source itself: choose another name")
    for folder in (
        arguments.out if arguments.kinds else None,
        arguments.overlay and arguments.overlay.parent,
        arguments.timeline and arguments.timeline.parent,
    ):
        if folder:
            with writing(folder):
                folder.mkdir(parents=True, exist_ok=True)


@contextmanager
def _opened(source: str, trained: Trained, arguments: Label) -> Iterator[Frames]:
    """The frames of a source that the net can label; closed afterwards, and what the reader remarks printed."""
    frames = open_source(source, stride=trained.config.stride, live=arguments.live)
    try:
        if frames.live and trained.config.bidirectional:
            raise InputError(
                f"{frames.name}: a net of two directions must see the end first, and this is live"
            )
        if frames.live and (arguments.shortest > 1 or arguments.staying):
            raise InputError(
                f"{frames.name}: --shortest and --staying need the whole video, and this is live"
            )
        yield frames
    finally:
        frames.close()
    for remark in frames.remarks:
        _remark(remark)


def _label(source: str, frames: Frames, trained: Trained, arguments: Label) -> Labelled:
    numbers, seconds, log_p = label_recording(trained, _counted(frames)).read()
    labels = decide(log_p, arguments.shortest, arguments.staying)
    labelled = Labelled(frames.name, trained.classes, numbers, seconds, labels, log_p)
    if arguments.overlay:
        again = open_source(source, stride=trained.config.stride)  # the pictures were not kept
        with Overlay(arguments.overlay, frames.rate, trained.classes, labelled.spans) as overlay:
            for frame, label in zip(_counted(again), labels.tolist(), strict=False):
                overlay.write(frame, label)
        again.close()
    return labelled


def _follow(frames: Frames, trained: Trained, arguments: Label) -> Labelled:
    """Label the newest frame each time, and print a line when the label changes: until the source ends, or Ctrl-C."""
    record, classes, current, told = Record(len(trained.classes)), trained.classes, -1, -PATIENCE
    nothing = Frame(0, 0.0, np.zeros((*frames.size, 3), np.uint8))
    next(follow(trained, [nothing]))  # the first time takes longest: before frames come in
    latest = Latest(frames)
    with (
        Overlay(arguments.overlay, frames.rate, classes)
        if arguments.overlay
        else nullcontext() as overlay
    ):
        try:
            for frame, log_p in follow(trained, latest):
                record.add(frame.index, frame.seconds, log_p)
                label = int(log_p.argmax())
                if label != current:
                    tell([Span(frame.seconds, frame.seconds, classes[label])])
                current = label
                if overlay:
                    overlay.write(frame, label)
                if latest.skipped and time.monotonic() > told + PATIENCE:
                    told = time.monotonic()
                    _remark(_skipped(frames, latest, record))
        except KeyboardInterrupt:
            pass  # the way to end it
        except InputError as error:  # what came before is not lost
            _remark(str(error))
        finally:
            latest.close()
    if not len(record):
        raise InputError(f"{frames.name}: ended before a frame was labelled")
    if latest.skipped:
        _remark(_skipped(frames, latest, record))
    numbers, seconds, log_p = record.read()
    return Labelled(frames.name, classes, numbers, seconds, decide(log_p), log_p)


def _skipped(frames: Frames, latest: Latest, record: Record) -> str:
    return f"{frames.name}: skipped {latest.skipped} of {latest.skipped + len(record)} frames to keep up"


def _finish(labelled: Labelled, source: str, name: str, arguments: Label) -> list[Path]:
    """Write the files that were asked for; return them."""
    media = Path(source) if os.path.isfile(source) else None
    written = write(labelled, arguments.kinds, arguments.out / name, media)
    if arguments.timeline:
        title = Path(labelled.name).name
        replace(arguments.timeline, timeline({"labels": labelled.spans}, labelled.classes, title))
    return written + [path for path in (arguments.timeline, arguments.overlay) if path]


def _counted(frames: Frames) -> Iterator[Frame]:
    """The frames, and on a terminal how many there were so far."""
    if not sys.stderr.isatty():
        return frames
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import track

    return iter(track(frames, escape(frames.name), console=Console(stderr=True), transient=True))


def _remark(line: str) -> None:
    print(f"video label: {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    raise SystemExit(cli.script("video label"))
