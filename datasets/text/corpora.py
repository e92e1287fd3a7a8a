"""Texts as numbers, one a character or byte; files of any size, plain or xz, bzip2, gzip.

    corpus = open_corpus(Path("shakespeare.txt.xz"))
    corpus.alphabet.decode(corpus.numbers[:80])

A file is read in pieces and never held in memory: the numbers are mapped from a file. For bytes of
a plain file that is the text itself; otherwise it lies in the user's cache, named by a hash of the
content. Lines end in a line feed, whatever system the file is from; bytes stay as they are.
"""

import bz2
import codecs
import gzip
import hashlib
import io
import lzma
import os
import secrets
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import IO, Any

import numpy as np
from jaxtyping import Integer

from core.cache import user_cache
from core.errors import InputError
from core.files import replace, require_regular
from datasets.text.alphabets import Alphabet, code_points, quoted

PIECE = 1 << 20  # bytes read at a time
UNICODE = 0x110000
PACKED: dict[bytes, Callable[..., Any]] = {
    b"\xfd7zXZ\0": lzma.open,
    b"BZh": bz2.open,
    b"\x1f\x8b": gzip.open,
}


@dataclass(frozen=True, eq=False)
class Corpus:
    """A text, and what it is written in."""

    name: str
    numbers: Integer[np.ndarray, " length"]
    alphabet: Alphabet
    digest: str
    """Hash of the file."""


def open_corpus(
    path: Path,
    *,
    as_bytes: bool = False,
    alphabet: Alphabet | None = None,
    cache: Path | None = None,
) -> Corpus:
    """Return the text of a file.

    Args:
        path: the file, as it is or compressed; characters are to be in UTF-8.
        as_bytes: whether a number stands for a byte instead of a character.
        alphabet: what the text is written in; by default the characters that it has. If it has
            the carriage return, the ends of lines stay as they are.
        cache: the folder for encoded texts; by default that in the user's cache.

    Raises:
        InputError: the file cannot be read, is a device or a FIFO, is empty, damaged or not UTF-8,
            or has characters that a given alphabet lacks.
    """
    require_regular(path)
    try:
        packed = _opener(path)
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if as_bytes and packed is None:
            return Corpus(path.name, _mapped(path, np.dtype(np.uint8), path), Alphabet(), digest)
        cache = cache or user_cache("texts")
        own = Alphabet() if as_bytes else _alphabet(path, cache / f"{digest[:32]}.alphabet")
        if alphabet is None or not alphabet.has_returns:
            own = own.without_returns()
        alphabet = alphabet or own
        if unseen := alphabet.unseen(own.characters or ""):
            line = "has characters that the model has never seen"
            raise InputError(f"{path} {line}: {quoted(unseen)}")
        return Corpus(path.name, _encoded(path, digest, alphabet, cache), alphabet, digest)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from None


def corpus_of(name: str, text: str, *, as_bytes: bool = False) -> Corpus:
    """Return a text that is held in memory."""
    alphabet = Alphabet(None if as_bytes else "".join(sorted(set(text))))
    return Corpus(name, alphabet.encode(text), alphabet, hashlib.sha256(text.encode()).hexdigest())


def _alphabet(path: Path, kept: Path) -> Alphabet:
    """Return the characters of a file, from the cache or by reading all of it."""
    with suppress(OSError, UnicodeDecodeError):
        if characters := kept.read_bytes().decode():
            return Alphabet(characters)
    occurs = np.zeros(UNICODE, dtype=bool)
    for text in _texts(path):
        occurs[code_points(text)] = True
    alphabet = Alphabet("".join(map(chr, np.flatnonzero(occurs))))
    with suppress(InputError, OSError):  # `_encoded` tells why
        kept.parent.mkdir(parents=True, exist_ok=True)
        replace(kept, (alphabet.characters or "").encode())
    return alphabet


def _encoded(path: Path, digest: str, alphabet: Alphabet, cache: Path) -> np.ndarray:
    """Return the numbers from the cache; make them there, or if need be in a temporary file."""
    written_in = hashlib.sha256((alphabet.characters or "").encode()).hexdigest()
    kept = cache / f"{digest[:32]}-{written_in[:32]}"
    if kept.exists():
        return _mapped(kept, alphabet.dtype, path)
    partial = kept.with_name(f"{kept.name}.{secrets.token_hex(4)}")
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with partial.open("xb") as file:
            _write(path, alphabet, file)
        partial.replace(kept)
        return _mapped(kept, alphabet.dtype, path)
    except OSError as error:
        print(
            f"warning: cannot write {cache} ({error.strerror}): {path} is encoded anew each time",
            file=sys.stderr,
        )
        with tempfile.TemporaryFile() as file:
            _write(path, alphabet, file)
            return _mapped(file, alphabet.dtype, path)
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def _write(path: Path, alphabet: Alphabet, file: IO[bytes]) -> None:
    if alphabet.characters is None:
        file.writelines(_pieces(path))
    else:
        table = np.zeros(UNICODE, dtype=alphabet.dtype)
        table[code_points(alphabet.characters)] = np.arange(len(alphabet))
        texts = _texts(path)
        if not alphabet.has_returns:
            texts = _with_line_feeds(texts)
        file.writelines(table[code_points(text)].tobytes() for text in texts)
    file.flush()


def _mapped(file: Path | IO[bytes], dtype: np.dtype, path: Path) -> np.ndarray:
    size = file.stat().st_size if isinstance(file, Path) else os.fstat(file.fileno()).st_size
    if not size:
        raise InputError(f"{path}: the file is empty")
    return np.memmap(file, dtype=dtype, mode="r")  # type: ignore[arg-type]


def _texts(path: Path) -> Iterable[str]:
    """The text of a file in pieces, without a byte order mark."""
    decoder = codecs.getincrementaldecoder("utf-8-sig")()
    hint = "save it in that encoding, or read it as --bytes"
    done = 0
    for piece in chain(_pieces(path), (b"",)):
        try:
            text = decoder.decode(piece, final=not piece)
        except UnicodeDecodeError as error:
            place = done + len(piece) - len(error.object) + error.start
            raise InputError(f"{path}: byte {place} of the text is not UTF-8: {hint}") from None
        if "\0" in text:  # UTF-16 without a mark is full of them, and so is most that is no text
            raise InputError(f"{path}: it has the character NUL, as no text in UTF-8 has: {hint}")
        yield text
        done += len(piece)


def _with_line_feeds(texts: Iterable[str]) -> Iterator[str]:
    """The pieces of a text whose lines all end in a line feed; an end may span two pieces."""
    decoder = io.IncrementalNewlineDecoder(None, translate=True)
    for text in texts:
        yield decoder.decode(text)
    yield decoder.decode("", final=True)


def _pieces(path: Path) -> Iterator[bytes]:
    """The bytes of a file, unpacked."""
    try:
        with (_opener(path) or open)(path, "rb") as file:
            while piece := file.read(PIECE):
                yield piece
    except (lzma.LZMAError, zlib.error, EOFError, gzip.BadGzipFile):
        raise InputError(f"{path}: the compressed file is damaged or incomplete") from None
    except OSError as error:
        if error.errno is None:  # bzip2's way to say so
            raise InputError(f"{path}: the compressed file is damaged or incomplete") from None
        raise


def _opener(path: Path) -> Callable[..., Any] | None:
    """How a compressed file is opened, by its first bytes; None for one that is not."""
    with path.open("rb") as file:
        head = file.read(6)
    return next((opener for magic, opener in PACKED.items() if head.startswith(magic)), None)
