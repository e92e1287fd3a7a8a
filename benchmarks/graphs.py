"""Training steps captured as CUDA graphs, against the same steps launched one by one.

    uv run python -m benchmarks.graphs            # on a GPU: times, ratio, and whether both agree
    uv run python -m benchmarks.graphs --check    # exit code 1 if graphs are slower or differ
    uv run python -m benchmarks.graphs --device cpu --rounds 1 --steps 1    # without graphs

A step seeds random numbers, makes or sends the batch, and computes loss, gradients and update. Both
ways train twins from the same weights, interleaved. A round is `steps` steps; every figure is the
median over rounds.
"""

from collections.abc import Callable
from itertools import islice, product
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from benchmarks import gpu
from benchmarks.entry import script
from captioning.config import ATTENTION, POOLED
from captioning.model import Captioner
from captioning.train import Learner as CaptionLearner
from captioning.trained import Trained as TrainedCaptioner
from core import rng
from core.training import devices
from core.training.config import LoopConfig
from core.training.cuda_graphs import Graphs, backend
from core.training.optim import learning_rate, optimiser, set_learning_rate
from datasets.images.splits import Images
from datasets.text.vocabulary import Vocabulary
from glimpse.data import TrainingBatches
from glimpse.presets import CLUTTERED60, DIGITS, MNIST28
from glimpse.train import Learner as GlimpseLearner
from video.config import SPRITES, VIDEOS
from video.train import Learner as VideoLearner
from video.trained import build
from vision.encoder import encoder_of

Batch = tuple[Tensor, ...]
Made = tuple[nn.Module, LoopConfig, Callable[[int], Batch]]
WORDS, CELLS, CLIP = 2500, 49, 64


def looking(config, device: torch.device) -> Made:
    """The recurrent attention model on noise of MNIST's shape."""
    pixels = torch.randint(0, 256, (1000, 1, 28, 28), dtype=torch.uint8)
    if config.canvas and min(config.canvas) < 28:
        pixels = pixels[..., :8, :8].contiguous()
    images = Images(pixels, torch.arange(1000) % 10, tuple("0123456789")).to(device)
    make, rows = TrainingBatches(images, config), slice(0, config.loop.batch)
    return GlimpseLearner(config, 1, 10), config.loop, lambda step: make(step, rows)


def describing(config, device: torch.device) -> Made:
    """The captioner on noise, its sentences of all lengths."""
    encoder, loop = encoder_of(config), config.loop
    words = ("".join(letters) for letters in islice(product("abcdefghijklmn", repeat=3), WORDS))
    vocabulary = Vocabulary.train([" ".join(words)], 1)
    trained = TrainedCaptioner(
        config, encoder, Captioner(config, encoder.channels, len(vocabulary)), vocabulary
    )
    learner = CaptionLearner(trained, static=True)
    random = rng.generator("cpu", "sentences")
    features = torch.rand(loop.batch, CELLS, encoder.channels, generator=random).half().to(device)
    tokens = torch.randint(
        4, len(vocabulary), (loop.batch * config.captions, config.longest + 1), generator=random
    )
    lengths = torch.randint(5, config.longest + 2, (len(tokens), 1), generator=random)
    tokens[torch.arange(tokens.shape[1]) >= lengths] = vocabulary.pad
    return (
        learner,
        loop,
        lambda step: (
            features,
            devices.send(tokens, device),
            devices.send(torch.arange(loop.batch), device),
        ),
    )


def labelling(config, device: torch.device) -> Made:
    """The labeller on noise, window after window of one clip."""
    encoder, loop = encoder_of(config), config.loop
    trained = build(config, encoder, tuple(map(str, range(10))))
    random = rng.generator("cpu", "frames")
    shape = (2 * encoder.channels,)  # of features, where the encoder stays as it is
    if config.trains_encoder:
        shape = (3, config.side, config.side)
    frames = torch.randint(0, 256, (CLIP, loop.batch, *shape), dtype=torch.uint8, generator=random)
    shown = frames.to(device)
    if not config.trains_encoder:
        shown = shown.half() / 256
    labels = torch.randint(10, (CLIP, loop.batch), generator=random).to(device)
    learner = VideoLearner(trained, torch.ones(10), loop.batch)
    return (
        learner,
        loop,
        lambda step: (shown, labels, devices.send(torch.tensor(step % 8 == 0), device)),
    )


