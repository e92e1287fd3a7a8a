"""What `video next` is worth: half of the labels, chosen by it, against labels at random.

    uv run python -m benchmarks.label_next            # three seeds, some CPU minutes each

Clips of moving sprites are divided into stretches. A net learns from the first labels, a fifth of
the stretches at random, and ranks the others as `video next` does; a new net learns from those and
the first of the ranking, half of all. It is measured beside a net that learned from as many
stretches at random, and one that learned from four fifths. All have the same steps; frames
without a label teach nothing. The clips that are measured are the test clips of the sprites, in no
pool. The nets are small (16 pixels a side) and see motion, so that they learn in a few hundred
steps.
"""

import contextlib
import io
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean, stdev

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.entry import script
from core.rng import generator
from core.training.loop import fit
from core.training.run import Run
from datasets.videos import sprites
from datasets.videos.clips import UNLABELLED
from video.config import SPRITES, Config
from video.data import TrainingBatches
from video.evaluate import measure
from video.next import Stretch, divided, rank
from video.reading import LoadedClip, read
from video.train import Learner, class_weights
from video.trained import Trained, build, encoder_of

CPU = torch.device("cpu")
SHARES = {"first": 0.2, "half": 0.5, "most": 0.8}
CHOSEN = "50 %, chosen by `video next`"
HALF = "50 % at random"
MOST = "80 % at random"


@dataclass(frozen=True, eq=False)
class Pool:
    """Clips to be labelled, and their stretches."""

    clips: Sequence[LoadedClip]
    seconds: float
    """Length of a stretch."""

    def stretches(self) -> list[tuple[int, int]]:
        """Return (clip, number of the stretch) of all stretches."""
        return [
            (clip, number)
            for clip, loaded in enumerate(self.clips)
            for number in sorted(set(self._numbers(loaded).tolist()))
        ]

    def labelled(self, chosen: Sequence[tuple[int, int]]) -> list[LoadedClip]:
        """Return the clips that have a labelled stretch, with the labels of those stretches."""
        labelled = []
        for clip, loaded in enumerate(self.clips):
            own = [number for each, number in chosen if each == clip]
            if not own:
                continue
            inside = torch.isin(self._numbers(loaded), torch.tensor(own))
            labels = torch.where(inside, loaded.labels, UNLABELLED)
            labelled.append(replace(loaded, labels=labels))
        return labelled

    def doubtful(self, trained: Trained) -> dict[tuple[int, int], Stretch]:
        """Return what a net thinks of each stretch."""
        thought = {}
        for clip, loaded in enumerate(self.clips):
            features = trained.features(loaded.frames)
            end = loaded.seconds[-1] + 1 / sprites.RATE
            for stretch in divided(
                trained, loaded.name, features, loaded.seconds, end, self.seconds
            ):
                thought[clip, round(stretch.start / self.seconds)] = stretch
        return thought

    def _numbers(self, clip: LoadedClip) -> torch.Tensor:
        times = torch.tensor(clip.seconds, dtype=torch.float64)
        return (times / self.seconds).floor().long()


def trained_on(config: Config, clips: Sequence[LoadedClip]) -> Trained:
    """Return a net that learned from clips."""
    torch.manual_seed(config.loop.seed)
    trained = build(config, encoder_of(config), sprites.CLASSES)
    learner = Learner(trained, class_weights(clips, len(sprites.CLASSES)), config.loop.batch)
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        run = Run(Path(folder) / "net", "video", config, quiet=True)
        batches = TrainingBatches(clips, config, CPU)
        fit(learner, batches, lambda: {"accuracy": 0.0}, run, config.loop)
    trained.labeller.eval()
    return trained


def chosen_by_next(
    config: Config, pool: Pool, first: Sequence[tuple[int, int]], count: int
) -> list[tuple[int, int]]:
    """Return the first stretches and those that `video next` ranks highest, so many together."""
    thought = pool.doubtful(trained_on(config, pool.labelled(first)))
    known = torch.stack([thought[place].features for place in first])
    places = {id(stretch.features): place for place, stretch in thought.items()}
    others = [stretch for place, stretch in thought.items() if place not in set(first)]
    ranked = [places[id(stretch.features)] for stretch in rank(others, known)]
    return [*first, *ranked[: count - len(first)]]


def accuracies(config: Config, seed: int, clips: int, seconds: float) -> dict[str, float]:
    """Return the share of frames of the test clips that nets label rightly, by their labels."""
    config = replace(config, loop=replace(config.loop, seed=seed))
    encoder = encoder_of(config)
    splits = sprites.load(seed + 1, train=clips)  # seed 0 has the test clips
    pool = Pool(read(config, encoder, splits.train), seconds)
    test = read(config, encoder, sprites.load(0, train=1).test)
    stretches = pool.stretches()
    shuffled = torch.randperm(len(stretches), generator=generator("cpu", seed, "label next"))
    order = [stretches[n] for n in shuffled.tolist()]
    first, half, most = (round(share * len(order)) for share in SHARES.values())
    choices = {
        CHOSEN: chosen_by_next(config, pool, order[:first], half),
        HALF: order[:half],
        MOST: order[:most],
    }
    found = {}
    for name, chosen in choices.items():
        net = trained_on(config, pool.labelled(chosen))
        found[name] = measure(net, test)["accuracy"]
        print(f"seed {seed}: {name}: {found[name]:.1f}", flush=True)
    return found


def main(
    seeds: int = 3, clips: int = 300, seconds: float = 2.0, steps: int = 200, batch: int = 16
) -> None:
    """Choose, train and measure with each seed; print the accuracies and what choosing gains.

    Args:
        seeds: pools and nets.
        clips: of a pool, about 96 frames each.
        seconds: length of a stretch.
        steps: of each training.
        batch: clips of a step.
    """
    torch.set_num_threads(1)
    loop = replace(
        SPRITES.loop,
        steps=steps,
        batch=batch,
        learning_rate=3e-3,
        warm_up=20,
        log_every=steps,
        validate_every=0,
    )
    config = replace(SPRITES, frame_size=16, motion=True, loop=loop)
    by_seed = [accuracies(config, seed, clips, seconds) for seed in range(seeds)]
    table = Table("labels", title=f"{seeds} pools of {clips} clips, % of test frames")
    table.add_column("each seed", justify="right")
    table.add_column("mean", justify="right")
    rows = {name: [results[name] for results in by_seed] for name in by_seed[0]}
    # Both nets of a seed have the same pool and the same first labels: the difference is paired.
    rows["gain of choosing"] = [results[CHOSEN] - results[HALF] for results in by_seed]
    for name, values in rows.items():
        spread = f"{mean(values):.1f}"
        if seeds > 1:
            spread += f" ± {stdev(values):.1f}"
        table.add_row(name, "  ".join(f"{value:.1f}" for value in values), spread)
    Console().print(table)


if __name__ == "__main__":
    script(main)
