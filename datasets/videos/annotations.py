"""Reads annotations beside videos: ELAN documents (.eaf), and subtitles (.srt, .vtt).

NAME.eaf           the tiers of ELAN; the label is an annotation's text, or else its tier's name
NAME.srt, .vtt     a cue a bout; several labels of one cue stand on lines of their own
"""

import html
import re
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

from core.errors import InputError
from datasets.text_files import Line, read_text
from datasets.videos.bouts import Bout, Film
from datasets.videos.files import find_video

SUFFIXES = (".eaf", ".srt", ".vtt")
_CUE = re.compile(r"(\S+)\s+-->\s+(\S+)")
_STYLE = re.compile(r"</?(?:[ibucv]|font|ruby|rt|lang)\b[^>]*>|\{\\[^}]*\}")


def read(file: Path, root: Path) -> Film:
    """Return the film that a document annotates, looked for by the document's own name.

    Raises:
        InputError: the document is damaged, or no video has its name (or that which ELAN noted).
    """
    line = Line(file, 1)
    name = file.name.removesuffix(file.suffix)
    if file.suffix.lower() != ".eaf":
        return Film(name, "all", line, list(_cues(file)), find_video(root, name, line))
    document = _document(file)
    video = _video(document, root, file)
    bouts = list(_annotations(document, file, _origin(document, video, file)))
    return Film(name, "all", line, bouts, video)


def _document(file: Path) -> ElementTree.Element:
    text = read_text(file)
    if "<!DOCTYPE" in text or "<!ENTITY" in text:  # may unfold to any size
        raise InputError(f"{file}: a document type is declared, which ELAN does not do")
    try:
        return ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise InputError(f"{file}: not the XML of an ELAN document ({error})") from None


def _video(document: ElementTree.Element, root: Path, file: Path) -> Path:
    """Return the video that has the document's name, or the name that the document states."""
    names = [file.stem]
    for media in document.iter("MEDIA_DESCRIPTOR"):
        names += _media_names(media)
    for name in names:
        try:
            return find_video(root, name, Line(file, 1))
        except InputError:
            continue
    return find_video(root, file.stem, Line(file, 1))


def _media_names(media: ElementTree.Element) -> list[str]:
    """Return the names of files that a document gives for one medium."""
    addresses = [media.get(name, "") for name in ("RELATIVE_MEDIA_URL", "MEDIA_URL")]
    return [address.rpartition("/")[2] for address in addresses if address]


def _origin(document: ElementTree.Element, video: Path, file: Path) -> float:
    """Return the seconds of a video at time 0 of its document, to which media are shifted."""
    media = list(document.iter("MEDIA_DESCRIPTOR"))
    media = [one for one in media if video.name in _media_names(one)] or media
    origin = media[0].get("TIME_ORIGIN", "0") if media else "0"
    if not origin.isdecimal():
        raise InputError(f"{file}: TIME_ORIGIN is not a number of milliseconds: {origin!r}")
    return int(origin) / 1000


def _annotations(document: ElementTree.Element, file: Path, origin: float) -> Iterator[Bout]:
    """Yield the annotations of all tiers, `origin` seconds later."""
    slots = {
        slot.get("TIME_SLOT_ID"): slot.get("TIME_VALUE") for slot in document.iter("TIME_SLOT")
    }
    for tier in document.iter("TIER"):
        name = tier.get("TIER_ID", "")
        for annotation in tier.iter("ALIGNABLE_ANNOTATION"):
            label = (annotation.findtext("ANNOTATION_VALUE") or "").strip() or name
            times = [slots.get(annotation.get(f"TIME_SLOT_REF{n}")) for n in (1, 2)]
            where = f"{file}: annotation {annotation.get('ANNOTATION_ID')} of tier {name}"
            if not all(time and time.isdecimal() for time in times):
                raise InputError(f"{where}: has no times; set them in ELAN")
            start, end = (int(time or 0) / 1000 for time in times)
            if end < start:
                raise InputError(f"{where}: ends at {end:g} and begins at {start:g}")
            yield Bout(start + origin, end + origin, label, Line(file, 1))


def _cues(file: Path) -> Iterator[Bout]:
    """Yield a bout for each line of each subtitle."""
    lines = read_text(file).split("\n")
    for number, text in enumerate(lines, 1):
        cue = _CUE.search(text)
        if not cue:
            continue
        line = Line(file, number)
        start, end = (_clock(time, line) for time in cue.groups())
        for label in lines[number:]:
            if not label.strip():
                break
            yield Bout(start, end, _plain(label, file.suffix.lower()), line)


def _plain(text: str, suffix: str) -> str:
    """Return a line of a subtitle without its style: <i>, <v Anna>, {\\an8}."""
    text = _STYLE.sub("", text).strip()
    return html.unescape(text) if suffix == ".vtt" else text


def _clock(text: str, line: Line) -> float:
    try:
        parts = [float(part) for part in text.replace(",", ".").split(":")]
    except ValueError:
        raise line.error(f"{text!r} is not a time, as in 00:01:02,500") from None
    return sum(part * 60**power for power, part in enumerate(reversed(parts)))
