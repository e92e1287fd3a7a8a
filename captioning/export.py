"""Write a trained captioner as two files that run without this package.

    uv run captioning export runs/captioning/scenes FOLDER           # encode.pt2 and step.pt2
    uv run captioning export runs/captioning/scenes FOLDER --onnx    # encode.onnx and step.onnx

    encode, step = (torch.export.load(f"FOLDER/{name}.pt2").module() for name in ("encode", "step"))
    state, cells, keys, mean, names = encode(pixels=pixels)     # bytes [batch, 3, size, size]
    tokens = torch.full((len(pixels),), start)
    for _ in range(longest):
        log_p, state, alpha = step(
            tokens=tokens, state=state, cells=cells, keys=keys, mean=mean, names=names
        )
        tokens = log_p.argmax(-1)                               # greedy, until the end token

alpha [batch, cells] are the attention weights. For a beam, repeat the rows of all inputs.
`names` [batch, embedding] is what the detected concepts add to each word that is read.
`about.json` in the files has the words, the tokens of start and end, and the preprocessing.

This is the decoder alone: `captioning caption` also copies concepts, reranks by detected
words and writes no word twice.
"""

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn

from captioning.arguments import Export
from captioning.model import Captioner, Projection
from captioning.trained import Trained, open_model
from core.errors import InputError
from core.training import cli, export
from core.training.config import to_dict
from datasets.text.vocabulary import Vocabulary
from vision.tuning import Trunk

ENCODED = ("state", "cells", "keys", "mean", "names")
WRITTEN = ("log_p", "state_after", "alpha")


class Encode(nn.Module):
    """Pictures to what `Step` needs to write about them."""

    def __init__(self, trained: Trained):
        super().__init__()
        self.encoder = trained.encoder
        self.tail = trained.tail
        self.blocks = trained.config.tune_blocks
        self.decoder = trained.decoder

    def forward(
        self, pixels: UInt8[Tensor, "batch 3 size size"]
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Return the first state, cells, keys, mean and concepts; what the net lacks is empty."""
        if self.tail is None:
            features = self.encoder(pixels)
        else:
            features = self.tail(Trunk(self.encoder, self.blocks)(pixels))
        projection = self.decoder.project(features)
        keys = projection.cells[..., :0] if projection.keys is None else projection.keys
        concepts = projection.mean[..., :0] if projection.concepts is None else projection.concepts
        state = export.pack(self.decoder.initial_state(projection))
        return state, projection.cells, keys, projection.mean, concepts


class Step(nn.Module):
    """One word read, and the probabilities of the next."""

    unspoken: Tensor

    def __init__(self, decoder: Captioner, vocabulary: Vocabulary):
        super().__init__()
        self.decoder = decoder
        self.register_buffer("unspoken", torch.tensor(vocabulary.unspoken))

    def forward(
        self,
        tokens: Int[Tensor, " batch"],
        state: Float[Tensor, "batch parts hidden"],
        cells: Float[Tensor, "batch cells visual"],
        keys: Float[Tensor, "batch cells keys"],
        mean: Float[Tensor, "batch visual"],
        names: Float[Tensor, "batch embedding"],
    ) -> tuple[
        Float[Tensor, "batch vocabulary"],
        Float[Tensor, "batch parts hidden"],
        Float[Tensor, "batch cells"],
    ]:
        """Return log p of the next word, the state, and the attention weights.

        What is never written, as <unk>, has log p -inf.
        """
        decoder = self.decoder
        projection = Projection(
            cells, keys if decoder.attention else None, mean, names if decoder.concepts else None
        )
        embedded = decoder.embed(tokens, projection)
        outputs, after, alpha = decoder.step(embedded, export.unpack(state), projection)
        log_p = decoder.logits(outputs, embedded).log_softmax(-1)
        log_p = log_p.index_fill(-1, self.unspoken, -torch.inf)
        return log_p, export.pack(after), alpha


def main(arguments: Export) -> None:
    """Open a run, write the programs.

    Raises:
        InputError: the folder is called as a file would be, or cannot be written to.
    """
    if arguments.folder.suffix in (".pt2", ".onnx"):
        name = arguments.folder.with_suffix("")
        raise InputError(
            f"{arguments.folder}: two files are written into a folder; call it {name}, say"
        )
    trained, _ = open_model(arguments.run, "cpu")
    vocabulary = trained.vocabulary
    preprocessing = trained.encoder.preprocessing
    about = {
        "vocabulary": vocabulary.to_json(),
        "start": vocabulary.start,
        "end": vocabulary.end,
        "longest": trained.config.longest,
        "preprocessing": to_dict(preprocessing),
    }
    suffix = ".onnx" if arguments.onnx else ".pt2"
    encode = Encode(trained)
    pixels = torch.zeros(1, 3, preprocessing.size, preprocessing.size, dtype=torch.uint8)
    file = (arguments.folder / "encode").with_suffix(suffix)
    export.write(file, encode, {"pixels": pixels}, ENCODED, about)
    with torch.no_grad():
        encoded = encode(pixels)
    inputs = {
        "tokens": torch.tensor([vocabulary.start]),
        **dict(zip(ENCODED, encoded, strict=True)),
    }
    file = (arguments.folder / "step").with_suffix(suffix)
    export.write(file, Step(trained.decoder, vocabulary), inputs, WRITTEN, about)


if __name__ == "__main__":
    raise SystemExit(cli.script("captioning export"))
