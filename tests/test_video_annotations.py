"""Labels as ELAN and subtitles have them."""

import pytest
from pympi.Elan import Eaf
from scored import films, written
from videos import text

from core.errors import InputError
from datasets.videos import labelled


def test_tiers_of_elan(tmp_path):
    films(tmp_path)
    for name in "abc":
        document = Eaf()
        for tier, start, end, value in (
            ("walk", 500, 1000, ""),
            ("head", 800, 1200, "nod"),
            ("head", 1200, 1300, "shake"),
        ):
            if tier not in document.get_tier_names():
                document.add_tier(tier)
            document.add_annotation(tier, start, end, value)
        document.to_file(str(tmp_path / f"{name}.eaf"))
    splits = labelled.load(tmp_path)
    assert (splits.classes, splits.multi) == (("nod", "shake", "walk"), True)
    assert written(splits, "a") == "- - - - - w w w nw nw n n s - - - - - - -"


def test_media_that_were_shifted_in_elan(tmp_path):
    films(tmp_path)
    for name, origin in (("a", 300), ("b", None), ("c", 1500)):
        document = Eaf()
        document.add_linked_file(f"file:///films/{name}-front.mp4", f"./{name}-front.mp4")
        document.add_linked_file(f"file:///films/{name}.mp4", f"./{name}.mp4", time_origin=origin)
        document.add_tier("walk")
        document.add_annotation("walk", 0, 200)
        document.to_file(str(tmp_path / f"{name}.eaf"))
    splits = labelled.load(tmp_path)
    assert written(splits, "a") == "bbbwwbbbbbbbbbbbbbbb"
    assert written(splits, "b") == "wwbbbbbbbbbbbbbbbbbb"
    assert written(splits, "c") == "bbbbbbbbbbbbbbbwwbbb"


DEPENDENT = """<ANNOTATION_DOCUMENT>
<HEADER><MEDIA_DESCRIPTOR MIME_TYPE="audio/x-wav" RELATIVE_MEDIA_URL="./a.wav" TIME_ORIGIN="900"/>
<MEDIA_DESCRIPTOR MIME_TYPE="video/mp4" RELATIVE_MEDIA_URL="./a.mp4"/></HEADER>
<TIME_ORDER><TIME_SLOT TIME_SLOT_ID="t1" TIME_VALUE="500"/><TIME_SLOT TIME_SLOT_ID="t2"/>
<TIME_SLOT TIME_SLOT_ID="t3" TIME_VALUE="1000"/></TIME_ORDER>
<TIER TIER_ID="walk" LINGUISTIC_TYPE_REF="plain"><ANNOTATION>
<ALIGNABLE_ANNOTATION ANNOTATION_ID="a1" TIME_SLOT_REF1="t1" TIME_SLOT_REF2="t3"/>
</ANNOTATION></TIER>
<TIER TIER_ID="steps" LINGUISTIC_TYPE_REF="divided"><ANNOTATION>
<ALIGNABLE_ANNOTATION ANNOTATION_ID="a2" TIME_SLOT_REF1="t1" TIME_SLOT_REF2="t2"/>
</ANNOTATION></TIER>
<TIER TIER_ID="notes" LINGUISTIC_TYPE_REF="noted"><ANNOTATION>
<REF_ANNOTATION ANNOTATION_ID="a3" ANNOTATION_REF="a1"/></ANNOTATION></TIER>
<TIER TIER_ID="empty" LINGUISTIC_TYPE_REF="noted"/>
<LINGUISTIC_TYPE LINGUISTIC_TYPE_ID="plain"/>
<LINGUISTIC_TYPE LINGUISTIC_TYPE_ID="divided" CONSTRAINTS="Time_Subdivision"/>
<LINGUISTIC_TYPE LINGUISTIC_TYPE_ID="noted" CONSTRAINTS="Symbolic_Association"/>
</ANNOTATION_DOCUMENT>"""


