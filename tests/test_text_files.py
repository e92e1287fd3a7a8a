"""Lines and tables in every dialect, and what is wrong with them."""

import csv
import os

import pytest
from videos import text

from core.errors import InputError
from datasets.text_files import column_names, read_lines, read_table, read_text


def test_text_has_no_byte_order_mark(tmp_path):
    assert read_text(text(tmp_path / "a.txt", "\ufeffgrün\r\n")) == "grün\n"


@pytest.mark.parametrize("order", ["le", "be"])
def test_text_with_the_mark_of_utf_16_is_read_as_that(tmp_path, order):
    (tmp_path / "a.txt").write_bytes("\ufeffgrün\r\n".encode(f"utf-16-{order}"))
    assert read_text(tmp_path / "a.txt") == "grün\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "a.txt: the file is empty"),
        (b"\xef\xbb\xbf \r\n", "a.txt: the file is empty"),
        (b"one\ntwo\xff\n", "a.txt: line 2 is not UTF-8; save the file in that encoding"),
        (
            b"o\x00n\x00e\x00\n\x00",
            "a.txt: line 1 is no text in UTF-8; save the file in that encoding",
        ),
        (b"\xff\xfeo\x00n", "a.txt: line 1 is not UTF-8; save the file in that encoding"),
    ],
)
def test_text_that_is_none_is_one_line(tmp_path, content, message):
    (tmp_path / "a.txt").write_bytes(content)
    for read in (read_text, read_lines, read_table):
        with pytest.raises(InputError) as caught:
            read(tmp_path / "a.txt")
        assert str(caught.value) == f"{tmp_path}/{message}"


def test_what_cannot_be_opened_is_one_line(tmp_path):
    with pytest.raises(InputError, match=r"b.txt: No such file or directory$"):
        read_text(tmp_path / "b.txt")
    with pytest.raises(InputError, match=r": Is a directory$"):
        read_text(tmp_path)


def test_lines(tmp_path):
    lines = read_lines(text(tmp_path / "a.txt", "\ufeffone\r\n two words \r\nthree\r\n\r\n"))
    assert [(line.number, line.text) for line in lines] == [
        (1, "one"),
        (2, "two words"),
        (3, "three"),
    ]
    with pytest.raises(InputError, match=r"a.txt: line 2: the line is empty$"):
        read_lines(text(tmp_path / "a.txt", "one\n\nthree\n"))


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
def test_a_table_reads_the_same_in_every_dialect(tmp_path, end, delimiter, mark, quoting):
    fields = [
        ["Clip", "Start (s)", "label"],
        ["a,b; c\td", "0", 'say "no"'],
        ["é", "1.5", "two words"],
        ["x", "", ""],
    ]
    with (tmp_path / "a.csv").open("w", encoding="utf-8", newline="") as file:
        file.write(mark)
        csv.writer(file, delimiter=delimiter, lineterminator=end, quoting=quoting).writerows(fields)
    rows = read_table(tmp_path / "a.csv")
    assert [list(row.values.values()) for row in rows] == fields[1:]
    assert {tuple(row.values) for row in rows} == {("clip", "start_s", "label")}
    assert [row.number for row in rows] == [2, 3, 4]


def test_rows_are_numbered_as_in_an_editor(tmp_path):
    rows = read_table(text(tmp_path / "a.csv", '\nclip,label\n\na,"two\r\nlines"\n\nb,c\n'))
    assert [(row.number, row.values["label"]) for row in rows] == [
        (5, "two\nlines"),
        (7, "c"),
    ]  # a row's last line


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("clip,label\na,b\na,b,c\n", "a.csv: line 3: 3 fields, but the first line names 2 columns"),
        ("clip,label\n\na\n", "a.csv: line 3: 1 field, but the first line names 2 columns"),
        ("clip,label\n", "a.csv: there is no row below the names of the columns"),
        (",,\n", "a.csv: there is no row below the names of the columns"),
        ("clip,Clip\na,b\n", "a.csv: line 1: two columns have the same name"),
        (
            'clip,label\n\na,"b\nc,d\ne,f\n',
            "a.csv: line 3: a quote is opened in this row and never closed; correct the quotes: "
            "inside a quoted field, write a quotation mark twice",
        ),
        (
            'clip,label\n"a"b,c\n',
            "a.csv: line 2: ',' expected after '\"'; correct the quotes: "
            "inside a quoted field, write a quotation mark twice",
        ),
    ],
)
def test_a_malformed_table_is_one_line(tmp_path, content, message):
    with pytest.raises(InputError) as caught:
        read_table(text(tmp_path / "a.csv", content))
    assert str(caught.value) == f"{tmp_path}/{message}"


def test_a_table_of_a_spreadsheet_with_its_separator_and_empty_columns(tmp_path):
    file = tmp_path / "table.csv"
    file.write_text("sep=;\nStart;End;;\n1;2;;\n\n3;4\n")
    rows = read_table(file)
    assert [(row.number, row.values) for row in rows] == [
        (3, {"start": "1", "end": "2"}),
        (5, {"start": "3", "end": "4"}),
    ]
    assert column_names(file) == ["start", "end", "", ""]


def test_a_field_may_be_long(tmp_path):
    file = text(tmp_path / "a.csv", f"clip,{'x' * 200_000}\na,{'y' * 200_000}\n")
    assert column_names(file) == ["clip", "x" * 200_000]
    assert [len(value) for value in read_table(file)[0].values.values()] == [1, 200_000]


def test_a_fifo_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.tsv")
    with pytest.raises(InputError, match="a device or a FIFO"):
        read_text(tmp_path / "a.tsv")


def test_a_quotation_mark_that_opens_a_sentence_is_a_part_of_it(tmp_path):
    rows = ['"a quote opened\t1', 'more "\t0', '"Good" is the word\t1', '"all ""of"" it"\t0']
    table = read_table(text(tmp_path / "a.tsv", "text\tlabel\n" + "\n".join(rows) + "\n"))
    sentences = [row.values["text"] for row in table]
    assert sentences == ['"a quote opened', 'more "', '"Good" is the word', 'all "of" it']
    assert [row.number for row in table] == [2, 3, 4, 5]


def test_quoted_tabs_and_lines_are_parts_of_a_field(tmp_path):
    table = read_table(text(tmp_path / "a.tsv", 'text\tlabel\n"a\tb"\t0\n"b\nc"\t1\n'))
    assert [row.values["text"] for row in table] == ["a\tb", "b\nc"]


def test_delimiters_are_counted_outside_quotes(tmp_path):
    content = '"text, or comment, or both";label\ngood;1\n'
    assert column_names(text(tmp_path / "a.csv", content)) == ["text_or_comment_or_both", "label"]
    assert column_names(text(tmp_path / "b.txt", "text|label\ngood|1\n")) == ["text", "label"]
