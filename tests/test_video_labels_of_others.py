"""Labels as BORIS and DeepEthogram have them, and labels that are added."""

import pytest
import torch
from scored import RATE, films, labels, written
from videos import text

from core.errors import InputError
from datasets.videos import labelled
from datasets.videos.merging import merged, renumbered

AGGREGATED = (
    "Observation id,Media file,Total length,FPS,Subject,Behavior,Behavior type,Start (s),Stop (s)"
)
TABULAR = "Time\tMedia file path\tTotal length\tFPS\tSubject\tBehavior\tComment\tStatus"


def test_aggregated_events_of_boris(tmp_path):
    films(tmp_path)
    rows = [
        "o1,C:\\films\\a.mp4,2.0,10,ann,walk,STATE,0.500,1.000",
        "o1,C:\\films\\a.mp4,2.0,10,ann,sit,STATE,1.000,1.500",
        "o2,/films/b.mp4,2.0,10,ann,walk,STATE,0.201,0.4",
        "o2,/films/b.mp4,2.0,10,ann,jump,POINT,1.23,NA",
        "o3,c.mp4,2.0,10,NA,NA,NA,NA,NA",
    ]
    text(tmp_path / "events.csv", "\n".join([AGGREGATED, *rows]))
    splits = labelled.load(tmp_path)
    assert (splits.classes, splits.multi) == (("background", "jump", "sit", "walk"), False)
    assert written(splits, "a") == "bbbbbwwwwwsssssbbbbb"
    assert written(splits, "b") == "bbbwbbbbbbbbjbbbbbbb", "a point labels the nearest frame"
    assert written(splits, "c") == "b" * 20


def observation(folder, name, offset, events):
    """Write the tabular events of one observation, of the film `name`, as BORIS 7 does."""
    head = [f"Observation id\t{name}", "", "Media file(s)", f"Player #1\t{name}.mp4", ""]
    head += [f"Time offset (s)\t{offset}", "", TABULAR]
    rows = [f"{t}\t{name}.mp4\t2\t10\tx\t{label}\t\t{kind}" for t, label, kind in events]
    text(folder / f"{name}.tsv", "\n".join([*head, *rows]))


def test_tabular_events_of_boris_below_lines_about_the_observation(tmp_path):
    films(tmp_path)
    events = [(0.3, "walk", "START"), (0.5, "groom", "START"), (0.8, "walk", "STOP")]
    events += [(1.0, "groom", "STOP"), (1.4, "nod", "POINT")]
    observation(tmp_path, "a", "0", events)
    observation(tmp_path, "b", "0", [(0, "walk", "POINT")])
    observation(tmp_path, "c", "0", [(0, "walk", "POINT")])
    splits = labelled.load(tmp_path)
    assert splits.multi, "walk and groom overlap"
    expected = "- - - w w gw gw gw g g - - - - n - - - - -"
    assert written(splits, "a") == expected
    assert labels(splits, "b").sum(0).tolist() == [0, 0, 1]


def test_a_time_offset_above_the_heading_is_subtracted(tmp_path):
    films(tmp_path)
    for name in "abc":
        events = [(100.5, "walk", "START"), (101.0, "walk", "STOP")]
        observation(tmp_path, name, "100", events)
    assert written(labelled.load(tmp_path), "a") == "bbbbbwwwwwbbbbbbbbbb"


def test_several_media_of_one_observation_of_boris(tmp_path):
    films(tmp_path, names="abcdefg")
    rows = [
        "o1,a.mp4;b.mp4,4.0,10;10,x,walk,STATE,1.5,2.4",
        "o1,a.mp4;b.mp4,4.0,10;10,x,nod,POINT,3.0,3.0",
        "o2,c.mp4;d.mp4,2.0,10;10,x,walk,STATE,0.5,0.7",
        "o3,e.mp4,2.0,10,x,sit,STATE,0.5,0.7",
    ]
    text(tmp_path / "events.csv", "\n".join([AGGREGATED, *rows]))
    splits = labelled.load(tmp_path)
    assert written(splits, "a") == "b" * 15 + "w" * 5, "one after another"
    assert written(splits, "b") == "wwwwbbbbbbnbbbbbbbbb"
    assert written(splits, "c") == written(splits, "d") == "bbbbbwwbbbbbbbbbbbbb"


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["o,a.mp4,2,10,x,walk,STATE,0.5,NA"], "line 2: the state 'walk' has no end: close it"),
        (["o,a.mp4,2,10,x,walk,STATE,x,1"], "line 2: start_s is 'x', not a time in seconds"),
        (["o,a.mp4,2,10,x,walk,STATE,2,1"], "line 2: the bout ends at 1 and begins at 2"),
        (["o,NA,2,10,x,walk,STATE,1,2"], "line 2: no media file is named"),
        (["o,z.mp4,2,10,x,walk,STATE,1,2"], "line 2: there is no video 'z.mp4'"),
        (["o,a.mp4,2,10,x,walk,STATE,1"], "line 2: 8 fields, but the heading names 9 columns"),
    ],
)
def test_what_is_wrong_in_aggregated_events_is_one_line(tmp_path, rows, message):
    films(tmp_path)
    file = text(tmp_path / "events.csv", "\n".join([AGGREGATED, *rows]))
    with pytest.raises(InputError) as caught:
        labelled.load(tmp_path)
    assert str(caught.value).startswith(f"{file}: {message}")


