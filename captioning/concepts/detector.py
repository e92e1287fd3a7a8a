"""A detector of words: which words people will use of a picture, from the decoder's features.

    m = mean_i f_i, brought to length 1
    q = sigmoid(W relu(V m + c) + b)      the share of the people who use each content word

Sentences are searched twice, without it and with the logit of every detected word w (q_w of at
least DETECTED) raised by LOGIT_BIAS q_w until it is written. All hypotheses of both searches are
then reranked by the words detected in the picture (Fang et al. 2015, section 5):

    log p(s) / length^penalty + RERANKING_WEIGHT * sum of q_w over the words w of s
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from captioning.metrics.content import content
from datasets.text.vocabulary import Vocabulary

LOGIT_BIAS = 4.0  # of a word that all people would use
DETECTED = 0.12  # share of people from which a word counts as detected
RERANKING_WEIGHT = 1.5  # of the detected words, beside log p
MIN_PICTURES = 6  # with a word; words of fewer are not learned
HIDDEN = 512
EPOCHS = 16
BATCH = 128
LEARNING_RATE = 1e-3
WEIGHT_DECAY = 0.5
DROPOUT = 0.5  # of the inputs and of the hidden units


class WordDetector(NamedTuple):
    """A network with one hidden layer, and an output for each of some words."""

    words: Int[Tensor, " words"]
    """Their tokens."""
    hidden_weight: Float[Tensor, "hidden channels"]
    hidden_bias: Float[Tensor, " hidden"]
    weight: Float[Tensor, "words hidden"]
    bias: Float[Tensor, " words"]

    def __call__(
        self, features: Float[Tensor, "images cells channels"], vocabulary: int
    ) -> Float[Tensor, "images vocabulary"]:
        """Return the share of people who will use each word of the vocabulary, 0 of the others."""
        mean = F.normalize(features.float().mean(1), dim=-1)
        hidden = F.linear(mean, self.hidden_weight, self.hidden_bias).relu()
        shares = torch.zeros(len(mean), vocabulary, device=mean.device)
        shares[:, self.words] = F.linear(hidden, self.weight, self.bias).sigmoid()
        return shares

    def to(self, device: torch.device | str) -> "WordDetector":
        """Return it on a device."""
        return WordDetector(*(part.to(device) for part in self))

    def saved(self) -> dict[str, Any]:
        """Return what a checkpoint holds of it: the weights as integers of 8 bits, row by row."""
        return {
            "words": self.words,
            "hidden": (*_quantize(self.hidden_weight), self.hidden_bias),
            "output": (*_quantize(self.weight), self.bias),
        }

    @classmethod
    def from_saved(cls, saved: dict[str, Any]) -> "WordDetector":
        """Return the detector that a checkpoint holds."""
        hidden, hidden_scale, hidden_bias = saved["hidden"]
        output, scale, bias = saved["output"]
        return cls(saved["words"], hidden * hidden_scale, hidden_bias, output * scale, bias)


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
    words = _frequent_words(captions, vocabulary)
    if not words:
        return None
    targets = _shares(captions, words)
    centre = means.mean(0)
    spread = means.std(0).clamp(min=1e-4)
    x = (means - centre) / spread
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        hidden = nn.Linear(x.shape[1], HIDDEN)
        output = nn.Linear(HIDDEN, len(words))
        output.bias.data = torch.logit(targets.mean(0), 1e-4)
        drop = nn.Dropout(DROPOUT)
        _train(nn.Sequential(drop, hidden, nn.ReLU(), drop, output), x, targets)
    tokens = torch.tensor([vocabulary.number(word) for word in words])
    scaled = hidden.weight.detach() / spread
    shifted = hidden.bias.detach() - scaled @ centre
    return WordDetector(tokens, scaled, shifted, output.weight.detach(), output.bias.detach())


def _train(
    network: nn.Module,
    x: Float[Tensor, "images channels"],
    targets: Float[Tensor, "images words"],
) -> None:
    """Train a network by cross-entropy."""
    optimizer = torch.optim.AdamW(network.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    steps = EPOCHS * -(-len(x) // BATCH)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(x)).split(BATCH):
            logits = network(x[rows])
            loss = F.binary_cross_entropy_with_logits(logits, targets[rows], reduction="sum")
            optimizer.zero_grad()
            (loss / len(rows)).backward()
            optimizer.step()
            schedule.step()


def _quantize(
    weight: Float[Tensor, "rows columns"],
) -> tuple[Int[Tensor, "rows columns"], Float[Tensor, "rows 1"]]:
    """Return 8-bit integers, from -127 to 127, and the scale of each row."""
    scale = weight.abs().amax(1, keepdim=True).clamp(min=1e-12) / 127
    return (weight / scale).round().to(torch.int8), scale


def _frequent_words(
    captions: Sequence[Sequence[Sequence[str]]], vocabulary: Vocabulary
) -> list[str]:
    """Return the content words of the vocabulary that enough pictures have, in order."""
    pictures: Counter[str] = Counter()
    for texts in captions:
        pictures.update({word for words in texts for word in content(words)})
    return sorted(
        word
        for word, count in pictures.items()
        if count >= MIN_PICTURES and vocabulary.number(word) != vocabulary.unknown
    )


def _shares(
    captions: Sequence[Sequence[Sequence[str]]], words: Sequence[str]
) -> Float[Tensor, "images words"]:
    """Return the share of the captions of each picture that have each word."""
    column = {word: index for index, word in enumerate(words)}
    shares = torch.zeros(len(captions), len(words))
    for image, texts in enumerate(captions):
        for caption in texts:
            for word in content(caption) & column.keys():
                shares[image, column[word]] += 1 / len(texts)
    return shares
