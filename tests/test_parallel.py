"""Pairs of sentences from two files, and what is wrong with them."""

import gzip

import pytest

from core.errors import InputError
from datasets.text import parallel
from datasets.text.parallel import Pair


def write(path, text: str):
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return str(path)


def test_files_are_named_both_or_by_what_their_names_begin_with(tmp_path):
    expected = [Pair("one", "jeden"), Pair("two", "dva")]
    both = write(tmp_path / "a.en", "one\ntwo\n"), write(tmp_path / "a.cs.gz", "jeden\r\ndva")
    assert parallel.load(both, "", "") == expected
    assert parallel.load([str(tmp_path / "a")], "en", "cs") == expected


def test_an_empty_line_drops_its_pair_and_is_counted(tmp_path, capsys):
    both = (
        write(tmp_path / "a.en", "one\n\nthree\n"),
        write(tmp_path / "a.cs", "jeden\ndva\ntři\n\n"),
    )
    assert parallel.load(both, "", "") == [Pair("one", "jeden"), Pair("three", "tři")]
    printed = capsys.readouterr().err
    assert (
        f"left out: pairs of which a line is empty here or in {both[1]} (1 of 3): line 2" in printed
    )
    write(tmp_path / "b.cs", "jeden\n\n \n")  # the last translation is missing
    assert parallel.load([both[0], str(tmp_path / "b.cs")], "", "") == [Pair("one", "jeden")]
    write(tmp_path / "c.cs", "\ndva\n\n")
    with pytest.raises(InputError, match="in every pair a line is empty"):
        parallel.load([both[0], str(tmp_path / "c.cs")], "", "")


@pytest.mark.parametrize(
    ("english", "message"),
    [
        ("one\n", "a.cs: line 2 has no translation: {0}/a.en has 1 line and this file 2; line n"),
        (
            "one\ntwo\nthree\n",
            "a.en: line 3 has no translation: {0}/a.cs has 2 lines and this file 3; line n",
        ),
        ("", "a.en: the file is empty"),
    ],
)
def test_what_is_not_parallel_is_one_line(tmp_path, english, message):
    write(tmp_path / "a.en", english)
    write(tmp_path / "a.cs", "jeden\ndva\n")
    with pytest.raises(InputError) as caught:
        parallel.load([str(tmp_path / "a")], "en", "cs")
    assert str(caught.value).startswith(f"{tmp_path}/{message.format(tmp_path)}")
    assert "\n" not in str(caught.value)


def test_what_cannot_be_found_or_unpacked_is_one_line(tmp_path):
    with pytest.raises(InputError, match=r"there is neither .*b.en nor .*b.en.gz: name both files"):
        parallel.load([str(tmp_path / "b")], "en", "cs")
    with pytest.raises(InputError, match=r"not 3 names$"):
        parallel.load("abc", "en", "cs")
    for content in (b"one\n", gzip.compress(b"one two three\n")[:-9]):
        (tmp_path / "c.en.gz").write_bytes(content)
        with pytest.raises(
            InputError, match=r"c.en.gz: the file is damaged, or not packed by gzip$"
        ):
            parallel.load([str(tmp_path / "c.en.gz")] * 2, "en", "cs")


def test_the_same_sentences_are_held_out_wherever_they_stand():
    pairs = [Pair(f"s{n % 30}", f"t{n}") for n in range(60)]
    held, rest = parallel.hold_out(pairs, 6)
    assert len(held) == 6
    assert {pair.source for pair in held}.isdisjoint(pair.source for pair in rest)
    assert sorted(held + rest) == sorted(pairs)
    again, _ = parallel.hold_out(pairs[::-1], 6)
    assert sorted(again) == sorted(held)
