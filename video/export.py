"""Write a step of a trained labeller, encoder included, as a file that runs without this package.

    uv run video export runs/video/sprites labeller.pt2     # for PyTorch
    uv run video export runs/video/sprites labeller.onnx    # for ONNX Runtime

    program = torch.export.load("labeller.pt2").module()
    log_p, state = program(pixels=pixels, state=state)    # one frame of each stream

The state is zeros at the beginning of a stream; pixels are bytes [batch, 3, size, size], or 6
channels of a net with motion. The file's about.json has the names of the labels, how frames are
prepared, their rate, and the shape of the state. It is for nets of one direction: one that looks
ahead has no step.
"""

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from core.base_cell import map_state
from core.errors import InputError
from core.training import cli, export
from core.training.arguments import Export
from core.training.config import to_dict
from video.model import encode
from video.trained import Trained, open_model


class Step(nn.Module):
    """One frame of each stream."""

    def __init__(self, trained: Trained):
        super().__init__()
        self.config = trained.config
        self.encoder = trained.encoder
        self.labeller = trained.labeller
        recurrent = self.labeller.recurrent
        self.parts = 0 if recurrent is None else len(recurrent.layers[0][0].state_parts)
        if recurrent is not None:
            recurrent.engine = "reference"  # plain operations, which any machine has

    def forward(
        self,
        pixels: UInt8[Tensor, "batch 3 size size"],
        state: Float[Tensor, "batch states hidden"],
    ) -> tuple[Float[Tensor, "batch classes"], Float[Tensor, "batch states hidden"]]:
        """Return log p of the labels of these frames, and the state.

        The state is h and, of an LSTM, c, each layer by layer.
        """
        features = encode(self.encoder, pixels, whole=self.config.trains_encoder)
        if not self.config.trains_encoder:
            features = features.half()  # as it was trained: see `video.labels.probabilities`
        before = None
        if self.parts:
            # each [layers, batch, hidden]
            before = tuple(part.movedim(1, 0) for part in state.chunk(self.parts, 1))
        logits, after = self.labeller(features[None], before)
        if after is not None:
            state = torch.cat(map_state(lambda part: part.movedim(0, 1), after), 1)
        return self.labeller.log_p(logits[0]), state


def main(arguments: Export) -> None:
    """Open a run, write the program."""
    export.require_name(arguments.file)
    trained, _ = open_model(arguments.run, "cpu")
    if trained.config.bidirectional:
        raise InputError(
            f"{arguments.run} looks ahead: it has no step; train without --bidirectional"
        )
    recurrent = trained.labeller.recurrent
    if recurrent is not None:
        shape = (trained.config.layers, 1, trained.config.hidden)
        if any(part.shape != shape or part.any() for part in recurrent.initial_state(1)):
            reason = f"the first state of {trained.config.cell} is not zeros of its width"
            raise InputError(f"{arguments.run}: {reason}, with which an exported program begins")
    step = Step(trained)
    preprocessing = trained.encoder.preprocessing
    channels = 6 if trained.config.motion else 3
    state = torch.zeros(1, step.parts * trained.config.layers, trained.config.hidden)
    pixels = torch.zeros(1, channels, preprocessing.size, preprocessing.size, dtype=torch.uint8)
    about = {
        "classes": list(trained.classes),
        "preprocessing": to_dict(preprocessing),
        "state_shape": list(state.shape[1:]),
        "stride": trained.config.stride,
        "rate": trained.rate,
        "multi": trained.multi,
        "thresholds": trained.thresholds.tolist() if trained.thresholds is not None else None,
    }
    inputs = {"pixels": pixels, "state": state}
    export.write(arguments.file, step, inputs, ("log_p", "state_after"), about)


if __name__ == "__main__":
    raise SystemExit(cli.script("video export"))
