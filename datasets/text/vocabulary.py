"""Sentences as numbers: a vocabulary of words, trained by `tokenizers`, kept as JSON."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

SPECIAL = ("<pad>", "<unk>", "<start>", "<end>")

# Patterns of Oniguruma, which knows Unicode's properties; \X is a grapheme cluster.
LETTER = r"[\p{L}\p{M}\p{N}]"
SIGN = r"(?=[^\s\p{L}\p{M}\p{N}\p{Cc}\p{Cf}])\X"
EMOJI = r"(?=\p{So})\X"
CLITIC = rf"(?:n't|'(?:s|re|ve|ll|d|m))(?!{LETTER})"  # don't: two words, as in the Penn Treebank
INSIDE = r"(?:['-]|(?<=\p{N})[.,:](?=\p{N}))"  # black-and-white, o'clock, 10:30: one word
WORD = rf"{CLITIC}|[\p{{L}}\p{{N}}](?:(?!{CLITIC}){INSIDE}?{LETTER})*"

CLITICS = ("n't", "'s", "'re", "'ve", "'ll", "'d", "'m")
CLOSING = tuple(".,!?;:%)]}…")  # stand close to the word before them, as clitics do
OPENING = tuple("([{$#@")  # stand close to the word after them


class Vocabulary:
    """Lower-case words, emoji and optionally punctuation marks, with a number each; else <unk>.

    Without punctuation the words are those that captions are commonly compared by: the tokens of
    the Penn Treebank, made in pycocoevalcap by a Java program, less the marks.

    Attributes:
        pad, unknown, start, end: the numbers of the special tokens, 0 to 3.
        unspoken: the numbers of what is never to be written.
    """

    pad, unknown, start, end = range(len(SPECIAL))
    unspoken = (pad, unknown, start)

    def __init__(self, tokenizer: Tokenizer):
        self._tokenizer = tokenizer
        self._tokenizer.encode_special_tokens = True  # in a sentence, "<end>" is text as any other

    @classmethod
    def train(
        cls, sentences: Iterable[str], min_count: int = 1, *, punctuation: bool = False
    ) -> Vocabulary:
        """Return the vocabulary of words that occur `min_count` times, the most frequent first."""
        tokenizer = Tokenizer(models.WordLevel(unk_token=SPECIAL[cls.unknown]))
        tokenizer.normalizer = normalizers.Sequence(
            [
                normalizers.NFC(),
                normalizers.Lowercase(),
                normalizers.NFC(),
                normalizers.Replace("’", "'"),
            ]
        )
        pattern = Regex(f"{WORD}|{SIGN if punctuation else EMOJI}")
        tokenizer.pre_tokenizer = pre_tokenizers.Split(pattern, "removed", invert=True)
        trainer = trainers.WordLevelTrainer(
            vocab_size=2**31 - 1,
            min_frequency=min_count,
            special_tokens=list(SPECIAL),
            show_progress=False,
        )
        tokenizer.train_from_iterator(sentences, trainer)
        return cls(tokenizer)

    def extended(self, sentences: Iterable[str], min_count: int = 1) -> Vocabulary:
        """Return this vocabulary and the words that it lacks: those that occur `min_count` times.

        The numbers of its own words stay.
        """
        counts = Counter(word for sentence in sentences for word in self.words(sentence))
        model = json.loads(self.to_json())
        numbers = model["model"]["vocab"]
        for word, count in counts.most_common():
            if count >= min_count and word not in numbers:
                numbers[word] = len(numbers)
        return Vocabulary.from_json(json.dumps(model))

    @classmethod
    def from_json(cls, text: str) -> Vocabulary:
        """Return the vocabulary that `to_json` gave."""
        return cls(Tokenizer.from_str(text))

    def to_json(self) -> str:
        """Return all of it, the splitting into words included, as JSON."""
        return self._tokenizer.to_str()

    def __len__(self) -> int:
        return self._tokenizer.get_vocab_size()

    def words(self, sentence: str) -> list[str]:
        """Return the normalised words of a sentence, those outside the vocabulary too."""
        normal = self._tokenizer.normalizer.normalize_str(sentence)
        return [word for word, _ in self._tokenizer.pre_tokenizer.pre_tokenize_str(normal)]

    def number(self, word: str) -> int:
        """Return the number of a word, that of <unk> for one outside the vocabulary."""
        number = self._tokenizer.token_to_id(word)
        return self.unknown if number is None else number

    def encode(self, sentence: str) -> list[int]:
        """Return the numbers of the words, without <start> and <end>."""
        return self._tokenizer.encode(sentence).ids

    def spoken(self, numbers: Sequence[int]) -> list[str]:
        """Return the words of a written sentence, up to its <end>."""
        numbers = list(numbers)
        if self.end in numbers:
            numbers = numbers[: numbers.index(self.end)]
        return [
            self._tokenizer.id_to_token(n) or SPECIAL[self.unknown]
            for n in numbers
            if n not in (self.pad, self.start)
        ]

    def decode(self, numbers: Sequence[int]) -> str:
        """Return a written sentence for the reader, up to its <end>."""
        return joined(self.spoken(numbers))


def joined(words: Sequence[str]) -> str:
    """Return words and marks as a sentence for the reader."""
    text = ""
    before = ""
    for word in words:
        close = before in OPENING or word in CLOSING or (word in CLITICS and before not in CLITICS)
        text += word if close or not text else f" {word}"
        before = word
    return text
