"""Labels in formats that other tools open: CSV, subtitles (SRT, WebVTT), and annotations for ELAN (EAF).

Every function gives the text of a file, to be written as UTF-8. Times are those of the frames themselves, not
frame numbers over a frame rate: so they hold for videos of variable rate. A segment ends where the next one
begins, the last one the median time between frames after its last frame.

CSV has the shortest decimals that read back as the same number. The other formats count milliseconds; they are
rounded down, so that no frame comes before the segment it is in.
"""

import csv
import html
import io
import math
import mimetypes
import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor

from video.segments import to_segments

FRAME = 0.04  # seconds that the only frame of a video lasts
EAF = "http://www.mpi.nl/tools/elan/EAFv3.0.xsd"
SCHEMA = "http://www.w3.org/2001/XMLSchema-instance"
NOT_IN_XML = re.compile("[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

Labels = Int[Tensor, " frames"]


class Span(NamedTuple):
    """A segment in time, and the name of its label."""

    start: float  # seconds
    end: float  # seconds
    label: str


def spans(labels: Labels, seconds: Sequence[float], classes: Sequence[str]) -> list[Span]:
    """Return the segments of labels in time.

    Args:
        labels: label of each frame.
        seconds: time of each frame, later than that of the frame before.
        classes: names of the labels.

    Raises:
        ValueError: there are not as many times as labels.
    """
    if len(labels) != len(seconds):
        raise ValueError(
            f"{len(labels)} labels at {len(seconds)} times: each frame has one of both"
        )
    if len(labels) == 0:
        return []
    last = float(np.median(np.diff(seconds))) if len(seconds) > 1 else FRAME
    times = [*seconds, seconds[-1] + last]
    return [
        Span(times[start], times[stop], classes[label])
        for label, start, stop in to_segments(labels)
    ]


def frames_csv(
    labels: Labels,
    seconds: Sequence[float],
    classes: Sequence[str],
    probabilities: Float[Tensor, " frames"],
    frames: Sequence[int],
) -> str:
    """Return a row for each frame: frame, seconds, label, probability.

    Args:
        labels: label of each frame.
        seconds: time of each frame.
        classes: names of the labels.
        probabilities: that of each frame's label.
        frames: number of each frame in its video, from 0; not all of them, where a stride left some out.
    """
    columns = zip(frames, seconds, labels.tolist(), probabilities.tolist(), strict=True)
    rows = ((frame, time, classes[label], round(p, 4)) for frame, time, label, p in columns)
    return _csv(("frame", "seconds", "label", "probability"), rows)


def segments_csv(labels: Labels, seconds: Sequence[float], classes: Sequence[str]) -> str:
    """Return a row for each segment: start, end (seconds), label. `datasets.videos` reads it back."""
    return _csv(("start", "end", "label"), spans(labels, seconds, classes))


def srt(labels: Labels, seconds: Sequence[float], classes: Sequence[str]) -> str:
    """Return SubRip subtitles. The format knows no escapes: players may take <...> in a label for a tag."""
    cues = _milliseconds(spans(labels, seconds, classes))
    return "".join(
        f"{number}\n{_clock(start, ',')} --> {_clock(end, ',')}\n{_line(label)}\n\n"
        for number, (start, end, label) in enumerate(cues, 1)
    )


def vtt(labels: Labels, seconds: Sequence[float], classes: Sequence[str]) -> str:
    """Return WebVTT subtitles, those of <track> in HTML."""
    cues = _milliseconds(spans(labels, seconds, classes))
    return "WEBVTT\n\n" + "".join(
        f"{_clock(start, '.')} --> {_clock(end, '.')}\n{html.escape(_line(label), quote=False)}\n\n"
        for start, end, label in cues
    )


def eaf(
    labels: Labels, seconds: Sequence[float], classes: Sequence[str], media: Path | None
) -> str:
    """Return an annotation document of ELAN (EAF 3.0) with one tier, "labels".

    The classes are its controlled vocabulary: who corrects a label in ELAN chooses among them.

    Args:
        labels: label of each frame.
        seconds: time of each frame.
        classes: names of the labels.
        media: the video, which ELAN is to open too; None if it cannot be opened again, e.g. a camera.
    """
    classes = [_xml(name) for name in classes]
    annotations = list(enumerate(_milliseconds(spans(labels, seconds, classes)), 1))
    root = ElementTree.Element(
        "ANNOTATION_DOCUMENT",
        {
            "AUTHOR": "",
            "DATE": datetime.now().astimezone().isoformat(timespec="seconds"),
            "FORMAT": "3.0",
            "VERSION": "3.0",
            f"{{{SCHEMA}}}noNamespaceSchemaLocation": EAF,
        },
    )
    header = _add(root, "HEADER", MEDIA_FILE="", TIME_UNITS="milliseconds")
    if media is not None:
        _add(header, "MEDIA_DESCRIPTOR", **_media(media))
    _add(header, "PROPERTY", str(len(annotations)), NAME="lastUsedAnnotationId")
    order = _add(root, "TIME_ORDER")
    tier = _add(root, "TIER", LINGUISTIC_TYPE_REF="label", TIER_ID="labels")
    for n, (start, end, label) in annotations:
        slots = {f"ts{2 * n - 1}": start, f"ts{2 * n}": end}
        for name, time in slots.items():
            _add(order, "TIME_SLOT", TIME_SLOT_ID=name, TIME_VALUE=str(time))
        references = dict(zip(("TIME_SLOT_REF1", "TIME_SLOT_REF2"), slots, strict=True))
        annotation = _add(
            _add(tier, "ANNOTATION"), "ALIGNABLE_ANNOTATION", ANNOTATION_ID=f"a{n}", **references
        )
        _add(annotation, "ANNOTATION_VALUE", label)
    _vocabulary(root, classes)
    ElementTree.register_namespace("xsi", SCHEMA)
    ElementTree.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ElementTree.tostring(root, encoding="unicode")}\n'


