"""Write one glimpse of a trained model as a file that runs without this package.

    uv run glimpse export runs/glimpse/digits glimpse.pt2     # for PyTorch
    uv run glimpse export runs/glimpse/digits glimpse.onnx    # for ONNX Runtime

    program = torch.export.load("glimpse.pt2").module()
    state = torch.zeros(len(images), *state_shape)
    location, p, state = program(images=images, state=state)    # once for each glimpse

images are bytes [batch, channels, height, width], of the size that the model was trained at, or of
any if it was trained at native sizes. location [batch, 2] is where it looked (x, y from -1 to 1),
p [batch, classes] what it takes the image for by now. The file's about.json has the names of the
classes, the shapes, the number of glimpses in training and the threshold of `glimpse stop`.

A model that looks at the whole image first (`--context`, as the one of this package does) or begins
with tiles (`--locator scan`) becomes two files:

    uv run glimpse export glimpse/default.pt boards.onnx      # boards.start.onnx too

    memory = start(images=images)[0]
    location, p, state, memory = program(images=images, state=state, memory=memory)
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from core.training import cli, export
from core.training.arguments import Export
from glimpse.model import RecurrentAttention, open_model

EXAMPLE_SIZE = 96  # rows and columns of the example image of a model for native sizes


class Start(nn.Module):
    """The look at the whole image."""

    def __init__(self, model: RecurrentAttention):
        super().__init__()
        self.locator = model.location

    def forward(self, images: UInt8[Tensor, "batch channels height width"]) -> tuple[Tensor]:
        """Return the first memory of the locator."""
        return (self.locator.start(images),)


class Step(nn.Module):
    """One greedy glimpse."""

    def __init__(self, model: RecurrentAttention):
        super().__init__()
        self.model = model

    def forward(
        self,
        images: UInt8[Tensor, "batch channels height width"],
        state: Float[Tensor, "batch parts hidden"],
        memory: Tensor | None = None,
    ) -> tuple[Tensor, ...]:
        """Return where was looked, the probabilities of the classes, the state and the memory."""
        model = self.model
        before = export.unpack(state)
        location = model.location.mean(before[0], memory).clamp(-1, 1)
        prepared = model.retina.prepare(images)
        features = model.glimpse.features(model.retina(prepared, location))
        h, after = model.recurrent(model.glimpse(features, location), before)
        memory_after = model.location.update(memory, features, location, prepared.half_sizes)
        p = (model.action(h) + model.location.class_logits(memory_after)).softmax(-1)
        if memory_after is None:
            return location, p, export.pack(after)
        return location, p, export.pack(after), memory_after


def main(arguments: Export) -> None:
    """Open a run, write the program or the two."""
    file = arguments.file
    export.require_name(file)
    model, saved = open_model(arguments.run, "cpu")
    shape = saved["extras"]["image_shape"]
    images = example(shape)
    state = export.pack(model.recurrent.initial_state(1))
    about = {
        **saved["extras"],
        "state_shape": list(state.shape[1:]),
        "glimpses": model.config.glimpses,
    }
    sizes = {}
    if None in shape:
        sizes = {"images": {2: "height", 3: "width"}}
    inputs = {"images": images, "state": state}
    outputs = ["location", "p", "state_after"]
    with torch.no_grad():
        memory = model.location.start(images)
    if memory is not None:
        start = file.with_suffix(f".start{file.suffix}")
        export.write(start, Start(model), {"images": images}, ["memory"], about, sizes)
        inputs["memory"] = memory
        outputs.append("memory_after")
    export.write(file, Step(model), inputs, outputs, about, sizes)


def example(shape: Sequence[int | None]) -> UInt8[Tensor, "1 channels height width"]:
    """Return an image of noise: programs are checked with it, and noise has one highest peak."""
    sizes = [size or EXAMPLE_SIZE for size in shape]
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (1, *sizes), dtype=torch.uint8, generator=generator)


if __name__ == "__main__":
    raise SystemExit(cli.script("glimpse export"))
