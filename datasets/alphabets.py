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
    """What a text is written in: a number for each character in use, or, without `characters`, for each byte."""

    characters: str | None = None
    """In the order of their numbers, that of Unicode; None: bytes of UTF-8."""

    def __len__(self) -> int:
        return BYTES if self.characters is None else len(self.characters)

    @property
    def dtype(self) -> np.dtype:
        """The smallest type that holds the numbers."""
        return np.min_scalar_type(len(self) - 1)

    @property
    def unit(self) -> str:
        """What one number stands for, as readers are told."""
        return "byte" if self.characters is None else "character"

    def unseen(self, text: str) -> str:
        """Return the characters of a text that have no number, each once and in their order."""
        known = set(text if self.characters is None else self.characters)
        return "".join(dict.fromkeys(character for character in text if character not in known))

    def encode(self, text: str) -> Integer[np.ndarray, " length"]:
        """Return the numbers of a text, all of whose characters have one."""
        if self.characters is None:
            return np.frombuffer(text.encode(), dtype=np.uint8)
        return np.searchsorted(code_points(self.characters), code_points(text)).astype(self.dtype)

    def decode(self, numbers: Iterable[int]) -> str:
        """Return the text of numbers; bytes that are no UTF-8 become the replacement character."""
        if self.characters is None:
            return bytes(numbers).decode(errors="replace")
        return "".join(self.characters[number] for number in numbers)

    def decoder(self) -> Callable[[int], str]:
        """Return a function that is told one number after another, and returns the text that is complete by then."""
        if self.characters is not None:
            return self.characters.__getitem__
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        return lambda number: decoder.decode(bytes([number]))


def code_points(text: str) -> Integer[np.ndarray, " length"]:
    """Return the numbers that Unicode gives to the characters of a text."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
