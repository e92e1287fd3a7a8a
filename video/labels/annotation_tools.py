"""Labels for annotation tools and players: BORIS, ELAN (EAF), subtitles (SRT, WebVTT).

Every function gives the text of a file, to be written as UTF-8. The formats count milliseconds;
times are rounded down, so that no frame comes before the segment it is in.
"""

import html
import math
import mimetypes
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from xml.etree import ElementTree

from video.labels.formats import Span, csv_text, end

EAF = "http://www.mpi.nl/tools/elan/EAFv3.0.xsd"
SCHEMA = "http://www.w3.org/2001/XMLSchema-instance"
NOT_IN_XML = re.compile("[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
BORIS = (
    *("Observation id", "Observation date", "Media file", "Total length", "FPS", "Subject"),
    *("Behavior", "Behavioral category", "Modifiers", "Behavior type", "Start (s)", "Stop (s)"),
    *("Duration (s)", "Comment start", "Comment stop"),
)
"""The columns of BORIS' aggregated events."""


def boris_table(films: Mapping[str, Sequence[Span]]) -> str:
    """Return BORIS' aggregated events of several films, by their file names, all of them states."""
    rows = []
    for film, spans in films.items():
        about = (Path(film).stem, "", film, "", "", "No focal subject")
        for span in _rounded(spans):
            rows.append((*about, span.label, "", "", "STATE", *_three(span), "", ""))
    return csv_text(BORIS, rows)


def boris_csv(
    spans: Sequence[Span], seconds: Sequence[float], media: Path | None, name: str
) -> str:
    """Return BORIS' aggregated events: a row for each bout, all of them states.

    Without a bout there is one row of NA, as BORIS has for an observation without events.

    Args:
        spans: the bouts.
        seconds: time of each frame.
        media: the video, if it is a file; BORIS, too, notes its whole path.
        name: what the source is called.
    """
    length = end(seconds)
    rate = 0.0
    if len(seconds) > 1:
        rate = (len(seconds) - 1) / (seconds[-1] - seconds[0])
    observation = Path(name).stem
    file = name
    if media:
        file = str(media.absolute())
    about = (observation, "", file, f"{length:.3f}", f"{rate:.3f}", "No focal subject")
    rows: list[Sequence[str]] = [
        (*about, span.label, "", "", "STATE", *_three(span), "", "") for span in _rounded(spans)
    ]
    if not rows:
        rows.append([*about, *["NA"] * (len(BORIS) - len(about))])
    return csv_text(BORIS, rows)


def _three(span: Span) -> tuple[str, str, str]:
    return f"{span.start:.3f}", f"{span.end:.3f}", f"{span.end - span.start:.3f}"


def _rounded(spans: Iterable[Span]) -> list[Span]:
    """Return spans in whole milliseconds, rounded down."""
    return [Span(a / 1000, b / 1000, label) for a, b, label in _milliseconds(spans)]


def srt(spans: Sequence[Span]) -> str:
    """Return SubRip subtitles; without escapes, players may take <...> in a label for a tag."""
    cues = _milliseconds(spans)
    return "".join(
        f"{number}\n{_clock(start, ',')} --> {_clock(end, ',')}\n{_line(label)}\n\n"
        for number, (start, end, label) in enumerate(cues, 1)
    )


def vtt(spans: Sequence[Span]) -> str:
    """Return WebVTT subtitles, those of <track> in HTML."""
    cues = _milliseconds(spans)
    return "WEBVTT\n\n" + "".join(
        f"{_clock(start, '.')} --> {_clock(end, '.')}\n{html.escape(_line(label), quote=False)}\n\n"
        for start, end, label in cues
    )


def eaf(
    spans: Sequence[Span], classes: Sequence[str], media: Path | None, multi: bool = False
) -> str:
    """Return an annotation document of ELAN (EAF 3.0).

    It has one tier, "labels", or a tier for each behaviour where several can occur at once. The
    classes are their controlled vocabulary: who corrects a label in ELAN chooses among them.

    Args:
        spans: the segments.
        classes: names of the labels.
        media: the video, which ELAN is to open too; None if it cannot be opened again.
        multi: whether there is a tier for each behaviour.
    """
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
    _add(header, "PROPERTY", str(len(spans)), NAME="lastUsedAnnotationId")
    order = _add(root, "TIME_ORDER")
    tiers: dict[str, Sequence[Span]] = {"labels": spans}
    if multi:
        tiers = {name: [span for span in spans if span.label == name] for name in classes}
    number = 0
    for name, annotations in tiers.items():
        tier = _add(root, "TIER", LINGUISTIC_TYPE_REF="label", TIER_ID=_xml(name))
        for start, stop, label in _milliseconds(annotations):
            number += 1
            _annotation(order, tier, number, (start, stop), _xml(label))
    _vocabulary(root, [_xml(name) for name in classes])
    ElementTree.register_namespace("xsi", SCHEMA)
    ElementTree.indent(root)
    document = ElementTree.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{document}\n'


def _annotation(
    order: ElementTree.Element,
    tier: ElementTree.Element,
    number: int,
    times: tuple[int, int],
    label: str,
) -> None:
    """Add annotation `number`, and the two time slots that it refers to."""
    references = {}
    for n, time in enumerate(times, 1):
        slot = f"ts{2 * number - 2 + n}"
        _add(order, "TIME_SLOT", TIME_SLOT_ID=slot, TIME_VALUE=str(time))
        references[f"TIME_SLOT_REF{n}"] = slot
    parent = _add(tier, "ANNOTATION")
    aligned = _add(parent, "ALIGNABLE_ANNOTATION", ANNOTATION_ID=f"a{number}", **references)
    _add(aligned, "ANNOTATION_VALUE", label)


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
        # Not percent-encoded: ELAN takes what follows for the path as it stands.
        "MEDIA_URL": f"file:///{place}",
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


def _milliseconds(spans: Iterable[Span]) -> list[tuple[int, int, str]]:
    """Return spans in whole milliseconds, of one at least each.

    Where they follow one another none begins before the one before it has ended.
    """
    rounded = []
    before: Span | None = None
    clock = 0
    for span in spans:
        begin = _floor(span.start)
        if before is not None and before.end <= span.start:
            begin = max(clock, begin)
        clock = max(begin + 1, _floor(span.end))
        rounded.append((begin, clock, span.label))
        before = span
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
