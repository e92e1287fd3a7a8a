"""Tables of labels that make no sense: one line that names the file, the line and what is wrong."""

import os

import pytest
from videos import load_table, put, text

from core.errors import InputError
from datasets.videos import labelled

HEAD = "clip,start,end,label\n"
FRAMES = "clip,frame,label\n"
SPLIT = "clip,frame,label,split\n"
GOOD = "clip0,0,1,walk\nclip1,0,1,walk\nclip2,0,1,walk\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", ": the file is empty"),
        (HEAD, ": there is no row"),
        (
            "clip,begin,end,label\nclip0,0,1,walk\n",
            ": line 2: neither start and end, nor a frame; name the columns",
        ),
        (
            "time,behavior,status\n1.0,walk,start\n",
            ": line 2: neither start and end, nor a frame; name the columns of events as BORIS",
        ),
        ("clip,start,end\nclip0,0,1\n", ": line 2: there is no label; a column label is needed"),
        (HEAD + "clip0,0,1,\n", ": line 2: there is no label"),
        (HEAD + ",0,1,walk\n", ": line 2: no video is named"),
        (HEAD + GOOD + "clip9,0,1,walk\n", ": line 5: there is no video 'clip9'; put it into "),
        (HEAD + "clip\0,0,1,walk\n", ": line 2 is no text in UTF-8"),
        (HEAD + f"{'x' * 300},0,1,walk\n", ": line 2: there is no video 'xxx"),
        (HEAD + GOOD + "clip0,5,4,walk\n", ": line 5: the segment ends at 4 and begins at 5"),
        (HEAD + GOOD + "clip0,5,5,walk\n", ": line 5: the segment ends at 5 and begins at 5"),
        (HEAD + GOOD + "clip0,-1,4,walk\n", ": line 5: start is '-1', not a time in seconds"),
        (HEAD + "clip0,0,x,walk\n", ": line 2: end is 'x', not a time in seconds"),
        (HEAD + "clip0,0,nan,walk\n", ": line 2: end is 'nan', not a time in seconds"),
        (HEAD + "clip0,0,1e999,walk\n", ": line 2: end is '1e999', not a time in seconds"),
        (
            "clip,start_frame,end_frame,label\nclip0,0,1.5,a\n",
            ": line 2: end_frame is '1.5', not the number of a",
        ),
        (HEAD + "clip0,0,1,background\n", ": one class only (background); at least two are needed"),
        (FRAMES + "clip0,0,a\n", ": one class only (a); at least two are needed"),
        (
            FRAMES + "clip0,0,a\nclip0,2,b\n",
            ": line 3: frame 2 of clip0, where 1 is the next (from 0)",
        ),
        (
            FRAMES + "clip0,0,a\nclip0,0,b\n",
            ": line 3: frame 0 of clip0, where 1 is the next (from 0)",
        ),
        (
            FRAMES + "clip0,1,a\nclip0,2,b\n",
            ": line 2: frame 1 of clip0, where 0 is the next (from 0)",
        ),
        (
            FRAMES + "clip0,0,a\nclip1,0,b\n",
            ": 3 clips or groups of clips are needed to split, not clip0, clip1",
        ),
        (
            SPLIT + "clip0,0,a,all\nclip1,0,b,all\n",
            ": line 2: unknown split 'all'; it must be train, val",
        ),
        (
            SPLIT + "clip0,0,a,train\nclip0,1,b,val\n",
            ": line 3: clip0 is in the split val here, and in train",
        ),
        (SPLIT + "clip0,0,a,val\nclip1,0,b,val\n", ": no clip is in the train split"),
        (
            SPLIT + "clip0,0,a,train\nclip1,0,b,test\n",
            ": 2 clips or groups of clips are needed to split, not clip0",
        ),
    ],
)
def test_a_malformed_table_is_one_line(tmp_path, content, message):
    with pytest.raises(InputError) as caught:
        load_table(tmp_path, content)
    assert str(caught.value).startswith(f"{tmp_path}/labels.csv{message}")
    assert "\n" not in str(caught.value)


ONEHOT = "clip,frame,Walk,sit\nclip0,0,1,0\nclip0,1,"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (ONEHOT + "0.5,0\n", "line 3: Walk is 0.5, not 0 or 1"),
        (ONEHOT + "1,maybe\n", "line 3: sit is maybe, not 0 or 1"),
        ("clip,frame,Walk\nclip0,0,0.25\nclip0,1,1\n", "line 2: Walk is 0.25, not 0 or 1"),
        (
            "clip,frame,background,sit\nclip0,0,2,0\n",
            "line 2: background is 2, not 0 or 1",
        ),
    ],
)
def test_a_column_of_a_behaviour_holds_0_and_1(tmp_path, content, message):
    with pytest.raises(InputError) as caught:
        load_table(tmp_path, content)
    hint = "leave out columns that are no behaviours, such as positions"
    assert str(caught.value) == f"{tmp_path}/labels.csv: {message}: {hint}"


def test_a_pipe_or_a_device_is_no_table(tmp_path):
    os.mkfifo(tmp_path / "labels.csv")
    for source in (tmp_path / "labels.csv", "/dev/zero"):
        with pytest.raises(InputError) as caught:
            labelled.load(source)
        assert str(caught.value) == f"{source} is a device or a FIFO, not a file"


def test_tables_must_be_alike(tmp_path):
    load_table(tmp_path, HEAD + GOOD)
    other = text(tmp_path / "more.csv", "clip,start_seconds,end_seconds,label\nclip1,5,6,run\n")
    with pytest.raises(InputError, match=r"labels.csv and .*more.csv: name the columns alike$"):
        labelled.load(tmp_path)
    text(other, "clip,start,end,label,split\nclip0,5,6,run,train\n")
    with pytest.raises(InputError, match="clip0 is in the split train here, and in None above"):
        labelled.load(tmp_path)
    put(tmp_path / "new.mp4")
    text(other, "clip,start,end,label,split\nnew,5,6,run,train\n")
    with pytest.raises(InputError, match="the split of clip0 is not named, as others are"):
        labelled.load(tmp_path)
