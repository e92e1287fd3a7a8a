"""Sentences as subwords, which joined give the sentence again, letter by letter.

The subwords are found by byte-pair encoding (BPE, Sennrich et al. 2016) inside words; punctuation
marks are subwords of their own. A subword begins with ▁ where a space stands before it (Kudo and
Richardson 2018), so joining needs no rules about punctuation.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

from datasets.text.vocabulary import SPECIAL

SPACE = "▁"
PARTS = Regex(r"▁?[\p{L}\p{M}\p{N}]+|▁?[^\p{L}\p{M}\p{N}▁]|▁")  # a word, a mark, or a lonely space


class Subwords:
    """A vocabulary of subwords with a number each, trained by `tokenizers` and kept as JSON.

    What the vocabulary lacks is <unk>.

    Attributes:
        pad, unknown, start, end: the numbers of the special tokens, 0 to 3.
        unspoken: the numbers of what is never to be written.
    """

    pad, unknown, start, end = range(len(SPECIAL))
    unspoken = (pad, start)

    def __init__(self, tokenizer: Tokenizer):
        self._tokenizer = tokenizer
        self._tokenizer.encode_special_tokens = True  # in a sentence, "<end>" is text as any other

    @classmethod
    def train(cls, sentences: Iterable[str], size: int, min_count: int = 2) -> Subwords:
        """Return the vocabulary of at most `size` subwords, each seen `min_count` times.

        Every letter is kept, however rare, even where that takes more than `size` subwords.
        """
        tokenizer = Tokenizer(models.BPE(unk_token=SPECIAL[cls.unknown], fuse_unk=True))
        trainer = trainers.BpeTrainer(
            vocab_size=size,
            min_frequency=min_count,
            special_tokens=list(SPECIAL),
            show_progress=False,
        )
        tokenizer.normalizer = normalizers.Sequence(
            [normalizers.NFC(), normalizers.Replace(Regex(r"[\s▁]+"), " "), normalizers.Strip()]
        )
        spaces = pre_tokenizers.Metaspace(SPACE, "always", split=False)
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [spaces, pre_tokenizers.Split(PARTS, "isolated")]
        )
        tokenizer.train_from_iterator(sentences, trainer)
        return cls(tokenizer)

    @classmethod
    def from_json(cls, text: str) -> Subwords:
        """Return the vocabulary that `to_json` gave."""
        return cls(Tokenizer.from_str(text))

    def to_json(self) -> str:
        """Return all of it, the splitting into subwords included, as JSON."""
        return self._tokenizer.to_str()

    def __len__(self) -> int:
        return self._tokenizer.get_vocab_size()

    def encode(self, sentence: str) -> list[int]:
        """Return the numbers of the subwords, without <start> and <end>."""
        return self._tokenizer.encode(sentence).ids

    def encode_all(self, sentences: Iterable[str]) -> list[list[int]]:
        """Return the numbers of the subwords of each sentence."""
        return [encoding.ids for encoding in self._tokenizer.encode_batch_fast(list(sentences))]

    def surfaces(self, sentence: str) -> list[str]:
        """Return the subwords of a sentence as text, also those that are <unk>."""
        text = self._tokenizer.normalizer.normalize_str(sentence)
        encoding = self._tokenizer.encode(text)
        before = ""
        subwords = []
        for token, (start, stop) in zip(encoding.tokens, encoding.offsets, strict=True):
            subword = token
            if token == SPECIAL[self.unknown]:
                after_space = start == 0 or " " in text[start - 1 : start + 1]
                subword = text[start:stop].strip()
                if after_space and before != SPACE:
                    subword = SPACE + subword
            subwords.append(subword)
            before = subword
        return subwords

    def spoken(self, numbers: Sequence[int]) -> list[str]:
        """Return the subwords of these numbers."""
        return [self._tokenizer.id_to_token(number) or SPECIAL[self.unknown] for number in numbers]


def text_of(subwords: Iterable[str]) -> str:
    """Return the sentence that subwords make."""
    return "".join(subwords).replace(SPACE, " ").strip()


def words_of(subwords: Sequence[str]) -> list[slice]:
    """Return the subwords of each word; marks at its end are words of their own."""
    lettered = [any(map(str.isalnum, subword)) for subword in subwords]
    goes_on = [
        letter and not subword.startswith(SPACE)
        for letter, subword in zip(lettered, subwords, strict=True)
    ]
    starts = [
        n
        for n, subword in enumerate(subwords)
        if n == 0
        or subword.startswith(SPACE)
        or not (lettered[n] or goes_on[n + 1 : n + 2] == [True])
    ]
    return [slice(start, stop) for start, stop in pairwise([*starts, len(subwords)])]
