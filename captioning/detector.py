"""Which words people will use of a picture, told from the features that the decoder reads.

    m = mean_i f_i, brought to length 1
    q_w = sigmoid(W_w m + b_w)            the share of the people who use the content word w

Of the hypotheses of a beam search that sentence is chosen whose words are the most expected, beside
its own score (Fang et al. 2015, section 5, rank sentences by the words detected in the picture):

    score(s) + WEIGHT * sum of q_w over the words w of s
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from captioning.scores.content import content
from datasets.text.vocabulary import Vocabulary

WEIGHT = 2.0
PICTURES = 30  # with a word; words of fewer are not learned
EPOCHS = 8
BATCH = 128
LEARNING_RATE = 1e-3
WEIGHT_DECAY = 0.05
DROPOUT = 0.5


class WordDetector(NamedTuple):
    """A logistic regression for each of some words."""

    words: Int[Tensor, " words"]
    """Their numbers in the vocabulary."""
    weight: Float[Tensor, "words channels"]
    bias: Float[Tensor, " words"]

    def __call__(
        self, features: Float[Tensor, "images cells channels"], vocabulary: int
    ) -> Float[Tensor, "images vocabulary"]:
        """Return the share of people who will use each word of the vocabulary, 0 of the others."""
        mean = F.normalize(features.float().mean(1), dim=-1)
        expected = torch.zeros(len(mean), vocabulary, device=mean.device)
        expected[:, self.words] = (mean @ self.weight.float().T + self.bias.float()).sigmoid()
        return expected

    def to(self, device: torch.device | str) -> "WordDetector":
        """Return it on a device."""
        return WordDetector(*(part.to(device) for part in self))

    def saved(self) -> dict[str, Any]:
        """Return what a checkpoint holds of it, in half precision."""
        return {"words": self.words, "weight": self.weight.half(), "bias": self.bias.half()}


def fit(
    means: Float[Tensor, "images channels"],
    captions: Sequence[Sequence[Sequence[str]]],
    vocabulary: Vocabulary,
) -> WordDetector | None:
    """Fit a detector to training pictures by cross-entropy, or return None if no word is frequent.

    Args:
        means: the mean features of each picture, of length 1.
        captions: the words of all captions of each picture.
        vocabulary: the words of the captioner.
    """
    words = _frequent(captions, vocabulary)
    if not words:
        return None
    truth = _shares(captions, words)
    centre = means.mean(0)
    spread = means.std(0).clamp(min=1e-4)
    x = (means - centre) / spread
    weight = torch.zeros(len(words), x.shape[1], requires_grad=True)
    bias = torch.logit(truth.mean(0), 1e-4).requires_grad_()
    generator = torch.Generator().manual_seed(0)
    update = torch.optim.AdamW([weight, bias], LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    steps = EPOCHS * -(-len(x) // BATCH)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(update, steps)
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(x), generator=generator).split(BATCH):
            kept = torch.rand(len(rows), x.shape[1], generator=generator) >= DROPOUT
            logits = (x[rows] * kept / (1 - DROPOUT)) @ weight.T + bias
            loss = F.binary_cross_entropy_with_logits(logits, truth[rows], reduction="sum")
            update.zero_grad()
            (loss / len(rows)).backward()
            update.step()
            schedule.step()
    scaled = weight.detach() / spread
    numbers = torch.tensor([vocabulary.number(word) for word in words])
    return WordDetector(numbers, scaled, bias.detach() - scaled @ centre)


def _frequent(captions: Sequence[Sequence[Sequence[str]]], vocabulary: Vocabulary) -> list[str]:
    """Return the content words of the vocabulary that enough pictures have, in order."""
    pictures: Counter[str] = Counter()
    for texts in captions:
        pictures.update({word for words in texts for word in content(words)})
    return sorted(
        word
        for word, count in pictures.items()
        if count >= PICTURES and vocabulary.number(word) != vocabulary.unknown
    )


def _shares(
    captions: Sequence[Sequence[Sequence[str]]], words: Sequence[str]
) -> Float[Tensor, "images words"]:
    """Return the share of the captions of each picture that have each word."""
    column = {word: place for place, word in enumerate(words)}
    shares = torch.zeros(len(captions), len(words))
    for image, texts in enumerate(captions):
        for one in texts:
            for word in content(one) & column.keys():
                shares[image, column[word]] += 1 / len(texts)
    return shares
