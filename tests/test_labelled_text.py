"""Labelled sentences in every layout, their splits, and what is wrong with them."""

from pathlib import Path

import pytest
from videos import text

from core.errors import InputError
from datasets.text import labelled, reviews
from datasets.text.labelled import Columns, Labelled, hold_out, load, read

GOOD = [f"good number {n}" for n in range(10)]
BAD = [f"bad number {n}" for n in range(10)]
EXPECTED = {*(Labelled(row, "pos") for row in GOOD), *(Labelled(row, "neg") for row in BAD)}
ROWS = "".join(f"{row},{label}\n" for label, rows in (("pos", GOOD), ("neg", BAD)) for row in rows)


def lines(rows: list[str]) -> str:
    return "".join(f"{row}\n" for row in rows)


def write(place: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        text(place / name, content)
    return place


LAYOUTS = {
    "suffixes": {"talk.pos": lines(GOOD), "talk.neg": lines(BAD)},
    "names": {
        "pos.txt": "\n" + "\r\n".join(GOOD),
        "neg.txt": lines(BAD),
        "README.md": "about it\n",
    },
    "table": {"all.csv": "id,text,label\n" + "".join(f"1,{row}\n" for row in ROWS.splitlines())},
    "tabs": {
        "all.tsv": "Sentence\tSentiment\n" + ROWS.replace(",", "\t"),
        "notes.txt": "nothing\n",
    },
    "folders": {
        f"{label}/{n}.txt": row
        for label, rows in (("pos", GOOD), ("neg", BAD))
        for n, row in enumerate(rows)
    },
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_sentences(layout, tmp_path):
    folder = write(tmp_path / "data", LAYOUTS[layout])
    assert set(read([folder])["all"]) == EXPECTED
    splits = load([str(folder)], 0.2, 0.1)
    assert splits.classes == ("neg", "pos")
    assert [len(part) for part in (splits.train, splits.validation, splits.test)] == [14, 4, 2]
    assert {*splits.train, *splits.validation, *splits.test} == EXPECTED
    if layout in ("suffixes", "names"):
        assert (
            set(read([file for file in folder.iterdir() if file.suffix != ".md"])["all"])
            == EXPECTED
        )
    elif layout == "folders":
        assert set(read([folder / "pos", folder / "neg"])["all"]) == EXPECTED


def test_given_splits_are_kept_and_what_is_missing_is_held_out(tmp_path, capsys):
    table = "text,label\n" + ROWS
    files = write(
        tmp_path / "tables",
        {"train.csv": table + "seen,pos\n", "test.csv": "text,label\nSeen ,pos\na b,neg\n"},
    )
    for sources in ([files], [files / "train.csv", files / "test.csv"]):
        splits = load(sources)
        assert list(splits.test) == [Labelled("Seen", "pos"), Labelled("a b", "neg")]
        assert {*splits.train, *splits.validation} == EXPECTED, (
            "a sentence of the test part is not trained on"
        )
        assert len(splits.validation) == 2
        printed = capsys.readouterr().err
        reason = "training texts that are in the validation or test split too"
        assert printed.endswith(f"left out: {reason} (1 of 19): seen\n")
    column = (
        "text,label,split\n"
        + "".join(f"{r},train\n" for r in ROWS.splitlines())
        + "x,pos,dev\ny,neg,test\n"
    )
    splits = load([text(tmp_path / "one.csv", column)])
    assert (set(splits.train), len(splits.validation), len(splits.test)) == (EXPECTED, 1, 1)
    folders = {
        f"{part}/{name}": value
        for part in ("train", "test")
        for name, value in LAYOUTS["folders"].items()
    }
    write(tmp_path / "large", {**folders, "train/unsup/0.txt": "no label"})
    assert (
        set(read([tmp_path / "large"])["train"])
        == set(read([tmp_path / "large"])["test"])
        == EXPECTED
    )


def test_splits_are_the_same_whatever_the_order_and_hardly_move():
    rows = sorted(EXPECTED)
    held, rest = hold_out(rows, 0.2)
    again, _ = hold_out(rows[::-1], 0.2)
    assert again == held[::-1]
    assert [row for row in rows if row in held] == held
    assert len(rest) == 16
    more, _ = hold_out([*rows, Labelled("one more", "pos")], 0.2)
    assert len({*held} - {*more}) <= 1


def test_texts_that_are_alike_are_in_one_split_also_if_their_labels_are_not():
    rows = [
        Labelled(f"{word} {n}", label)
        for n in range(20)
        for word, label in (("A", "x"), ("a ", "y"), ("b", "z"))
    ]
    held, rest = hold_out([*rows, *rows], 0.3)
    one, other = ({" ".join(row.text.lower().split()) for row in part} for part in (held, rest))
    assert not one & other
    assert len(held) + len(rest) == 120
    assert len(one) == 12
    assert hold_out(rows, 0.0) == ([], rows)


def test_rows_without_a_text_are_left_out(tmp_path, capsys):
    file = text(tmp_path / "a.csv", "label;text\npos;good\npos;\nneg;bad\n")
    assert [*read([file])["all"]] == [Labelled("good", "pos"), Labelled("bad", "neg")]
    assert (
        capsys.readouterr().err
        == f"warning: {file}: left out: rows without a text (1 of 3): line 3\n"
    )


def test_of_several_columns_it_is_told_which_are_read(tmp_path, capsys):
    rows = "".join(f"good {n},fine,{n % 2}.0,{n}\n" for n in range(4))
    table = text(tmp_path / "t.csv", f"text,comment,label,target\n{rows}")
    assert {row.label for row in read([table])["all"]} == {"0", "1"}
    line = f"{table}: texts are read from the column text, labels from label, and not from "
    assert capsys.readouterr().err == f"{line}comment, target\n"


def test_columns_can_be_named(tmp_path, capsys):
    heading = "Post (en),text,Mood,label"
    rows = [f"{mood} {letter},x,{mood},1" for mood in ("up", "down") for letter in "abc"]
    table = text(tmp_path / "talk.csv", lines([heading, *rows]))
    parts = labelled.read([table], Columns("Post (en)", "mood"))
    assert parts["all"][0] == ("up a", "up")
    assert {row.label for row in parts["all"]} == {"up", "down"}
    assert capsys.readouterr().err == "", "what is named was meant"
    assert labelled.read([tmp_path], Columns("Post (en)", "Mood")) == parts
    assert load([table], columns=Columns("Post (en)", "Mood")).classes == ("down", "up")
    assert labelled.read([table], Columns(label="Mood"))["all"][0] == ("x", "up")
    assert labelled.read([table], Columns(text="Mood"))["all"][0] == ("up", "1")


def test_a_column_that_is_not_there_is_told_with_those_that_are(tmp_path):
    table = text(tmp_path / "talk.csv", "Post (en),Mood\nx,up\n")
    there = "there are post_en, mood: name those with --text-column and --label-column"
    for columns, missing in (
        (Columns("post", "Mood"), "post"),
        (Columns("Post (en)", "moods"), "moods"),
        (Columns("Post (en)"), "of labels"),
        (Columns(label="Mood"), "of texts"),
    ):
        for source in (table, tmp_path):
            with pytest.raises(InputError) as caught:
                load([source], columns=columns)
            assert str(caught.value) == f"{table}: no column {missing}; {there}"
    with pytest.raises(InputError, match="name them with --text-column and --label-column"):
        load([table])


def test_columns_of_what_is_no_table(tmp_path):
    for label in ("pos", "neg"):
        text(tmp_path / label / "1.txt", "x")
    for source in ("reviews", str(tmp_path)):
        with pytest.raises(InputError, match=f"{source}: there is no table; --text-column"):
            load([source], columns=Columns("a", "b"))


def test_a_long_line_is_read(tmp_path):
    long = "word " * 20_000
    files = [text(tmp_path / "a.pos", long + "\n"), text(tmp_path / "a.neg", f"{long}\nshort\n")]
    assert [len(row.text) for row in read(files)["all"]] == [99_999, 99_999, 5]
    assert (
        len(read([text(tmp_path / "a.csv", f"text,label\n{long},pos\n")])["all"][0].text) == 99_999
    )


def test_empty_texts_of_a_folder_are_left_out_and_named(tmp_path, capsys):
    write(tmp_path, {"data/pos/1.txt": "good", "data/pos/2.txt": " \n", "data/neg/1.txt": "bad"})
    (tmp_path / "data/neg/0.txt").touch()
    assert read([tmp_path / "data"])["all"] == [("bad", "neg"), ("good", "pos")]
    warnings = capsys.readouterr().err
    assert "data/neg: left out: empty texts (1 of 2): 0.txt" in warnings
    assert "data/pos: left out: empty texts (1 of 2): 2.txt" in warnings


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "data: no such file or folder of labelled sentences"),
        ({"a.csv": "text,label\nx,a\n"}, "data: one label only (a); at least two are needed"),
        ({"a.pos": "x\n"}, "data/a.pos: its first line names no columns of texts"),
        (
            {"a.pos": lines(GOOD), "a.neg": "x\nX\n y\n"},
            "data: 2 different texts with the label neg; give 3 or more",
        ),
        (
            {"a.csv": "text,label\nx,pos\ny,neg\nz,neg\nw,neg\n"},
            "data: 1 different text with the label pos; give 3 or more",
        ),
        (
            {"a.csv": "text,label\nx\n"},
            "data/a.csv: line 2: 1 field, but the first line names 2 columns",
        ),
        ({"a.pos": lines(GOOD), "a.neg": ""}, "data/a.neg: the file is empty"),
        ({"a.pos": lines(GOOD), "a.neg": "x\ny\0\n"}, "data/a.neg: line 2 is no text in UTF-8"),
        (
            {"pos/x.md": "x", "neg/1.txt": "y"},
            "data/pos: no .txt file there; each text is to have one",
        ),
        ({"a.csv": "text,label\nx,\n"}, "data/a.csv: line 2: there is no label"),
        (
            {"a.csv": "text,label,split\nx,y,z\n"},
            "data/a.csv: line 2: unknown split 'z'; it must be one of train, ",
        ),
        (
            {"a.csv": "text,label\nx,y,z\n"},
            "data/a.csv: line 2: 3 fields, but the first line names 2 columns",
        ),
        ({"test/a.pos": "x\n", "test/a.neg": "y\n"}, "data: no texts to train on, only test"),
        (
            dict.fromkeys(("a.csv", "train.csv"), "text,label\nx,y\n"),
            "data/a.csv: some texts have a split (train), ",
        ),
    ],
)
def test_what_is_wrong_is_one_line(files, message, tmp_path):
    write(tmp_path / "data", files)
    with pytest.raises(InputError) as caught:
        load([str(tmp_path / "data")])
    assert str(caught.value).startswith(f"{tmp_path}/{message}")
    assert "\n" not in str(caught.value)


def test_one_file_that_is_no_table_and_a_table_among_texts(tmp_path):
    plain, table = text(tmp_path / "a.pos", "x\n"), text(tmp_path / "b.csv", "text,label\nx,y\n")
    for sources in ([plain], [plain, table]):
        with pytest.raises(InputError, match=r"a.pos: its first line names no columns of texts"):
            load(sources)
    (tmp_path / "c.neg").write_bytes(b"fine\n\xff\xfe\n")
    with pytest.raises(
        InputError, match=r"c.neg: line 2 is not UTF-8; save the file in that encoding$"
    ):
        load([plain, tmp_path / "c.neg"])


def test_generated_reviews_are_balanced_and_single_words_do_not_decide():
    rows = reviews.sentences()
    assert len(rows) == len(dict(rows)) == 2 * sum(reviews.COUNTS.values())
    bags: dict[tuple[str, ...], set[str]] = {}
    for row, label in rows:
        bags.setdefault(tuple(sorted(row.split())), set()).add(label)
    assert sum(len(labels) == 2 for labels in bags.values()) > 20, "the same words have both labels"
    splits = load([labelled.BUILT_IN])
    assert [len(part) for part in (splits.train, splits.validation, splits.test)] == [
        3200,
        400,
        400,
    ]