JOBS: dict[str, Callable[[torch.device], Made]] = {
    "glimpse, digits": lambda device: looking(DIGITS, device),
    "glimpse, mnist28": lambda device: looking(MNIST28, device),
    "glimpse, cluttered60": lambda device: looking(CLUTTERED60, device),
    "captioning, attention": lambda device: describing(ATTENTION, device),
    "captioning, pooled": lambda device: describing(POOLED, device),
    "video, features": lambda device: labelling(VIDEOS, device),
    "video, sprites": lambda device: labelling(SPRITES, device),
}


def trainer(
    job: str, device: torch.device, captured: bool, precision: str
) -> tuple[nn.Module, Callable[[], None]]:
    """A model, and a function that trains it for one step, as `core.training.loop` does."""
    torch.manual_seed(0)
    learner, loop, make = JOBS[job](device)
    learner = learner.to(device).train()
    update = optimiser(learner, loop, captured=captured)
    done = [0]

    def learn(*batch: Tensor) -> None:
        update.zero_grad()
        with torch.autocast(
            device.type, torch.bfloat16, enabled=precision == "bf16", cache_enabled=False
        ):
            loss, _ = learner(*batch)
        loss.backward()
        if loop.clip:
            nn.utils.clip_grad_norm_(learner.parameters(), loop.clip)
        update.step()

    work: Callable[..., Any] = learn
    if captured and (calls := backend(device)):
        work = Graphs(learn, calls, device)

    def step() -> None:
        rng.reseed(device, loop.seed, done[0], "step")
        set_learning_rate(update, learning_rate(loop, done[0]))
        work(*make(done[0]))
        done[0] += 1

    return learner, step


def repeated(step: Callable[[], None], steps: int) -> Callable[[], None]:
    """The step, several times."""

    def run() -> None:
        for _ in range(steps):
            step()

    return run


def difference(one: nn.Module, other: nn.Module) -> float:
    """How far weights are apart, as a part of their size."""
    pairs = [
        (p.detach().double(), q.detach().double())
        for p, q in zip(one.parameters(), other.parameters(), strict=True)
    ]
    apart, size = (
        sum(value.square().sum().item() for value in values)
        for values in ([p - q for p, q in pairs], [p for p, _ in pairs])
    )
    return (apart / size) ** 0.5


def main(
    rounds: int = 20,
    steps: int = 20,
    device: str = "auto",
    precision: str = "float32",
    check: bool = False,
) -> int:
    """Time all applications and print the table."""
    gpu.require_rounds(rounds)
    where = devices.select(device)
    graphs = where.type == "cuda"
    table = Table("training step", title=f"{gpu.about(where)}, {precision}")
    for heading in ("eager, ms", "captured, ms", "times faster", "weights apart"):
        table.add_column(heading, justify="right")
    failed = False
    for job in JOBS:
        twins = {
            name: trainer(job, where, name == "captured", precision)
            for name in ("eager", "captured")[: 1 + graphs]
        }
        found = gpu.times(
            {name: repeated(step, steps) for name, (_, step) in twins.items()}, where, rounds
        )
        row = [f"{found['eager'] / steps:.3f}"]
        if graphs:
            apart, gain = (
                difference(twins["eager"][0], twins["captured"][0]),
                found["eager"] / found["captured"],
            )
            failed |= gain < 1 or not apart < 1e-2
            row += [f"{found['captured'] / steps:.3f}", f"{gain:.2f}", f"{apart:.0e}"]
        table.add_row(job, *row)
    Console().print(table)
    if not graphs:
        print("there is no CUDA here: eager steps alone were measured, nothing was captured")
    return int(check and (failed or not graphs))


if __name__ == "__main__":
    script(main)
