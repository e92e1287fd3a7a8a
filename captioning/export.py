"""Write a trained captioner as two programs that run without this package: look at pictures, write a word.

uv run captioning export runs/captioning/scenes FOLDER    # FOLDER/look.pt2 and FOLDER/word.pt2

    look, word = (torch.export.load(f"FOLDER/{name}.pt2").module() for name in ("look", "word"))
    state, cells, keys, mean = look(pixels=pixels)              # pixels: bytes [batch, 3, size, size]
    tokens = torch.full((len(pixels),), start)
    for _ in range(longest):
        log_p, state, alpha = word(tokens=tokens, state=state, cells=cells, keys=keys, mean=mean)
        tokens = log_p.argmax(-1)                               # greedy; over where it is the end

alpha [batch, cells] is where it looked. For a beam, repeat the rows of all that goes in. The files' about.json has
the words, the tokens of start and end, and how pictures are prepared.
"""

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn

from captioning.arguments import Export
from captioning.model import Captioner, Seen
from captioning.trained import Trained, open_model
from core.training import cli, export
from core.training.config import to_dict


class Look(nn.Module):
    """Pictures seen: what `Word` needs to write about them."""

    def __init__(self, trained: Trained):
        super().__init__()
        self.encoder, self.decoder = trained.encoder, trained.decoder

    def forward(
        self, pixels: UInt8[Tensor, "batch 3 size size"]
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return the first state, cells, keys (empty without attention) and mean."""
        seen = self.decoder.see(self.encoder(pixels))
        keys = seen.cells[..., :0] if seen.keys is None else seen.keys
        return export.pack(self.decoder.initial_state(seen)), seen.cells, keys, seen.mean


class Word(nn.Module):
    """One word read, and the probabilities of the next."""

    def __init__(self, decoder: Captioner):
        super().__init__()
        self.decoder = decoder

    def forward(
        self,
        tokens: Int[Tensor, " batch"],
        state: Float[Tensor, "batch parts hidden"],
        cells: Float[Tensor, "batch cells visual"],
        keys: Float[Tensor, "batch cells scores"],
        mean: Float[Tensor, "batch visual"],
    ) -> tuple[
        Float[Tensor, "batch vocabulary"],
        Float[Tensor, "batch parts hidden"],
        Float[Tensor, "batch cells"],
    ]:
        """Return log p of the next word, the state, and where was looked."""
        seen = Seen(cells, keys if self.decoder.attention else None, mean)
        embedded = self.decoder.words(tokens)
        known, after, alpha = self.decoder.step(embedded, export.unpack(state), seen)
        return self.decoder.score(known, embedded).log_softmax(-1), export.pack(after), alpha


def main(arguments: Export) -> None:
    """Open a run, write the programs."""
    trained, _ = open_model(arguments.run, "cpu")
    vocabulary, preprocessing = trained.vocabulary, trained.encoder.preprocessing
    about = {
        "vocabulary": vocabulary.to_json(),
        "start": vocabulary.start,
        "end": vocabulary.end,
        "longest": trained.config.longest,
        "preprocessing": to_dict(preprocessing),
    }
    look, word = Look(trained), Word(trained.decoder)
    pixels = torch.zeros(1, 3, preprocessing.size, preprocessing.size, dtype=torch.uint8)
    export.write(arguments.folder / "look.pt2", look, {"pixels": pixels}, about)
    with torch.no_grad():
        state, cells, keys, mean = look(pixels)
    tokens = torch.tensor([vocabulary.start])
    inputs = {"tokens": tokens, "state": state, "cells": cells, "keys": keys, "mean": mean}
    export.write(arguments.folder / "word.pt2", word, inputs, about)


if __name__ == "__main__":
    raise SystemExit(cli.script("captioning export"))