def _vocabulary(root: ElementTree.Element, classes: Sequence[str]) -> None:
    """The type of the tier: labels of a controlled vocabulary, which EAF wants in some language."""
    use = {
        "CONTROLLED_VOCABULARY_REF": "classes",
        "GRAPHIC_REFERENCES": "false",
        "TIME_ALIGNABLE": "true",
    }
    _add(root, "LINGUISTIC_TYPE", LINGUISTIC_TYPE_ID="label", **use)
    undetermined = "http://cdb.iso.org/lg/CDB-00130975-001"
    _add(root, "LANGUAGE", LANG_DEF=undetermined, LANG_ID="und", LANG_LABEL="undetermined (und)")
    vocabulary = _add(root, "CONTROLLED_VOCABULARY", CV_ID="classes")
    _add(vocabulary, "DESCRIPTION", LANG_REF="und")
    for n, name in enumerate(classes):
        entry = _add(vocabulary, "CV_ENTRY_ML", CVE_ID=f"class{n}")
        _add(entry, "CVE_VALUE", name, DESCRIPTION="", LANG_REF="und")


def _media(path: Path) -> dict[str, str]:
    """Where ELAN looks for a video: at its place, then beside the document."""
    place = _xml(path.absolute().as_posix()).lstrip("/")
    return {
        "MEDIA_URL": f"file:///{place}",  # not percent-encoded: ELAN takes the rest for the path as it stands
        "MIME_TYPE": mimetypes.guess_type(path.name)[0] or "video/*",
        "RELATIVE_MEDIA_URL": f"./{_xml(path.name)}",
    }


def _add(
    parent: ElementTree.Element, tag: str, text: str | None = None, **attributes: str
) -> ElementTree.Element:
    """A new last child."""
    child = ElementTree.SubElement(parent, tag, attributes)
    child.text = text
    return child


def _xml(text: str) -> str:
    """Text rid of what XML cannot hold."""
    return NOT_IN_XML.sub("\ufffd", re.sub("\r\n?", "\n", text))


def _milliseconds(found: Iterable[Span]) -> list[tuple[int, int, str]]:
    """Spans in whole milliseconds, of one at least each."""
    rounded, clock = [], 0
    for start, end, label in found:
        begin = max(clock, _floor(start))
        clock = max(begin + 1, _floor(end))
        rounded.append((begin, clock, label))
    return rounded


def _floor(seconds: float) -> int:
    """Whole milliseconds; a nanosecond more, because 0.57 * 1000 is a little less than 570."""
    return math.floor(seconds * 1000 + 1e-6)


def _clock(milliseconds: int, point: str) -> str:
    """HH:MM:SS and thousandths; of hours as many digits as it takes."""
    seconds, thousandths = divmod(milliseconds, 1000)
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}{point}{thousandths:03}"


def _line(label: str) -> str:
    """A label on one line: an empty one would end its cue."""
    return " ".join(label.split())


def _csv(heading: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(heading)
    writer.writerows(rows)
    return file.getvalue()
