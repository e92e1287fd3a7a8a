"""Labelled videos in every layout: which labels, which splits, and what is wrong with a folder."""

import shutil
from pathlib import Path

import pytest
import torch
from videos import put, text

from core.errors import InputError
from datasets.videos import labelled
from datasets.videos.labelled import load, suspects
from video.streams.reader import open_source

TRUTH = "SIL\r\nSIL\r\npour milk\r\npour milk\r\ncut\r\n"


def mstcn(root, count=4, splits=True):
    """Videos vid0, vid1, ... of 5 frames, the last two of which are the test part."""
    text(root / "mapping.txt", "1 pour milk\n0 SIL\n2 cut\n")
    for number in range(count):
        put(root / "videos" / f"vid{number}.avi", frames=5)
        text(root / "groundTruth" / f"vid{number}.txt", TRUTH)
    if splits:
        lines = [f"vid{number}.txt\n" for number in range(count)]
        text(root / "splits" / "train.split1.bundle", "".join(lines[:-2]))
        text(root / "splits" / "test.split1.bundle", "".join(lines[-2:]))
    return root


def classes_of(root, groups=7, kinds=("Archery", "Bowling")):
    """UCF101's layout: two clips of each of so many groups a class."""
    for kind in kinds:
        for group in range(1, groups + 1):
            for clip in (1, 2):
                put(root / kind / f"v_{kind}_g{group:02}_c{clip:02}.avi", frames=5)
    return root


def names(part):
    return [clip.name for clip in part]


def test_mstcn(tmp_path):
    splits = load(mstcn(tmp_path, 6))
    assert splits.classes == ("SIL", "pour milk", "cut")
    assert sorted(names(splits.train) + names(splits.validation)) == [
        "vid0",
        "vid1",
        "vid2",
        "vid3",
    ]
    assert names(splits.test) == ["vid4", "vid5"]
    clip = splits.test[0]
    assert clip.source == tmp_path / "videos" / "vid4.avi"
    labels = clip.labels([frame.seconds for frame in open_source(str(clip.source))])
    assert labels.dtype == torch.int64
    assert labels.tolist() == [0, 0, 1, 1, 2]
    assert clip.labels([0.0, 0.1, 0.2, 0.3, 0.4])[::2].tolist() == [0, 1, 2]


def test_mstcn_with_other_splits_and_with_none(tmp_path):
    root = mstcn(tmp_path)
    text(root / "splits" / "train.split2.bundle", "vid3.txt\nvid2\n")
    text(root / "splits" / "val.split2.bundle", "vid1.txt\n")
    splits = load(str(root), split=2)
    assert [names(part) for part in (splits.train, splits.validation, splits.test)] == [
        ["vid3", "vid2"],
        ["vid1"],
        [],
    ]
    shutil.rmtree(root / "splits")
    splits = load(root)
    assert [len(part) for part in (splits.train, splits.validation, splits.test)] == [2, 1, 1]


def test_other_counts_of_frames_are_told_with_both_files(tmp_path):
    root = mstcn(tmp_path)
    put(root / "videos" / "vid1.avi", frames=8)
    clip = next(
        clip
        for part in (load(root).train, load(root).validation)
        for clip in part
        if clip.name == "vid1"
    )
    start = f"{root}/videos/vid1.avi: 8 frames, but 5 are labelled in {root}/groundTruth/vid1.txt"
    with pytest.raises(InputError) as caught:
        clip.labels([0.0] * 8)
    hint = "cut or complete the labels, or allow it with --excess 3"
    assert str(caught.value) == f"{start}; {hint}"
    assert list(suspects([clip])) == [
        f"{root}/videos/vid1.avi: 8 frames, it claims, but 5 are labelled"
    ]
    assert not list(suspects(load(root).test))


