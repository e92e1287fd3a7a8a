"""Names for what the encoder's own classifier recognises, as words of the vocabulary.

EfficientNet-Lite0 knows the 1,000 classes of ImageNet. What people call them stands in
vision/imagenet_words.txt; the classes of one word are one name (all breeds are "dog"). The decoder
takes the names as attributes (You et al. 2016, Yao et al. 2017):

    p = softmax(W mean_i f_i + b)             the classifier on the features f_i of the grid
    n = sum over names k of p_k E[word_k]     E being the decoder's table of words

A sentence that lacks a name of which the classifier is sure is written once more, and may copy it
(Yao et al. 2017): its logit gains `bonus` * p_k in each step until the name is written.

A captioner that has seen many dogs writes "dog" of grass, too. So a name is not written where its
probability is below that of nearly all training pictures of which people use it
(`captioning.writing.floors`).

Where it is still missing, and the classifier is surer of it than the captioner of its sentence,
the sentence is begun with it, "a squirrel ...": a constraint on the search (Anderson et al. 2017).

For a name that is not in the vocabulary, because no caption showed it, stands a word that is like
it; if the classifier is sure, the name takes its place in the finished sentence (Hendricks et al.
2016 copy the weights of such a word): "a dog in the snow" becomes "a fox in the snow".
"""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from captioning.writing.forms import plural
from captioning.writing.imagenet_words import table
from datasets.text.vocabulary import Vocabulary
from vision.encoder import CLASSES, Encoder

SURE = 0.2  # probability from which a name may be copied


class Names(nn.Module):
    """The probabilities of names, from the features of a picture.

    Its weights are the encoder's and not in checkpoints of the decoder.

    Args:
        weight, bias: the classifier.
        words: the number of the word that is written for each name.
        groups: 1 where a class has a name.
        copied: the names that sentences may copy.
        begins: the names that may begin a sentence.
        plurals: the numbers of plurals, by those of their words.
        unknown: the names that are not in the vocabulary, by their places, with the words that are
            written for them.
        floors: the probability below which a name is not written.
    """

    weight: Tensor
    bias: Tensor
    words: Tensor
    groups: Tensor
    copied: Tensor
    begins: Tensor
    floors: Tensor

    def __init__(
        self,
        weight: Float[Tensor, "classes channels"],
        bias: Float[Tensor, " classes"],
        words: Int[Tensor, " names"],
        groups: Float[Tensor, "classes names"],
        copied: Bool[Tensor, " names"],
        begins: Bool[Tensor, " names"],
        plurals: Mapping[int, int],
        unknown: Mapping[int, tuple[str, str]],
        floors: Float[Tensor, " names"],
    ):
        super().__init__()
        self.register_buffer("weight", weight, persistent=False)
        self.register_buffer("bias", bias, persistent=False)
        self.register_buffer("words", words, persistent=False)
        self.register_buffer("groups", groups, persistent=False)
        self.register_buffer("copied", copied, persistent=False)
        self.register_buffer("begins", begins, persistent=False)
        self.register_buffer("floors", floors, persistent=False)
        self.plurals = plurals
        self.unknown = unknown

    def forward(
        self, features: Float[Tensor, "images cells channels"]
    ) -> Float[Tensor, "images names"]:
        """Return the probability of each name; they sum to at most 1."""
        mean = features.to(self.weight.dtype).mean(1)
        logits = mean @ self.weight.T + self.bias
        return logits.softmax(-1) @ self.groups

    def of_words(
        self, probabilities: Float[Tensor, "images names"]
    ) -> Float[Tensor, "images names"]:
        """Return the probabilities of all names that are written with the same word as each."""
        same = self.words[:, None] == self.words
        return probabilities @ same.to(probabilities.dtype)

    def ruled_out(
        self, probabilities: Float[Tensor, "images names"], vocabulary: int
    ) -> Bool[Tensor, "images vocabulary"]:
        """Return the words that are not to be written of each image, plurals included."""
        words = self.words.tolist()
        plurals = torch.tensor([self.plurals.get(word, word) for word in words])
        image, name = (self.of_words(probabilities) < self.floors).nonzero(as_tuple=True)
        forbidden = torch.zeros(
            len(probabilities), vocabulary, dtype=torch.bool, device=self.words.device
        )
        forbidden[image, self.words[name]] = True
        forbidden[image, plurals.to(name.device)[name]] = True
        return forbidden

    def missing(
        self, probabilities: Float[Tensor, "images names"], sentences: Sequence[Sequence[int]]
    ) -> Float[Tensor, "images names"]:
        """Return the probabilities of names to copy: 0 if unsure, not to be copied, or written.

        Args:
            probabilities: those of the names.
            sentences: what was written about each image, as numbers of words.
        """
        sure = (probabilities >= SURE) & self.copied
        missing = torch.zeros_like(probabilities)
        for image, name in sure.nonzero().tolist():
            if self._lacks(sentences[image], name):
                missing[image, name] = probabilities[image, name]
        return missing

    def sure(
        self, probabilities: Float[Tensor, "images names"], vocabulary: int
    ) -> Float[Tensor, "images vocabulary"]:
        """Return the probabilities of words that may be copied, plurals included; 0 if unsure."""
        of_words = self.of_words(probabilities)
        words = torch.zeros(len(probabilities), vocabulary, device=probabilities.device)
        for image, name in ((of_words >= SURE) & self.copied).nonzero().tolist():
            word = int(self.words[name])
            words[image, [word, self.plurals.get(word, word)]] = of_words[image, name]
        return words

    def beginnings(
        self,
        probabilities: Float[Tensor, "images names"],
        sentences: Sequence[Sequence[int]],
        confidences: Sequence[float],
    ) -> list[tuple[int, int, float]]:
        """Return the images whose sentence should begin with a name, it, and its probability.

        The name is the most probable of the image, and more probable than that the sentence, which
        lacks it, is right.

        Args:
            probabilities: those of the names.
            sentences: what was written about each image, as numbers of words.
            confidences: the probability that each sentence is right.
        """
        found = []
        of_words = self.of_words(probabilities)
        for image, name in enumerate(probabilities.argmax(1).tolist()):
            p = of_words[image, name].item()
            surer = p >= max(SURE, self.floors[name].item()) and p > confidences[image]
            if surer and self.begins[name] and self._lacks(sentences[image], name):
                found.append((image, int(self.words[name]), p))
        return found

    def _lacks(self, sentence: Sequence[int], name: int) -> bool:
        """Return whether a sentence has a name neither in the singular nor in the plural."""
        word = int(self.words[name])
        return not {word, self.plurals.get(word)} & set(sentence)

    def replaced(self, probabilities: Float[Tensor, "images names"]) -> list[list[tuple[str, str]]]:
        """Return for each image the words that stand for a name outside the vocabulary, and it."""
        found: list[list[tuple[str, str]]] = [[] for _ in probabilities]
        words = self.words.tolist()
        for image, name in (probabilities >= SURE).nonzero().tolist():
            rivals = [place for place, word in enumerate(words) if word == words[name]]
            best = max(rivals, key=lambda place: probabilities[image, place].item())
            if name == best and name in self.unknown:
                word, like = self.unknown[name]
                found[image] += [(like, word), (plural(like), plural(word))]
        return found


