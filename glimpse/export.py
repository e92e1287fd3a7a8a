"""Write one glimpse of a trained model as a file that runs without this package.

    uv run glimpse export runs/glimpse/digits glimpse.pt2     # for PyTorch
    uv run glimpse export runs/glimpse/digits glimpse.onnx    # for ONNX Runtime

    program = torch.export.load("glimpse.pt2").module()
    location, p, state = program(images=images, state=state)    # state: zeros at first

images are bytes [batch, channels, height, width] of the size it was trained on; location [batch, 2]
is where it looked (x, y from -1 to 1), p [batch, classes] what it takes the image for by now. The
file's about.json has the names of the classes and the shapes.
"""

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from core.errors import InputError
from core.training import cli, export
from core.training.arguments import Export
from glimpse.model import RecurrentAttention, open_model


class Step(nn.Module):
    """One greedy glimpse."""

    def __init__(self, model: RecurrentAttention):
        super().__init__()
        self.model = model

    def forward(
        self,
        images: UInt8[Tensor, "batch channels height width"],
        state: Float[Tensor, "batch parts hidden"],
    ) -> tuple[
        Float[Tensor, "batch 2"],
        Float[Tensor, "batch classes"],
        Float[Tensor, "batch parts hidden"],
    ]:
        """Return where was looked, the probabilities of the classes, and the state."""
        model = self.model
        location = model.locate(state[:, 0]).clamp(-1, 1)
        patches = model.retina(model.retina.prepare(images), location)
        g = model.glimpse(model.glimpse.features(patches), location)
        h, after = model.recurrent(g, export.unpack(state))
        return location, model.action(h).softmax(-1), export.pack(after)


def main(arguments: Export) -> None:
    """Open a run, write the program."""
    export.require_name(arguments.file)
    model, saved = open_model(arguments.run, "cpu")
    if model.config.context:
        raise InputError(f"{arguments.run} looks at the whole image first: it cannot be exported")
    channels, height, width = saved["extras"]["image_shape"]
    if height is None:
        reason = "was trained on images of their native sizes, and an exported program has one size"
        raise InputError(f"{arguments.run} {reason}: train with --image-size HEIGHT WIDTH")
    images = torch.zeros(1, channels, height, width, dtype=torch.uint8)
    state = export.pack(model.recurrent.initial_state(1))
    about = {
        **saved["extras"],
        "state_shape": list(state.shape[1:]),
        "glimpses": model.config.glimpses,
    }
    inputs = {"images": images, "state": state}
    outputs = ("location", "p", "state_after")
    export.write(arguments.file, Step(model), inputs, outputs, about)


if __name__ == "__main__":
    raise SystemExit(cli.script("glimpse export"))
