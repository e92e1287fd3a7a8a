"""How soon the recurrent attention model reads MNIST: 28x28, 6 glimpses, greedy, one core.

    uv run python -m benchmarks.time_to_accuracy --root FOLDER_WITH_MNIST            # about four minutes
    uv run python -m benchmarks.time_to_accuracy --root FOLDER_WITH_MNIST --check    # exit code 1 if it takes longer

The preset mnist28 in a few steps, its schedule brought to its end in them. The curve is the error on the validation
images; the test images are looked at once, at the end. Seconds are CPU time of this process: all of the training,
without what only measures it and without reading the files.
"""

import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
import tyro
from rich.console import Console
from rich.table import Table

from core import cli
from core.log import Run
from core.loop import fit
from datasets.splits import Images
from glimpse.config import MNIST28
from glimpse.data import TrainingBatches, load
from glimpse.evaluate import accuracy, probabilities
from glimpse.model import greedy
from glimpse.train import Learner

MOST_ERROR, MOST_SECONDS = 1.6, 200.0  # percent of the test images; CPU seconds


@dataclass
class Stopwatch:
    """CPU seconds of this process, and what is measured while it stands still."""

    seconds: float = 0.0
    since: float = field(default_factory=time.process_time)
    curve: list[tuple[float, float]] = field(default_factory=list)  # (seconds, validation error in percent)

    def stop(self) -> None:
        """Stand still."""
        self.seconds += time.process_time() - self.since

    def start(self) -> None:
        """Go on."""
        self.since = time.process_time()


def error(model: Learner, images: Images, glimpses: int) -> float:
    """Return the error in percent after the last glimpse."""
    p = probabilities(model, images.images, glimpses, greedy)
    return 100 * (1 - accuracy(p, images.labels)[-1])


def main(root: Path, steps: int = 11_500, seed: int = 0, check: bool = False) -> None:
    """Train, print the curve and the test error."""
    torch.set_num_threads(1)
    loop = replace(MNIST28.loop, steps=steps, seed=seed, validate_every=1000, log_every=1000)
    config = replace(MNIST28, root=str(root), loop=loop)
    splits = load(config, "cpu")
    watch = Stopwatch()
    torch.manual_seed(seed)
    model = Learner(config, splits.train.images.shape[1], len(splits.train.classes))

    def validate() -> dict[str, float]:
        watch.stop()
        wrong = error(model, splits.validation, config.glimpses)
        watch.curve.append((watch.seconds, wrong))
        print(f"{watch.seconds:6.1f} CPU s: validation error {wrong:.2f} %", flush=True)
        watch.start()
        return {"accuracy": 1 - wrong / 100}

    with TemporaryDirectory() as folder:
        fit(
            model,
            TrainingBatches(splits.train, config),
            validate,
            Run(Path(folder), "glimpse", config, quiet=True),
            loop,
        )
    watch.stop()
    wrong = error(model, splits.test, config.glimpses)

    table = Table(
        title=f"mnist28 in {steps} steps, {config.glimpses} glimpses, seed {seed}, torch {torch.__version__}"
    )
    for heading in ("CPU s", "validation error, %"):
        table.add_column(heading, justify="right")
    for seconds, each in watch.curve:
        table.add_row(f"{seconds:.0f}", f"{each:.2f}")
    Console().print(table)
    good = wrong <= MOST_ERROR and watch.seconds <= MOST_SECONDS
    print(f"test error {wrong:.2f} % after {watch.seconds:.0f} CPU s", end="; ")
    print(f"at most {MOST_ERROR} % in {MOST_SECONDS:.0f} s: {'good' if good else 'MISSED'}")
    if check and not good:
        raise SystemExit(1)


if __name__ == "__main__":
    raise SystemExit(cli.guard("benchmarks.time_to_accuracy", lambda argv: tyro.cli(main, args=argv)))