@pytest.mark.parametrize(
    ("events", "message"),
    [
        ([(1, "START")], "line 2: the state 'walk' has no end: close it in BORIS"),
        ([(1, "STOP")], "line 2: 'walk' stops, but did not start"),
        ([(1, "START"), (2, "START")], "line 3: 'walk' starts, but did not stop since line 2"),
        ([(1, "PAUSE")], "line 2: the type of an event is START, STOP or POINT, not 'PAUSE'"),
    ],
)
def test_what_is_wrong_in_tabular_events_is_one_line(tmp_path, events, message):
    films(tmp_path)
    rows = [f"{time}\ta.mp4\t2\t10\tx\twalk\t\t{kind}" for time, kind in events]
    file = text(tmp_path / "events.tsv", "\n".join([TABULAR, *rows]))
    with pytest.raises(InputError) as caught:
        labelled.load(tmp_path)
    assert str(caught.value).startswith(f"{file}: {message}")


def test_columns_of_zero_and_one_for_each_behaviour(tmp_path):
    films(tmp_path, 4)
    for name, rows in (
        ("a", ["0,1,0,0", "1,0,1,0", "2,0,1,1", "3,-1,-1,-1"]),
        ("b", ["0,1,0,0", "1,1,0,0", "2,0,0,1", "3,0,1,0"]),
        ("c", ["0,1,0,0", "1,1,0,0", "2,1,0,0", "3,0,1,0"]),
    ):
        text(tmp_path / f"{name}_labels.csv", "\n".join([",background,Face Groom,walk", *rows]))
    splits = labelled.load(tmp_path)
    assert (splits.classes, splits.multi) == (("Face Groom", "walk"), True)
    assert labels(splits, "a", 4).tolist() == [[0, 0], [1, 0], [1, 1], [-1, -1]]
    assert labels(splits, "b", 4).tolist() == [[0, 0], [0, 0], [0, 1], [1, 0]]


def test_the_background_is_named_as_its_column_stands_in_the_table(tmp_path):
    films(tmp_path, 4)
    rows = [f"{name}.mp4,{n},{n % 2},{1 - n % 2}" for name in "abc" for n in range(4)]
    text(tmp_path / "labels.csv", "\n".join(["clip,frame,walk,Other", *rows]))
    splits = labelled.load(tmp_path, background="Other")
    assert splits.classes == ("Other", "walk")
    assert labels(splits, "a", 4).tolist() == [0, 1, 0, 1]


def test_columns_that_exclude_each_other_are_one_label_a_frame(tmp_path):
    films(tmp_path, 4)
    rows = [f"{name}.mp4,{n},{n % 2},{int(n == 2)}" for name in "abc" for n in range(4)]
    text(tmp_path / "labels.csv", "\n".join(["clip,frame,walk,sit", *rows]))
    splits = labelled.load(tmp_path)
    assert (splits.classes, splits.multi) == (("background", "walk", "sit"), False)
    assert labels(splits, "a", 4).tolist() == [0, 1, 2, 1]
    assert labelled.load(tmp_path, multi=True).multi


@pytest.mark.parametrize("column", ["behavior", "Behaviour"])
def test_the_column_of_labels_may_be_called_a_behaviour(tmp_path, column):
    films(tmp_path)
    rows = [f"{name}.mp4,0.5,1.0,walk" for name in "abc"]
    text(tmp_path / "labels.csv", "\n".join([f"clip,start_s,stop_s,{column}", *rows]))
    assert written(labelled.load(tmp_path), "a") == "bbbbbwwwwwbbbbbbbbbb"


def test_segments_that_overlap_are_several_behaviours(tmp_path):
    films(tmp_path)
    rows = [f"{name}.mp4,0.5,1.0,walk\n{name}.mp4,1.0,1.5,sit" for name in "abc"]
    text(tmp_path / "labels.csv", "\n".join(["clip,start,end,label", *rows, "a.mp4,0.8,1.2,nod"]))
    splits = labelled.load(tmp_path)
    assert (splits.classes, splits.multi) == (("nod", "sit", "walk"), True)
    assert written(splits, "a").split()[4:16] == [
        "-",
        "w",
        "w",
        "w",
        "nw",
        "nw",
        "ns",
        "ns",
        "s",
        "s",
        "s",
        "-",
    ]
    assert labels(splits, "b").sum(0).tolist() == [0, 5, 5]


