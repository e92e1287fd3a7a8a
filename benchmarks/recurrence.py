"""What recurrence is worth: the same net per frame, with an LSTM, and with one in each direction.

    uv run python -m benchmarks.recurrence --data ucsd_ped2              # three seeds of each
    uv run python -m benchmarks.recurrence --preset sprites --seeds 1    # 15 CPU minutes

Each frame has one label: the presets and data with overlapping labels are refused.

Each row is the mean and the standard deviation over seeds, of what `video train` keeps:
the checkpoint with the best balanced accuracy on the validation clips. Where there are no test
clips it is measured on these too, and so a little optimistic.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean, stdev

from rich.console import Console
from rich.table import Table

from benchmarks.entry import script
from core.errors import InputError
from core.training import cli
from video.config import PRESETS
from video.data import load_data
from video.evaluate import compare
from video.reading import read
from video.trained import open_model

NETS = {"per frame": ["--cell", "none"], "LSTM": [], "BiLSTM": ["--bidirectional"]}
SHOWN = "accuracy", "balanced accuracy", "edit", "F1@50"

Scores = dict[str, dict[str, float]]


def trained_and_measured(name: str, flags: Sequence[str], self_transition: float) -> Scores:
    """The metrics of a new net, and of the majority class, by name."""
    with tempfile.TemporaryDirectory() as runs:
        words = [*flags, *NETS[name], "--runs", runs, "--name", "net", "--quiet"]
        cli.call("video train", words)
        best, _ = open_model(Path(runs) / "video/net", "cpu")
    splits = load_data(best.config)
    learned, clips = (
        read(best.config, best.encoder, part, best.rate)
        for part in (splits.train, splits.test or splits.validation)
    )
    found = compare(best, learned, clips)
    smoothed = compare(best, learned, clips, self_transition=self_transition)
    return {
        name: found["this net"],
        f"{name}, mean over clips": found["this net, mean over clips"],
        f"{name}, smoothed": smoothed["this net"],
        "majority class": found["majority class"],
        "majority class, mean over clips": found["majority class, mean over clips"],
    }


def main(
    data: str = "", preset: str = "videos", seeds: int = 3, self_transition: float = 0.99
) -> None:
    """Train each net with each seed, and print what they reach.

    Args:
        data: labelled videos; by default those of the preset.
        preset: what the nets are like but for recurrence.
        seeds: how many runs of each.
        self_transition: probability that a frame has the label of the one before, for the
            smoothed rows (Viterbi).

    Raises:
        InputError: there is no such preset, no data, or several labels can occur at once.
    """
    if preset not in PRESETS:
        raise InputError(f"there is no preset {preset!r}: {', '.join(PRESETS)}")
    data = data or PRESETS[preset].data
    if data == "FOLDER":  # what a preset has that comes without data
        raise InputError(f"name the labelled videos of preset {preset}: --data FOLDER")
    if load_data(replace(PRESETS[preset], data=data)).multi:
        raise InputError(f"{data}: several labels occur at once; a label a frame is measured here")
    flags = ["--preset", preset, "--data", data]
    results: dict[str, list[dict[str, float]]] = {}
    for seed in range(seeds):
        for name in NETS:
            for row, metrics in trained_and_measured(
                name, [*flags, "--seed", str(seed)], self_transition
            ).items():
                results.setdefault(row, []).append(metrics)
    table = Table("labels by", title=f"{seeds} seeds, %")
    for column in SHOWN:
        table.add_column(column, justify="right")
    for row in sorted(results, key=lambda row: "majority" in row):
        table.add_row(
            row, *(_spread([metrics[column] for metrics in results[row]]) for column in SHOWN)
        )
    Console().print(table)


def _spread(values: Sequence[float]) -> str:
    return f"{mean(values):.1f}" + (f" ± {stdev(values):.1f}" if len(set(values)) > 1 else "")


if __name__ == "__main__":
    script(main)
