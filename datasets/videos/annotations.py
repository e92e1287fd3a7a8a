"""Reads annotations beside videos: ELAN documents (.eaf), and subtitles (.srt, .vtt).

NAME.eaf           the tiers of ELAN; the label is an annotation's text, or else its tier's name
NAME.srt, .vtt     a cue a bout; several labels of one cue stand on lines of their own

Tiers of ELAN that divide or refer to the annotations of another tier have no times of their own:
they are left out, which a warning tells. Linked sound (audio/x-wav) is not taken for the video.
"""

import html
import re
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

from core.errors import InputError
from datasets.text_files import Line, read_text, warn
from datasets.videos.bouts import Bout, Film
from datasets.videos.files import find_video

SUFFIXES = (".eaf", ".srt", ".vtt")
_CUE = re.compile(r"(\S+)\s+-->\s+(\S+)")
_STYLE = re.compile(r"</?(?:[ibucv]|font|ruby|rt|lang)(?=[\s.>])[^>]*>|\{\\[^}]*\}")
_WITHOUT_TIMES = ("Time_Subdivision", "Symbolic_Subdivision", "Symbolic_Association")


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
    for media in _media(document):
        names += _media_names(media)
    for name in names:
        try:
            return find_video(root, name, Line(file, 1))
        except InputError:
            continue
    return find_video(root, file.stem, Line(file, 1))


def _media(document: ElementTree.Element) -> list[ElementTree.Element]:
    """Return the media of a document, but for sound."""
    media = document.iter("MEDIA_DESCRIPTOR")
    return [medium for medium in media if not medium.get("MIME_TYPE", "").startswith("audio/")]


def _media_names(media: ElementTree.Element) -> list[str]:
    """Return the names of files that a document gives for one medium."""
    addresses = [media.get(name, "") for name in ("RELATIVE_MEDIA_URL", "MEDIA_URL")]
    return [address.rpartition("/")[2] for address in addresses if address]


def _origin(document: ElementTree.Element, video: Path, file: Path) -> float:
    """Return the time in the video, in seconds, of the document's time 0 (ELAN's media offset)."""
    media = _media(document)
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
    without_times = _types_without_times(document)
    tiers = [tier for tier in document.iter("TIER") if tier.find("ANNOTATION") is not None]
    left_out = [tier for tier in tiers if tier.get("LINGUISTIC_TYPE_REF") in without_times]
    names = [tier.get("TIER_ID", "") for tier in left_out]
    warn(file, "tiers without times of their own", names)
    for tier in tiers:
        if tier in left_out:
            continue
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


def _types_without_times(document: ElementTree.Element) -> set[str]:
    """Return the linguistic types of tiers that divide or refer to annotations of another tier."""
    return {
        kind.get("LINGUISTIC_TYPE_ID", "")
        for kind in document.iter("LINGUISTIC_TYPE")
        if kind.get("CONSTRAINTS") in _WITHOUT_TIMES
    }


def _cues(file: Path) -> Iterator[Bout]:
    """Yield a bout for each line of each subtitle."""
    lines = read_text(file).split("\n")
    for number, text in enumerate(lines, 1):
        cue = _CUE.search(text)
        if not cue:
            continue
        line = Line(file, number)
        start, end = (_clock(time, line) for time in cue.groups())
        if end < start:
            raise line.error(f"the subtitle ends at {end:g} and begins at {start:g}")
        for text_line in lines[number:]:
            if not text_line.strip():
                break
            if label := _plain(text_line, file.suffix.lower()):
                yield Bout(start, end, label, line)


def _plain(text: str, suffix: str) -> str:
    """Return a line of a subtitle without its style: <i>, <v Anna>, {\\an8}."""
    text = _STYLE.sub("", text)
    if suffix == ".vtt":
        text = html.unescape(text)
    return text.strip()


def _clock(text: str, line: Line) -> float:
    try:
        parts = [float(part) for part in text.replace(",", ".").split(":")]
    except ValueError:
        raise line.error(f"{text!r} is not a time, as in 00:01:02,500") from None
    return sum(part * 60**power for power, part in enumerate(reversed(parts)))
