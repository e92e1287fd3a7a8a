"""What sampled sentences earn in self-critical training.

    r(s) = CIDEr-D(s) + w |words of s that people agree on| / |words that they agree on|

CIDEr-D alone is content with what is often said. The second part asks for the words that at least
three of five people use of the picture (`captioning.metrics.content`); it is 0 where they agree on
none.
"""

from collections.abc import Sequence

from captioning.metrics.content import agreed
from captioning.metrics.ngrams import CiderD

END = "<end>"
"""The end of a sentence, as a word: so that stopping is learned too."""


class Rewards:
    """The rewards of sentences about the training images.

    Args:
        references: the captions of each image, as words.
        weight: w.
    """

    def __init__(self, references: Sequence[Sequence[tuple[str, ...]]], weight: float = 0.0):
        self.cider = CiderD([[(*words, END) for words in texts] for texts in references])
        self.agreed = [agreed(texts) for texts in references] if weight else []
        self.weight = weight

    def __call__(self, image: int, words: Sequence[str], *, ended: bool) -> float:
        """Return the reward of a sentence about an image.

        Args:
            image: its number.
            words: those of the sentence.
            ended: whether the sentence came to its end.
        """
        reward = self.cider.reward(image, [*words, END] if ended else words)
        if self.weight and self.agreed[image]:
            used = len(self.agreed[image] & set(words))
            reward += self.weight * used / len(self.agreed[image])
        return reward
