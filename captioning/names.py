"""Names for what the encoder's own classifier recognises, as words of the vocabulary.

EfficientNet-Lite0 knows the 1,000 classes of ImageNet. What people call them stands in
vision/imagenet_words.txt; the classes of one word are one name (all breeds are "dog"). The decoder
takes the names as attributes (You et al. 2016, Yao et al. 2017):

    p = softmax(W mean_i f_i + b)             the classifier on the features f_i of the grid
    a = sum over names k of p_k E[word_k]     E being the decoder's table of words
"""

from functools import cache
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from datasets.text import Vocabulary
from vision.encoder import CLASSES, Encoder

TABLE = Path(__file__).parents[1] / "vision" / "imagenet_words.txt"


@cache
def class_words() -> dict[int, str]:
    """Return the word for each class of ImageNet that has one."""
    words: dict[int, str] = {}
    for line in TABLE.read_text().splitlines():
        if line.startswith("#"):
            continue
        word, *ranges = line.split()
        for numbers in ranges:
            first, _, last = numbers.partition("-")
            for number in range(int(first), int(last or first) + 1):
                words[number] = word
    return words


class Names(nn.Module):
    """The probabilities of names, from the features of a picture.

    Its weights are the encoder's and not in checkpoints of the decoder.
    """

    weight: Tensor
    bias: Tensor
    words: Tensor
    groups: Tensor

    def __init__(
        self,
        weight: Float[Tensor, "classes channels"],
        bias: Float[Tensor, " classes"],
        words: Int[Tensor, " names"],
        groups: Float[Tensor, "classes names"],
    ):
        super().__init__()
        self.register_buffer("weight", weight, persistent=False)
        self.register_buffer("bias", bias, persistent=False)
        self.register_buffer("words", words, persistent=False)
        self.register_buffer("groups", groups, persistent=False)

    def forward(
        self, features: Float[Tensor, "images cells channels"]
    ) -> Float[Tensor, "images names"]:
        """Return the probability of each name; they sum to at most 1."""
        mean = features.to(self.weight.dtype).mean(1)
        logits = mean @ self.weight.T + self.bias
        return logits.softmax(-1) @ self.groups


def names_of(encoder: Encoder, vocabulary: Vocabulary) -> Names | None:
    """Return the names that are in a vocabulary, or None for an encoder without a classifier."""
    if encoder.classifier is None:
        return None
    numbers = {word: vocabulary.number(word) for word in set(class_words().values())}
    words = sorted(number for number in numbers.values() if number != vocabulary.unknown)
    column = {word: place for place, word in enumerate(words)}
    groups = torch.zeros(CLASSES, len(words))
    for number, word in class_words().items():
        if numbers[word] in column:
            groups[number, column[numbers[word]]] = 1.0
    weight, bias = encoder.classifier
    return Names(weight.float(), bias.float(), torch.tensor(words), groups)