def test_sound_and_tiers_without_times_in_elan_are_left_out(tmp_path, capsys):
    films(tmp_path)
    text(tmp_path / "a.wav", "sound")
    file = text(tmp_path / "scored.eaf", DEPENDENT)
    splits = labelled.read_labels(file).everything()
    assert [clip.source for clip in splits.clips] == [tmp_path / "a.mp4"]
    assert splits.classes == ("background", "walk")
    assert written(splits, "scored") == "bbbbbwwwwwbbbbbbbbbb"
    told = f"warning: {file}: left out: tiers without times of their own (2): steps, notes\n"
    assert capsys.readouterr().err == told


def test_damaged_documents_of_elan_are_one_line(tmp_path):
    films(tmp_path)
    for content, message in (
        ("<ANNOTATION_DOCUMENT>", "not the XML of an ELAN document"),
        ('<!DOCTYPE x [<!ENTITY y "z">]><x>&y;</x>', "a document type is declared"),
        ('<x><MEDIA_DESCRIPTOR TIME_ORIGIN="now"/></x>', "TIME_ORIGIN is not a number of milli"),
    ):
        text(tmp_path / "a.eaf", content)
        with pytest.raises(InputError, match=message):
            labelled.load(tmp_path / "a.eaf")


def test_two_documents_of_one_film_are_refused(tmp_path):
    films(tmp_path)
    cue = "1\n00:00:00.500 --> 00:00:01.000\nwalk\n"
    files = [text(tmp_path / name, cue) for name in ("a.srt", "a.vtt", "b.srt", "c.srt")]
    with pytest.raises(InputError) as caught:
        labelled.load(tmp_path)
    told = f"{files[1]} and {files[0]} annotate one film: move one of them"
    assert str(caught.value) == told
    files[1].unlink()
    assert len(labelled.load(tmp_path).clips) == 3


@pytest.mark.parametrize("suffix", ["srt", "vtt"])
def test_subtitles(tmp_path, suffix):
    films(tmp_path)
    point = "," if suffix == "srt" else "."
    head = "WEBVTT\n\n" if suffix == "vtt" else ""
    for name in "abc":
        cues = f"{head}1\n00:00:00{point}500 --> 00:00:01{point}000\nwalk\n\n"
        cues += f"2\n00:00:01{point}000 --> 00:00:01{point}200\nrest & sit\n"
        text(tmp_path / f"{name}.{suffix}", cues.replace("&", "&amp;" if suffix == "vtt" else "&"))
    splits = labelled.load(tmp_path)
    assert splits.classes == ("background", "rest & sit", "walk")
    assert written(splits, "a") == "bbbbbwwwwwrrbbbbbbbb"


@pytest.mark.parametrize("suffix", ["srt", "vtt"])
def test_the_style_of_subtitles_is_no_part_of_the_label(tmp_path, suffix):
    films(tmp_path)
    styled = ["<i>walk</i>", "{\\an8}walk", '<font color="#fff">walk</font>']
    if suffix == "vtt":
        styled = ["<v Anna>walk</v>", "<c.loud>walk&nbsp;</c>", "<b><i>walk</i></b>\n<i></i>"]
    for name, label in zip("abc", styled, strict=True):
        cue = f"1\n00:00:00.500 --> 00:00:01.000\n{label}\n\n"
        cue += "2\n00:00:01.000 --> 00:00:01.200\n<5 cm> x\n\n"
        cue += "3\n00:00:01.200 --> 00:00:01.400\n<u-turn>\n"
        text(tmp_path / f"{name}.{suffix}", cue)
    splits = labelled.load(tmp_path)
    assert splits.classes == ("background", "<5 cm> x", "<u-turn>", "walk")
    file = text(tmp_path / f"a.{suffix}", "1\n00:00:01.000 --> 00:00:00.500\nwalk\n")
    with pytest.raises(InputError) as caught:
        labelled.load(tmp_path)
    assert str(caught.value) == f"{file}: line 2: the subtitle ends at 0.5 and begins at 1"
