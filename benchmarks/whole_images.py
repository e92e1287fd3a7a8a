"""Nets that read whole images, as baselines of the recurrent attention model.

    uv run python -m benchmarks.whole_images FOLDER --steps 600                       # resnet18
    uv run python -m benchmarks.whole_images FOLDER --network lite0 --size 224 --pretrained

The folder is one of class folders, as `glimpse train` takes it. A network of torchvision is trained
from benchmarks.entry import script
from scratch; a pretrained one is frozen, and a linear layer over the mean of its grid is trained.
Printed: error on the validation images, balanced accuracy, CPU minutes of training, and CPU
milliseconds an image, one thread. The last weights are measured, not the best. With `--against
CLASS`, also the share of images rightly told to be of that class or of any other.
"""

import time
from dataclasses import replace

import torch
import torch.nn.functional as F
import tyro
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from benchmarks.entry import script
from core.errors import InputError
from core.training.config import LoopConfig
from core.training.loop import evaluating
from core.training.optim import learning_rate, optimiser, set_learning_rate
from glimpse.config import Augmentation, Config
from glimpse.data import TrainingBatches, load
from glimpse.evaluate import balanced_accuracy
from glimpse.sensor import Batch
from vision.encoder import make_encoder, preprocessing_of
from vision.networks import of_torchvision

EVALUATED = 50  # images in a batch of the evaluation


class WholeImageNet(nn.Module):
    """A convolutional network, the mean over its grid, and a linear layer."""

    def __init__(self, name: str, size: int, classes: int, pretrained: bool, dropout: float):
        super().__init__()
        preprocessing = replace(preprocessing_of(name), size=size)
        encoder = make_encoder(name, pretrained=pretrained, preprocessing=preprocessing)
        self.mean = encoder.mean
        self.std = encoder.std
        self.network = encoder.network if pretrained else of_torchvision(name)
        self.network.requires_grad_(not pretrained)
        self.frozen = pretrained
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(encoder.channels, classes))
        self.size = size

    def forward(self, images: Batch) -> Float[Tensor, "batch classes"]:
        """Return the logits of the classes."""
        x = torch.cat([self._prepared(image) for image in images])
        if self.frozen:
            self.network.eval()
            with torch.no_grad():
                grid = self.network(x)
        else:
            grid = self.network(x)
        return self.head(grid.mean((-2, -1)))

    def _prepared(
        self, image: UInt8[Tensor, "channels height width"]
    ) -> Float[Tensor, "1 3 size size"]:
        rgb = image.float().expand(3, -1, -1)[None]
        if rgb.shape[-2:] != (self.size, self.size):
            rgb = F.interpolate(rgb, (self.size, self.size), mode="bilinear", antialias=True)
        return (rgb - self.mean) / self.std


def main(
    data: tyro.conf.Positional[str],
    network: str = "resnet18",
    pretrained: bool = False,
    size: int = 128,
    image_size: tuple[int, int] | None = None,
    augment: tuple[Augmentation, ...] = ("flips",),
    steps: int = 300,
    batch: int = 32,
    rate: float = 2e-3,
    dropout: float = 0.0,
    against: str | None = None,
) -> None:
    """Train a net and print what it came to.

    Raises:
        InputError: `against` is no class of the data.
    """
    torch.set_num_threads(1)
    torch.manual_seed(0)
    loop = LoopConfig(
        steps=steps,
        batch=batch,
        optimiser="adamw",
        learning_rate=rate,
        warm_up=min(50, steps // 4),
        weight_decay=0.01,
    )
    config = Config(data=data, image_size=image_size, augment=augment, loop=loop)
    splits = load(config, "cpu")
    if against is not None and against not in splits.train.classes:
        raise InputError(f"--against {against}: the classes are {', '.join(splits.train.classes)}")
    model = WholeImageNet(network, size, len(splits.train.classes), pretrained, dropout)
    update = optimiser(model, loop)
    batches = TrainingBatches(splits.train, config)
    start = time.process_time()
    for step in range(steps):
        images, labels, *_ = batches(step, slice(0, batch))
        loss = F.cross_entropy(model(images), labels)
        update.zero_grad()
        loss.backward()
        set_learning_rate(update, learning_rate(loop, step))
        update.step()
        if step % 20 == 19:
            print(f"step {step + 1}/{steps}  loss {loss.item():.3f}", flush=True)
    minutes = (time.process_time() - start) / 60
    images = splits.validation
    start = time.process_time()
    with evaluating(model):
        p = torch.cat([model(images.fetch(rows)) for rows in images.in_order(EVALUATED)])
    milliseconds = 1000 * (time.process_time() - start) / len(images)
    error = 100 * (p.argmax(1) != images.labels).float().mean().item()
    balanced = 100 * balanced_accuracy(p, images.labels)
    print(
        f"{network}, {size} x {size}: {error:.2f} % error, balanced accuracy {balanced:.2f} %, "
        f"{minutes:.1f} CPU min of training, {milliseconds:.1f} CPU ms an image"
    )
    if against is not None:
        column = splits.train.classes.index(against)
        right = (p.argmax(1) == column) == (images.labels == column)
        print(f"{against} against all others: {100 * right.float().mean().item():.1f} % right")


if __name__ == "__main__":
    script(main)