def test_a_stated_excess_of_labels_or_frames_is_allowed_and_told(tmp_path, capsys):
    root = mstcn(tmp_path)
    splits = load(root)
    clip = next(clip for clip in splits.clips if clip.name == "vid1")
    whole = clip.labels([0.0] * 5).tolist()
    assert clip.labels([0.0] * 4, excess=1).tolist() == whole[:4]
    assert clip.labels([0.0] * 7, excess=2).tolist() == [*whole, -1, -1]
    told = capsys.readouterr().err.splitlines()
    counts = f"but 5 are labelled in {root}/groundTruth/vid1.txt: allowed, as they differ by"
    assert told == [f"warning: 4 frames, {counts} 1", f"warning: 7 frames, {counts} 2"]
    with pytest.raises(InputError, match="--excess 2"):
        clip.labels([0.0] * 3, excess=1)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        (
            "mapping.txt",
            "SIL\ncut\n",
            "mapping.txt: line 1: 'SIL' is not a number and a label, as in '0 walk'",
        ),
        (
            "mapping.txt",
            "0 SIL\n1\n",
            "mapping.txt: line 2: '1' is not a number and a label, as in '0 walk'",
        ),
        (
            "mapping.txt",
            "0 SIL\n0 cut\n",
            "mapping.txt: line 2: '0 cut': this number or this label stands above",
        ),
        (
            "mapping.txt",
            "0 SIL\n1 SIL\n",
            "mapping.txt: line 2: '1 SIL': this number or this label stands above",
        ),
        ("mapping.txt", "1 SIL\n2 cut\n", "mapping.txt: the numbers of 2 labels must be 0 to 1"),
        ("mapping.txt", "0 SIL\n", "mapping.txt: one class only (SIL); at least two are needed"),
        ("mapping.txt", "", "mapping.txt: the file is empty"),
        ("mapping.txt", None, "mapping.txt: No such file or directory"),
        (
            "groundTruth/vid1.txt",
            "SIL\ncutt\n",
            "groundTruth/vid1.txt: line 2: unknown label 'cutt'; mapping.txt has",
        ),
        ("groundTruth/vid1.txt", "SIL\n\ncut\n", "groundTruth/vid1.txt: line 2: the line is empty"),
        ("groundTruth/vid1.txt", "", "groundTruth/vid1.txt: the file is empty"),
        (
            "groundTruth/vid1.txt",
            None,
            "splits/train.split1.bundle: line 2: there is no {}/groundTruth/vid1.txt",
        ),
        (
            "videos/vid1.avi",
            None,
            "splits/train.split1.bundle: line 2: there is no video 'vid1'; put it into {}/videos",
        ),
        ("splits/train.split1.bundle", "", "splits/train.split1.bundle: the file is empty"),
        (
            "splits/train.split1.bundle",
            None,
            "splits/train.split1.bundle: No such file or directory",
        ),
        (
            "splits/train.split1.bundle",
            "vid0\nvid0\n",
            "splits/train.split1.bundle: vid0 is already in train.split1",
        ),
        (
            "splits/train.split1.bundle",
            "vid0\nvid3\n",
            "splits/test.split1.bundle: vid3 is already in train.split1",
        ),
        (
            "splits/train.split1.bundle",
            "vid0\n",
            ": 2 clips or groups of clips are needed to split, not vid0 alone",
        ),
    ],
)
def test_a_malformed_mstcn_folder_is_one_line(tmp_path, file, content, message):
    root = mstcn(tmp_path)
    (root / file).unlink()
    if content is not None:
        text(root / file, content)
    with pytest.raises(InputError) as caught:
        load(root)
    assert str(caught.value).startswith(f"{root}/{message}".replace("/:", ":").format(root))


def test_hidden_files_are_none(tmp_path):
    root = mstcn(tmp_path, splits=False)
    (root / "groundTruth" / "._vid0.txt").write_bytes(b"\0\xff")
    assert len(load(root).train) == 2
    shutil.rmtree(root / "groundTruth")
    (root / "._labels.csv").write_bytes(b"\0\xff")
    text(root / "labels.csv", "clip,start,end,label\nvid0,0,1,a\nvid1,0,1,a\nvid2,0,1,b\n")
    assert load(root).classes == ("background", "a", "b")


def test_mstcn_without_labels_is_one_line(tmp_path):
    text(tmp_path / "mapping.txt", "0 SIL\n1 cut\n")
    (tmp_path / "groundTruth").mkdir()
    with pytest.raises(InputError, match=r": there is no clip$"):
        load(tmp_path)


def test_a_clip_of_one_class_has_its_label_on_every_frame(tmp_path):
    splits = load(classes_of(tmp_path))
    assert splits.classes == ("Archery", "Bowling")
    parts = splits.train, splits.validation, splits.test
    assert [len(part) for part in parts] == [20, 4, 4]
    for part in parts:
        for clip in part:
            label = splits.classes.index(clip.name.partition("/")[0])
            assert clip.labels([0.0] * 5).tolist() == [label] * 5
            assert clip.labels([0.0] * 9).tolist() == [label] * 9
    groups = [{clip.name[:-8] for clip in part} for part in parts]
    assert not groups[0] & groups[1]
    assert not (groups[0] | groups[1]) & groups[2]
    assert {Path(group).parent.name for group in groups[1]} == {"Archery", "Bowling"}


