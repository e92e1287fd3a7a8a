"""Labels that are hard to export, and readers of what was exported."""

import csv
import html
import io
import re
from xml.etree import ElementTree

import numpy as np
import torch

from video.labels import annotation_tools
from video.labels.formats import spans

AWKWARD = (
    "plain",
    "with, comma",
    'with "quotes"; and semicolon',
    "two\nlines",
    "a < b && c > d --> e",
    "žluťoučký kůň",
    "🏃‍♀️ runs",
    "<b>bold</b> &amp; 'single'",
)
LABELS = torch.tensor([0, 0, 1, 2, 2, 2, 3, 4, 5, 6, 7, 7])


def variable_rate(frames, start=0.0, seed=0):
    """Times of frames between 4 and 120 ms apart."""
    gaps = np.random.default_rng(seed).uniform(0.004, 0.12, frames)
    return (start + np.cumsum(gaps) - gaps[0]).tolist()


def read_srt(text):
    """(start, end, text) of each cue, in seconds, by the grammar of SubRip."""
    clock = r"(\d{2,}):(\d\d):(\d\d),(\d{3})"
    found = []
    for number, block in enumerate(text.split("\n\n")[:-1], 1):
        count, times, line = block.split("\n")
        assert int(count) == number
        match = re.fullmatch(f"{clock} --> {clock}", times)
        assert match
        h1, m1, s1, t1, h2, m2, s2, t2 = map(int, match.groups())
        start, end = ((h1 * 60 + m1) * 60 + s1) * 1000 + t1, ((h2 * 60 + m2) * 60 + s2) * 1000 + t2
        found.append((start / 1000, end / 1000, line))
    return found


def read_vtt(text):
    """The cues of WebVTT as `read_srt` gives them."""
    head, *blocks = text.split("\n\n")[:-1]
    assert head == "WEBVTT"
    numbered = [f"{n}\n{block.replace('.', ',', 2)}" for n, block in enumerate(blocks, 1)]
    cues = read_srt("".join(f"{block}\n\n" for block in numbered))
    assert not any(character in line for _, _, line in cues for character in "<>")
    return [(start, end, html.unescape(line)) for start, end, line in cues]


def read_eaf(text):
    """(start, end, value) of each annotation, in seconds, and the root element."""
    root = ElementTree.fromstring(text.encode())
    slots = {
        slot.attrib["TIME_SLOT_ID"]: int(slot.attrib["TIME_VALUE"])
        for slot in root.iter("TIME_SLOT")
    }
    found = []
    for annotation in root.iter("ALIGNABLE_ANNOTATION"):
        start, end = (slots[annotation.attrib[f"TIME_SLOT_REF{n}"]] / 1000 for n in (1, 2))
        found.append((start, end, annotation.findtext("ANNOTATION_VALUE")))
    return found, root


def read_csv(text):
    return list(csv.reader(io.StringIO(text, newline="")))


def eaf(labels, seconds, classes, media):
    return annotation_tools.eaf(spans(labels, seconds, classes), classes, media)
