"""Alphabets of character models: the characters of a text, or all bytes.

alphabet = Alphabet("ehlo")
alphabet.encode("hello")                # array([1, 0, 2, 2, 3])
alphabet.decode([1, 0, 2, 2, 3])        # "hello"
"""

import codecs
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Integer

BYTES = 256


@dataclass(frozen=True)
class Alphabet:
    """What a text is written in: a number for each of its characters, or for each byte."""

    characters: str | None = None
    """In the order of Unicode, which is that of their numbers; None: bytes of UTF-8."""

    def __len__(self) -> int:
        return BYTES if self.characters is None else len(self.characters)

    @property
    def dtype(self) -> np.dtype:
        """The smallest type that holds the numbers."""
        return np.min_scalar_type(len(self) - 1)

    @property
    def unit(self) -> str:
        """What one number stands for: the word for messages."""
        return "byte" if self.characters is None else "character"

    @property
    def has_returns(self) -> bool:
        """Whether the carriage return is a character of its own."""
        return "\r" in (self.characters or "")

    def without_returns(self) -> "Alphabet":
        """Return the alphabet of the same text when its lines end in a line feed."""
        if not self.has_returns:
            return self
        characters = (self.characters or "").replace("\r", "\n")
        return Alphabet("".join(sorted(set(characters))))

    def unseen(self, text: str) -> str:
        """Return the characters of a text that have no number, each once, in order."""
        known = set(text if self.characters is None else self.characters)
        return "".join(dict.fromkeys(character for character in text if character not in known))

    def known(self, text: str) -> str:
        """Return a text without the characters that have no number."""
        unseen = self.unseen(text)
        return "".join(character for character in text if character not in unseen)

    def encode(self, text: str) -> Integer[np.ndarray, " length"]:
        """Return the numbers of a text, all of whose characters have one."""
        if self.characters is None:
            # A command line has bytes that are not UTF-8 as surrogates.
            return np.frombuffer(text.encode(errors="surrogateescape"), dtype=np.uint8)
        return np.searchsorted(code_points(self.characters), code_points(text)).astype(self.dtype)

    def decode(self, numbers: Iterable[int]) -> str:
        """Return the text of numbers; bytes that are not UTF-8 become the replacement character."""
        if self.characters is None:
            return bytes(numbers).decode(errors="replace")
        return "".join(self.characters[number] for number in numbers)

    def decoder(self) -> Callable[[int], str]:
        """Return a function from the next number to the text that it completes, perhaps none."""
        if self.characters is not None:
            return self.characters.__getitem__
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        return lambda number: decoder.decode(bytes([number]))


def quoted(characters: str) -> str:
    """Return the first ten of some characters in quotes, for a message."""
    more = " ..." if len(characters) > 10 else ""
    return ", ".join(map(repr, characters[:10])) + more


def code_points(text: str) -> Integer[np.ndarray, " length"]:
    """Return the numbers that Unicode gives to the characters of a text."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