def test_unlabelled_is_not_background(tmp_path):
    films(tmp_path)
    rows = [f"{name}.mp4,0.5,1.0,walk" for name in "abc"]
    extra = "a.mp4,1.5,2.0,unlabelled"
    text(tmp_path / "labels.csv", "\n".join(["clip,start,end,label", *rows, extra]))
    splits = labelled.load(tmp_path)
    assert splits.classes == ("background", "walk")
    assert written(splits, "a") == "bbbbbwwwwwbbbbb?????"
    whole = labelled.load(tmp_path, background="unlabelled", multi=True)
    found = labels(whole, "a")[:, 0].tolist()
    assert found == [-1] * 5 + [1] * 5 + [-1] * 10


def test_labels_added_to_a_data_set_replace_those_of_the_same_film(tmp_path):
    films(tmp_path, names="abcd")
    rows = [f"{name}.mp4,0.5,1.0,walk" for name in "abc"]
    text(tmp_path / "old" / "labels.csv", "\n".join(["clip,start,end,label", *rows]))
    for name in "abcd":
        (tmp_path / "old" / f"{name}.mp4").symlink_to(tmp_path / f"{name}.mp4")
    base = labelled.load(tmp_path / "old")
    rows = ["a.mp4,0.0,0.3,sit", "d.mp4,0.0,0.5,walk"]
    text(tmp_path / "old" / "new" / "more.csv", "\n".join(["clip,start,end,label", *rows]))
    for name in "ad":
        (tmp_path / "old" / "new" / f"{name}.mp4").symlink_to(tmp_path / f"{name}.mp4")
    added = labelled.read_labels(tmp_path / "old" / "new").everything()
    both = merged(base, added)
    assert both.classes == ("background", "walk", "sit")
    assert len(both.clips) == 4
    assert written(both, "a") == "sss" + "b" * 17
    assert written(both, "d") == "wwwww" + "b" * 15
    assert torch.equal(labels(both, "b"), labels(base, "b"))
    several = labelled.read_labels(tmp_path / "old" / "new", multi=True).everything()
    message = "the data have one behaviour at a time, the labels to add several at once"
    with pytest.raises(InputError, match=message):
        merged(base, several)


def test_tabular_events_of_later_versions_of_boris(tmp_path):
    films(tmp_path)
    columns = (
        *("Observation id", "Observation date", "Description", "Observation type", "Source"),
        *("Time offset (s)", "Media duration (s)", "FPS (frame/s)", "Subject", "Behavior"),
        *("Behavioral category", "Behavior type", "Time", "Media file name", "Comment"),
    )
    rows = [",".join(columns)]
    for name in "abc":
        about = f"o{name},2026-01-01,,MEDIA,player #1:/x/{name}.mp4,0,2.0,10,no focal subject"
        rows += [
            f"{about},walk,,START,0.5,/x/{name}.mp4,",
            f"{about},walk,,STOP,1.0,/x/{name}.mp4,",
            f"{about},nod,,POINT,1.52,/x/{name}.mp4,",
        ]
    text(tmp_path / "events.csv", "\n".join(rows))
    splits = labelled.load(tmp_path)
    assert splits.classes == ("background", "nod", "walk")
    assert written(splits, "a") == "bbbbbwwwwwbbbbbnbbbb"


def test_a_behaviour_that_is_added_is_not_scored_in_older_films(tmp_path):
    films(tmp_path, names="abcd")
    rows = [f"{name}.mp4,0.5,1.0,walk\n{name}.mp4,0.8,1.2,sit" for name in "abc"]
    text(tmp_path / "old.csv", "\n".join(["clip,start,end,label", *rows]))
    rows = ["d.mp4,0.0,0.5,dig", "d.mp4,0.3,0.5,walk"]
    text(tmp_path / "new.csv", "\n".join(["clip,start,end,label", *rows]))
    base = labelled.load(tmp_path / "old.csv")
    both = merged(base, labelled.read_labels(tmp_path / "new.csv").everything())
    assert both.classes == ("sit", "walk", "dig")
    assert labels(both, "a")[:, 2].tolist() == [-1] * 20
    assert torch.equal(labels(both, "a")[:, :2], labels(base, "a"))
    assert labels(both, "d").sum(0).tolist() == [0, 2, 5]
    rows = ["d.mp4,0.0,0.5,dig", "d.mp4,0.3,0.5,nod"]
    text(tmp_path / "more.csv", "\n".join(["clip,start,end,label", *rows]))
    thrice = merged(both, labelled.read_labels(tmp_path / "more.csv").everything())
    assert labels(thrice, "a")[0].tolist() == [0, 0, -1, -1]
    clip = renumbered(next(clip for clip in thrice.clips if clip.name == "a.mp4"), (3, 2, 1, 0), 4)
    assert clip.labels([n / RATE for n in range(20)])[0].tolist() == [-1, -1, 0, 0]
