"""A label for every frame of your videos, cameras and streams.

    uv run video label film.mp4                                  # its segments
    uv run video label films/*.mp4 --csv --boris --eaf           # labels/NAME.frames.csv, ...
    uv run video label film.mp4 --overlay out.webm --timeline out.png
    uv run video label film.mp4 --review page.html               # correct it in a browser
    uv run video label 0                                         # a camera: a line at each change

Exit codes: 0 all sources are labelled; 1 some could not be, told in a line each; 2 none, or bad
arguments. Ctrl-C ends a live source: what was labelled until then is written.
"""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from core.errors import InputError
from core.files import make_folder, replace, require_apart, require_free
from core.training import cli, devices
from core.training.config import require_at_least, require_positive, require_share
from video.arguments import Label
from video.labels.decisions import decide
from video.labels.live import follow_live, remark
from video.labels.outputs import Labelled, name_outputs, paths, tell, write
from video.labels.probabilities import label_recording, nearest
from video.pictures import review
from video.pictures.drawing import timeline
from video.pictures.overlay import CODES, Overlay
from video.streams.frames import Frames
from video.streams.progress import FrameProgress, stated_frames
from video.streams.reader import open_source
from video.trained import DEFAULT, Trained, open_model


def main(arguments: Label) -> None:
    """Label every source, and print what is in it."""
    device = devices.select(arguments.device, arguments.threads)
    cli.require_no_run(arguments.sources)
    names = name_outputs(arguments.sources)
    _check(arguments, names)
    trained, _ = open_model(arguments.run or DEFAULT, device)
    if arguments.run is None:
        remark("the included model knows moving sprites only; --run RUN takes one of yours")
    cli.for_each("video label", names.items(), partial(_one, trained, arguments))


def _one(trained: Trained, arguments: Label, item: tuple[str, str]) -> None:
    """Label one source, write its files and print what is in it."""
    source, name = item
    with _opened(source, trained, arguments) as frames:
        live = frames.live
        if live:
            labelled = follow_live(frames, trained, arguments.overlay)
        else:
            labelled = _label(source, frames, trained, arguments)
    written = _finish(labelled, source, name, arguments)
    cli.say(f"{labelled.name}: {labelled.summary()}")
    if written:
        cli.say(f"    written: {', '.join(map(str, written))}")
    elif not live:  # whose segments were told as they came
        tell(labelled.spans)


def _check(arguments: Label, names: dict[str, str]) -> None:
    """Complain of what is wrong before work begins, and make the folders to write to."""
    if not arguments.sources:
        raise InputError("nothing to label: name files, folders of frames, addresses or cameras")
    require_at_least(1, arguments, "shortest")
    require_share(arguments, "self_transition")
    require_positive(arguments, "fps")
    outputs = [
        path for name in names.values() for path in paths(arguments.kinds, arguments.out / name)
    ]
    for flag, path, suffixes in (
        ("--overlay", arguments.overlay, tuple(CODES)),
        ("--timeline", arguments.timeline, (".png",)),
        ("--review", arguments.review, (".html",)),
    ):
        if path is None:
            continue
        if path.suffix.lower() not in suffixes:
            kinds = " or ".join(suffixes)
            raise InputError(f"{flag} takes the name of a {kinds} file to write, not {path}")
        if len(names) > 1:
            raise InputError(f"{flag} is one file: label one source at a time")
        outputs.append(path)
    inputs = [Path(source) for source in names if os.path.lexists(source)]
    inputs += [path for folder in inputs if folder.is_dir() for path in folder.iterdir()]
    for path in outputs:
        require_apart(path, inputs)
        make_folder(path.parent)
        require_free(path, arguments.overwrite)


@contextmanager
def _opened(source: str, trained: Trained, arguments: Label) -> Iterator[Frames]:
    """Give the frames of a source that the net can label; then print what the reader remarks."""
    frames = open_source(
        source,
        stride=trained.config.stride,
        shown_rate=trained.rate,
        rate=arguments.fps,
        live=arguments.live,
    )
    try:
        if frames.live and trained.config.bidirectional:
            reason = "a net of two directions must see the end first, and this is live"
            raise InputError(f"{frames.name}: {reason}")
        if frames.live and (arguments.shortest > 1 or arguments.self_transition):
            reason = "--shortest and --self-transition need the whole video, and this is live"
            raise InputError(f"{frames.name}: {reason}")
        if frames.live and arguments.review:
            raise InputError(f"{frames.name}: --review is for files, and this is live")
        if frames.resamples:
            shown = f"frames are chosen by time, {trained.rate:g} a second as in training"
            remark(f"{frames.name}: {frames.rate:.5g} frames a second; {shown}")
        yield frames
    finally:
        frames.close()
    for line in frames.remarks:
        remark(line)


def _label(source: str, frames: Frames, trained: Trained, arguments: Label) -> Labelled:
    """Label a recording; frames that the net was not shown have the label of the nearest one."""
    with _progress(source, "labelled") as progress:
        numbers, _, log_p = label_recording(trained, progress.watch(frames)).read()
    times = frames.times.tolist()
    rows = nearest(numbers, times)
    decided = decide(log_p, arguments.shortest, arguments.self_transition, trained.thresholds)
    labels = decided[rows]
    background = trained.config.background
    labelled = Labelled(frames.name, trained.classes, times, labels, log_p[rows], background)
    if arguments.overlay:
        _draw(source, frames.rate, labelled, arguments)
    return labelled


def _draw(source: str, rate: float, labelled: Labelled, arguments: Label) -> None:
    """Write the overlay; the frames are read again, as they were not kept."""
    assert arguments.overlay is not None
    again = open_source(source, rate=arguments.fps)
    flags = {"multi": labelled.multi}
    with (
        _progress(source, "drawn") as progress,
        Overlay(arguments.overlay, rate, labelled.classes, labelled.spans, **flags) as overlay,
    ):
        for frame in progress.watch(again):
            if frame.index < len(labelled.labels):
                overlay.write(frame, *_numbers(labelled, frame.index))
    again.close()
    if overlay.cut:
        held = "a frame is held for a minute at most"
        remark(f"{arguments.overlay}: {overlay.cut:.0f} s shorter than the film, as {held}")


def _numbers(labelled: Labelled, frame: int) -> Sequence[int]:
    """Return the labels of a frame."""
    if labelled.multi:
        return labelled.labels[frame].nonzero()[:, 0].tolist()
    return [int(labelled.labels[frame])]


def _finish(labelled: Labelled, source: str, name: str, arguments: Label) -> list[Path]:
    """Write the files that were asked for; return them."""
    media = Path(source) if os.path.isfile(source) else None
    written = write(labelled, arguments.kinds, arguments.out / name, media)
    if arguments.timeline:
        title = Path(labelled.name).name
        rows = {"labels": labelled.spans}
        if labelled.multi:
            rows = {
                name: [span for span in labelled.spans if span.label == name]
                for name in labelled.classes
            }
        limits = (labelled.seconds[0], labelled.end)
        replace(arguments.timeline, timeline(rows, labelled.classes, title, limits=limits))
    if arguments.review:
        review.write(arguments.review, labelled, source, arguments.fps)
    drawn = (arguments.timeline, arguments.overlay, arguments.review)
    return written + [path for path in drawn if path]


def _progress(source: str, verb: str) -> FrameProgress:
    return FrameProgress(stated_frames([Path(source)]), verb, sys.stderr)


if __name__ == "__main__":
    raise SystemExit(cli.script("video label"))
