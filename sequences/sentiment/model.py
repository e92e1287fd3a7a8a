"""The classifier: a sentence in, its label out (many-to-one, slide 17).

e_t = E w_t + mean_g G g               word t of the sentence; rare ones are one word <unk>. With
                                       `buckets`, the mean is over the hashed n-grams g of its
                                       letters (Bojanowski et al. 2017); else there is none
h_t = cell(e_t, h_{t-1})               in both directions, side by side
z_j = max_t h_tj                       max pooling over time (Collobert et al. 2011, section 3.3);
                                       or the mean, or the last h of each direction
p(y) = softmax(V z + b)
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from core.base_cell import State
from core.recurrent import with_biases
from datasets.text.vocabulary import Vocabulary
from sequences.sentiment.config import Config
from sequences.sentiment.data import Sentences


class Classifier(nn.Module):
    """From the words of a sentence to the logits of labels."""

    def __init__(self, config: Config, words: int, classes: int):
        super().__init__()
        self.config = config
        self.words = nn.Embedding(words, config.embedding)
        nn.init.normal_(self.words.weight, std=0.1)
        self.grams = (
            nn.EmbeddingBag(config.buckets, config.embedding, mode="mean")
            if config.buckets
            else None
        )
        if self.grams:
            nn.init.normal_(self.grams.weight, std=0.2)  # a mean of some twenty
        self.recurrent = with_biases(
            config.cell,
            config.embedding,
            config.hidden,
            layers=config.layers,
            dropout=config.dropout,
            bidirectional=config.bidirectional,
        )
        self.V = nn.Linear(self.recurrent.output_size, classes)

    def forward(self, sentences: Sentences) -> Float[Tensor, "batch classes"]:
        """Return the logits of each sentence's labels; padding has no influence."""
        outputs, state = self.recurrent(
            self._drop(self.embed(sentences)), lengths=sentences.lengths
        )
        return self.V(self._drop(self.pool(outputs, state, sentences.lengths)))

    def embed(self, sentences: Sentences) -> Float[Tensor, "time batch embedding"]:
        """Return the embedding of each word; in training, some words are replaced by <unk>."""
        tokens = sentences.tokens
        dropped = torch.zeros_like(tokens, dtype=torch.bool)
        if self.training:
            dropped = torch.rand(tokens.shape, device=tokens.device) < self.config.word_dropout
        embedded = self.words(tokens.masked_fill(dropped, Vocabulary.unknown))
        if self.grams is None:
            return embedded
        spelled = self.grams(sentences.grams, sentences.offsets)[sentences.which]
        return embedded + spelled.masked_fill(dropped[:, :, None], 0.0)

    def pool(
        self,
        outputs: Float[Tensor, "time batch units"],
        state: State,
        lengths: Int[Tensor, " batch"],
    ) -> Float[Tensor, "batch units"]:
        """Make one vector of a sentence's outputs."""
        if self.config.pooling == "last":
            h = state[0]
            return h[-self.recurrent.directions :].movedim(0, 1).flatten(1)
        if self.config.pooling == "mean":
            return outputs.sum(0) / lengths[:, None]  # outputs beyond the length are 0
        inside = torch.arange(len(outputs), device=outputs.device)[:, None] < lengths
        return outputs.masked_fill(~inside[:, :, None], -torch.inf).amax(0)

    def _drop(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.config.dropout, self.training)