def test_the_split_hangs_on_the_names_alone(tmp_path):
    here = load(classes_of(tmp_path / "here", groups=20))
    shutil.copytree(tmp_path / "here", tmp_path / "there")
    there = load(tmp_path / "there")
    assert [names(part) for part in (here.train, here.validation, here.test)] == [
        names(part) for part in (there.train, there.validation, there.test)
    ]
    grown = load(classes_of(tmp_path / "here", groups=22))
    assert len(set(names(here.test)) - set(names(grown.test))) <= 4


@pytest.mark.parametrize("beside", [".", "ucfTrainTestlist", "../ucfTrainTestlist"])
def test_ucf101_lists(tmp_path, beside):
    root = classes_of(tmp_path / "UCF-101", groups=3)
    lists = root / beside
    kinds = ("Archery", "Bowling")
    text(lists / "classInd.txt", "1 Archery\n2 Bowling\n")
    for part, groups in (("train", (2, 3)), ("test", (1,))):
        lines = [
            f"{kind}/v_{kind}_g{group:02}_c{clip:02}.avi" + (f" {label}" if part == "train" else "")
            for label, kind in enumerate(kinds, 1)
            for group in groups
            for clip in (1, 2)
        ]
        text(lists / f"{part}list01.txt", "\r\n".join(lines))
    splits = load(root)
    assert [len(part) for part in (splits.train, splits.validation, splits.test)] == [4, 4, 4]
    assert {clip.name[-11:-8] for clip in splits.test} == {"g01"}
    assert {clip.group for clip in splits.train}.isdisjoint(
        clip.group for clip in splits.validation
    )
    with pytest.raises(InputError, match=r"trainlist02.txt: No such file or directory$"):
        load(root, split=2)
    text(lists / "testlist01.txt", "Archery/v_Archery_g01_c01.avi\nArchery/v_Archery_g09_c01.avi\n")
    with pytest.raises(
        InputError,
        match=r"testlist01.txt: line 2: there is no video 'Archery/v_Archery_g09_c01.avi' in",
    ):
        load(root)
    text(lists / "testlist01.txt", "Archery/v_Archery_g02_c01.avi\n")
    with pytest.raises(
        InputError,
        match=r"testlist01.txt: Archery/v_Archery_g02_c01.avi is already in trainlist01.txt$",
    ):
        load(root)


def test_too_few_clips_or_classes_are_one_line(tmp_path):
    none = r": no labels: no table \(.csv, .tsv\), no .eaf, .srt or .vtt, no groundTruth/ and no"
    with pytest.raises(InputError, match=none):
        load(tmp_path)
    put(tmp_path / "walk" / "a.mp4")
    with pytest.raises(InputError, match=r": one class only \(walk\); at least two are needed$"):
        load(tmp_path)
    for name in "abc":
        put(tmp_path / "run" / f"{name}.mp4")
    with pytest.raises(
        InputError, match=r": 3 clips or groups of clips are needed to split, not walk/a.mp4 alone$"
    ):
        load(tmp_path)


def test_what_is_no_data_set_is_one_line(tmp_path):
    with pytest.raises(
        InputError,
        match=r"^no folder or table is called 'nowhere', and no data set but sprites, sprite-",
    ):
        load("nowhere")
    with pytest.raises(InputError, match=r"video.mp4: a film: give the file or the folder of its"):
        load(put(tmp_path / "video.mp4"))
    with pytest.raises(InputError, match=r"no labels: no table \(.csv, .tsv\)"):
        load(tmp_path)
    assert labelled.NAMES == ("sprites", "sprite-pairs")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("project.boris", "a project of BORIS: export its events, aggregated or tabular, as .csv"),
        ("events.xlsx", "a spreadsheet: save it as .csv or .tsv"),
        ("annotations.xml", "no labels that are read: write them as a table clip,start_frame,"),
    ],
)
def test_labels_in_a_format_that_is_not_read_are_named_with_what_to_do(tmp_path, name, reason):
    file = text(tmp_path / name, "content")
    put(tmp_path / "video.mp4")
    for source in (file, tmp_path):
        with pytest.raises(InputError, match=f"{name}: {reason}"):
            load(source)
    classes_of(tmp_path)
    assert load(tmp_path).classes == ("Archery", "Bowling")


def test_names_that_differ_in_case_or_spaces_are_told(tmp_path, capsys):
    for name, label in (("a", "Sniff wall"), ("b", "sniff_wall"), ("c", "groom")):
        put(tmp_path / f"{name}.mp4")
        text(tmp_path / f"{name}.csv", f"start,end,label\n0.0,0.5,{label}\n")
    assert load(tmp_path).classes == ("background", "Sniff wall", "groom", "sniff_wall")
    warning = "'Sniff wall' and 'sniff_wall' are taken for two behaviours"
    assert capsys.readouterr().err == f"warning: {tmp_path}: {warning}\n"
