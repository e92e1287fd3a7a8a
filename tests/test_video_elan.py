"""Documents for ELAN: their structure, and what XML cannot hold."""

import re
from pathlib import Path

import torch
from exports import AWKWARD, LABELS, eaf, read_eaf, variable_rate

from video.labels.segments import to_segments


def test_eaf_has_the_structure_of_its_schema():
    media = Path("some folder") / "dvě & <tři> #1 100%.mp4"
    text = eaf(LABELS, variable_rate(len(LABELS)), AWKWARD, media)
    assert text.startswith('<?xml version="1.0" encoding="UTF-8"?>\n')
    found, root = read_eaf(text)
    schema = "{http://www.w3.org/2001/XMLSchema-instance}noNamespaceSchemaLocation"
    assert root.attrib.pop(schema) == "http://www.mpi.nl/tools/elan/EAFv3.0.xsd"
    assert root.attrib.keys() == {"AUTHOR", "DATE", "FORMAT", "VERSION"}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d", root.attrib["DATE"])
    assert [child.tag for child in root] == [
        "HEADER", "TIME_ORDER", "TIER", "LINGUISTIC_TYPE", "LANGUAGE", "CONTROLLED_VOCABULARY",
    ]  # fmt: skip
    assert root[0].attrib == {"MEDIA_FILE": "", "TIME_UNITS": "milliseconds"}
    assert root[0][0].attrib == {
        "MEDIA_URL": f"file://{(Path.cwd() / media).as_posix()}",
        "MIME_TYPE": "video/mp4",
        "RELATIVE_MEDIA_URL": f"./{media.name}",
    }
    times = [int(slot.attrib["TIME_VALUE"]) for slot in root[1]]
    assert times == sorted(times)
    assert root[2].attrib == {
        "LINGUISTIC_TYPE_REF": root[3].attrib["LINGUISTIC_TYPE_ID"],
        "TIER_ID": "labels",
    }
    assert root[3].attrib["TIME_ALIGNABLE"] == "true"
    assert root[3].attrib["CONTROLLED_VOCABULARY_REF"] == root[5].attrib["CV_ID"]
    assert [entry[0].text for entry in root[5].findall("CV_ENTRY_ML")] == list(AWKWARD)
    assert {value.attrib["LANG_REF"] for value in root[5].iter("CVE_VALUE")} == {
        root[4].attrib["LANG_ID"]
    }
    names = [
        element.attrib[name]
        for element in root.iter()
        for name in element.attrib
        if name.endswith("_ID")
    ]
    assert len(names) == len(set(names))
    used = [
        reference
        for each in root.iter("ALIGNABLE_ANNOTATION")
        for reference in list(each.attrib.values())[1:]
    ]
    assert used == [slot.attrib["TIME_SLOT_ID"] for slot in root[1]]
    assert len(found) == len(to_segments(LABELS)) == int(root[0].findtext("PROPERTY") or 0)


def test_eaf_without_a_file_to_open():
    _, root = read_eaf(eaf(LABELS, variable_rate(len(LABELS)), AWKWARD, None))
    assert root.find("HEADER/MEDIA_DESCRIPTOR") is None
    _, root = read_eaf(eaf(LABELS, variable_rate(len(LABELS)), AWKWARD, Path("frames of a film")))
    descriptor = root.find("HEADER/MEDIA_DESCRIPTOR")
    assert descriptor is not None
    assert descriptor.attrib["MIME_TYPE"] == "video/*"


def test_characters_that_xml_cannot_hold_are_replaced():
    media = Path("/films/\udcff.mp4")  # a name that is no UTF-8, as Python has it
    found, root = read_eaf(
        eaf(torch.tensor([0, 1]), [0.0, 0.1], ("a\x00b\x1b\ufffe", "line\r\nline\rline"), media)
    )
    assert [label for _, _, label in found] == ["a\ufffdb\ufffd\ufffd", "line\nline\nline"]
    assert root[0][0].attrib["MEDIA_URL"] == "file:///films/\ufffd.mp4"