def replace_words(words: Sequence[str], pairs: Sequence[tuple[str, str]]) -> list[str]:
    """Return the words of a sentence with some replaced, and with "a" or "an" before those.

    A name of several words takes the place of all words like it: "a cup of tea" becomes "a cup of
    coffee".
    """
    new = dict(pairs)
    replaced: list[str] = []
    place = 0
    while place < len(words):
        word = words[place]
        place += 1
        name = new.get(word, word).split()
        if word in new:
            if replaced and replaced[-1] in ("a", "an"):
                replaced[-1] = "an" if name[0][0] in "aeiou" else "a"
            if len(name) > 1 and list(words[place : place + 1]) == name[1:2]:
                rest = words[place : place + len(name)]  # with an adjective: "of red wine"
                place += rest.index(name[-1]) + 1 if name[-1] in rest else len(name) - 1
        replaced += name
    return replaced


def names_of(
    encoder: Encoder, vocabulary: Vocabulary, floors: Mapping[str, float] | None = None
) -> Names | None:
    """Return the names that can be written with a vocabulary, or None without a classifier.

    Args:
        encoder: the encoder as it was before training.
        vocabulary: the words of the captioner.
        floors: for some words the probability below which they are not written.
    """
    if encoder.classifier is None:
        return None

    def known(word: str) -> bool:
        return vocabulary.number(word) != vocabulary.unknown

    rows = [row for row in table() if known(row.word) or (row.like and known(row.like))]
    words = []
    plurals = {}
    unknown = {}
    groups = torch.zeros(CLASSES, len(rows))
    least = torch.zeros(len(rows))
    for place, row in enumerate(rows):
        word = row.word if known(row.word) else row.like
        least[place] = (floors or {}).get(word, 0.0)
        number = vocabulary.number(word)
        words.append(number)
        if known(plural(word)):
            plurals[number] = vocabulary.number(plural(word))
        if word != row.word:
            unknown[place] = (row.word, word)
        groups[list(row.classes), place] = 1.0
    weight, bias = encoder.classifier
    copied = torch.tensor([row.copied for row in rows], dtype=torch.bool)
    begins = torch.tensor([row.begins for row in rows], dtype=torch.bool)
    numbers = torch.tensor(words, dtype=torch.int64)
    return Names(
        weight.float(), bias.float(), numbers, groups, copied, begins, plurals, unknown, least
    )
