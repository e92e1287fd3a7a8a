"""Texts as numbers: characters and bytes, compressed files, the cache, and files that are none."""

import bz2
import gzip
import lzma
import os
from pathlib import Path

import numpy as np
import pytest

from core.errors import InputError
from datasets.text.alphabets import Alphabet
from datasets.text.corpora import open_corpus
from datasets.text.toys import toy_corpus, toy_text

TEXT = "Příliš žluťoučký kůň 🐎\n" * 3


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.mark.parametrize("pack", [bytes, lzma.compress, bz2.compress, gzip.compress])
def test_texts_come_back_from_files_plain_or_compressed(tmp_path, cache, pack):
    path = write(tmp_path / "text", pack(TEXT.encode()))
    for _ in ("made", "from the cache"):
        corpus = open_corpus(path, cache=cache)
        assert corpus.alphabet.decode(corpus.numbers) == TEXT
        assert corpus.alphabet.characters == "".join(sorted(set(TEXT)))
        raw = open_corpus(path, as_bytes=True, cache=cache)
        assert raw.numbers.tobytes() == TEXT.encode()
        assert isinstance(corpus.numbers, np.memmap)
        assert isinstance(raw.numbers, np.memmap)


def test_more_than_256_characters_take_two_bytes(tmp_path, cache):
    text = "".join(map(chr, range(0x4E00, 0x4E00 + 300)))
    corpus = open_corpus(write(tmp_path / "text", text), cache=cache)
    assert corpus.numbers.dtype == np.uint16
    assert corpus.alphabet.decode(corpus.numbers) == text


def test_characters_that_span_two_pieces_are_read_whole(tmp_path, cache, monkeypatch):
    monkeypatch.setattr("datasets.text.corpora.PIECE", 7)
    corpus = open_corpus(write(tmp_path / "text", "\ufeff" + TEXT), cache=cache)
    assert corpus.alphabet.decode(corpus.numbers) == TEXT  # without the byte order mark


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_end_alike_on_every_system(tmp_path, cache, monkeypatch, end):
    monkeypatch.setattr("datasets.text.corpora.PIECE", 4)  # ends of lines span two pieces
    path = write(tmp_path / "text", f"one{end}dva{end}{end}tři{end}")
    for _ in ("made", "from the cache"):
        corpus = open_corpus(path, cache=cache)
        assert corpus.alphabet.decode(corpus.numbers) == "one\ndva\n\ntři\n"
        assert corpus.alphabet.characters == "\nadeinotvř"
    raw = open_corpus(path, as_bytes=True, cache=cache)
    assert raw.numbers.tobytes() == path.read_bytes()


def test_an_alphabet_with_returns_keeps_the_ends_of_lines(tmp_path, cache):
    path = write(tmp_path / "text", "ab\r\nba\r\n")
    unified = open_corpus(path, cache=cache)
    kept = open_corpus(path, alphabet=Alphabet("\n\rab"), cache=cache)
    assert kept.numbers.tolist() == [2, 3, 1, 0, 3, 2, 1, 0]
    again = open_corpus(path, alphabet=unified.alphabet, cache=cache)
    assert again.numbers.tolist() == [1, 2, 0, 2, 1, 0]
    assert kept.digest == unified.digest


def test_without_a_cache_a_temporary_file_serves(tmp_path, capsys):
    blocked = write(tmp_path / "blocked", "a file, not a folder")
    corpus = open_corpus(write(tmp_path / "text", TEXT), cache=blocked)
    assert corpus.alphabet.decode(corpus.numbers) == TEXT
    assert "cannot write" in capsys.readouterr().err


def test_a_changed_file_is_not_taken_from_the_cache(tmp_path, cache):
    path = write(tmp_path / "text", "one")
    first = open_corpus(path, cache=cache)
    second = open_corpus(write(path, "two"), cache=cache)
    assert first.alphabet.decode(first.numbers) == "one"
    assert second.alphabet.decode(second.numbers) == "two"
    assert first.digest != second.digest


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "the file is empty"),
        (b"0123456789" * 3 + b"\xff\xfe", "byte 30 of the text is not UTF-8"),
        ("Příliš".encode("latin2"), "byte 1 of the text is not UTF-8"),
        ("text".encode("utf-16"), "byte 0 of the text is not UTF-8"),
        ("text".encode("utf-16-le"), "has the character NUL, as no text in UTF-8"),
        (gzip.compress(b""), "the file is empty"),
        (gzip.compress(TEXT.encode())[:-9], "damaged or incomplete"),
        (bz2.compress(TEXT.encode())[:20], "damaged or incomplete"),
        (b"BZh9" + bytes(40), "damaged or incomplete"),
        (lzma.compress(TEXT.encode())[:40], "damaged or incomplete"),
    ],
)
def test_files_that_are_no_text_are_one_line(tmp_path, cache, monkeypatch, content, problem):
    monkeypatch.setattr("datasets.text.corpora.PIECE", 7)
    path = write(tmp_path / "text", content)
    with pytest.raises(InputError, match=problem) as caught:
        open_corpus(path, cache=cache)
    assert str(path) in str(caught.value)
    assert not list(cache.glob("*.[0-9]*"))  # nothing half written is left


def test_files_that_cannot_be_opened(tmp_path):
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(InputError, match=f"cannot read {path}"):
            open_corpus(path)


def test_devices_and_fifos_are_refused_before_they_are_read(tmp_path):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    for path in (fifo, Path("/dev/zero")):
        for as_bytes in (True, False):
            with pytest.raises(InputError, match=f"{path} is a device or a FIFO, not a file"):
                open_corpus(path, as_bytes=as_bytes)


def test_an_alphabet_is_kept_and_what_it_lacks_is_named(tmp_path, cache):
    alphabet = Alphabet("abc")
    corpus = open_corpus(write(tmp_path / "text", "cab"), alphabet=alphabet, cache=cache)
    assert corpus.numbers.tolist() == [2, 0, 1]
    with pytest.raises(InputError, match="never seen: 'd', 'é'"):
        open_corpus(write(tmp_path / "other", "abéd"), alphabet=alphabet, cache=cache)


def test_bytes_are_decoded_as_they_come():
    alphabet = Alphabet()
    numbers = alphabet.encode("žš")
    decode = alphabet.decoder()
    assert [decode(n) for n in numbers] == ["", "ž", "", "š"]
    assert alphabet.decode([0xC5, 0x41]) == "\ufffdA"
    assert alphabet.unseen("anything ž") == ""
    assert len(alphabet) == 256


def test_alphabets_encode_and_name_what_they_lack():
    alphabet = Alphabet("ehlo")
    assert alphabet.encode("hello").tolist() == [1, 0, 2, 2, 3]
    assert alphabet.unseen("hexwx") == "xw"
    assert "".join(map(alphabet.decoder(), [1, 0])) == "he"


def test_toy_texts_are_what_they_say():
    assert set(toy_text("hello")) == set("helo")
    pages = toy_text("pages")
    assert pages == toy_text("pages")
    assert pages.count("<page>") == pages.count("</page>") == 500
    assert pages.count("[[") == pages.count("]]") > 500
    assert toy_corpus("pages", as_bytes=True).alphabet.characters is None
