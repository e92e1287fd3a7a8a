"""Train the recurrent attention model, report it beside its baselines, and draw where it looks.

uv run glimpse train                                    # built-in digits
uv run glimpse train --preset mnist28 --root DIRECTORY  # MNIST
"""

from pathlib import Path

import torch
from jaxtyping import Float, Int, UInt8
from rich.console import Console
from torch import Tensor

from core.files import replace
from core.training import cli, devices
from core.training.arguments import TrainArguments
from core.training.loop import fit
from datasets.splits import Images
from glimpse import objective
from glimpse.config import Config
from glimpse.data import TrainingBatches, load
from glimpse.evaluate import accuracy, measure, probabilities, tables
from glimpse.model import RecurrentAttention, greedy, open_model, stochastic
from glimpse.scanpath import follow

PICTURES = 6  # validation images whose scanpaths are drawn at the end, one a class


class Learner(RecurrentAttention):
    """The model together with what it learns from."""

    def forward(
        self,
        images: UInt8[Tensor, "batch channels height width"],
        labels: Int[Tensor, " batch"],
        noise: Float[Tensor, "glimpses batch 2"],
        std_left: Float[Tensor, ""],
    ) -> tuple[Float[Tensor, ""], dict[str, Float[Tensor, ""]]]:
        """Look at a batch with the noisy policy; return the loss and what to log."""
        std = self.config.std * std_left
        episode = self.rollout(images, len(noise), stochastic(noise, std))
        return objective.loss(episode, labels, std=std, weight=self.config.reinforce * std_left**2)


def main(arguments: TrainArguments[Config]) -> None:
    """Train, test once, draw."""
    config, session, run = arguments.start()
    device = devices.select(session.device, session.threads)
    splits = load(config, device)
    shape, classes = tuple(splits.validation.images.shape[1:]), splits.train.classes
    model = Learner(config, shape[0], len(classes)).to(device)

    def validate() -> dict[str, float]:
        p = probabilities(model, splits.validation.images, config.glimpses, greedy)
        return {"accuracy": accuracy(p, splits.validation.labels)[-1]}

    fit(
        model,
        TrainingBatches(splits.train, config),
        validate,
        run,
        config.loop,
        extras={"classes": list(classes), "image_shape": list(shape)},
        graph=session.graph,
    )
    if run.writes:
        best, _ = open_model(run.directory, device)
        report = measure(best, splits.test, config.glimpses)
        Console().print(tables(report, "test")[0])
        print(
            f"{run.directory} holds the run; where it looked: {draw(best, splits.validation, run.directory)}"
        )


def draw(model: RecurrentAttention, images: Images, folder: Path) -> Path:
    """Write the scanpaths on a few images, the first of as many classes as there are, and return the file."""
    from glimpse import drawing  # brings matplotlib, which training can do without

    order = images.labels.argsort(stable=True)
    firsts = torch.searchsorted(
        images.labels[order], torch.arange(len(images.classes), device=order.device)
    )
    few = images[order[firsts.clamp(max=len(order) - 1)[:PICTURES]]]
    paths = follow(model, few.images, few.classes, model.config.glimpses)
    replace(folder / "scanpaths.png", drawing.contact_sheet(paths, few.labels.tolist()))
    return folder / "scanpaths.png"


if __name__ == "__main__":
    raise SystemExit(cli.script("glimpse train"))
