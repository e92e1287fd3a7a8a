"""The command `video`: `uv run video label film.mp4`, or `python -m video label film.mp4`."""

from core.training import cli
from core.training.arguments import Export, Pack, Training
from core.training.cli import Command
from video.arguments import Bouts, Evaluate, Label, Next, Sample
from video.config import EXPECTED, PRESETS, Config

COMMANDS: cli.Commands = {
    "train": Command("train a net that labels every frame", Training(Config, PRESETS, EXPECTED)),
    "evaluate": Command("measure a trained net beside the majority class", Evaluate),
    "label": Command("label the frames of your videos, cameras and streams", Label),
    "next": Command("rank what to label next, by how unsure the net is", Next),
    "bouts": Command("count and measure the bouts of labelled films, compare two scorers", Bouts),
    "pack": Command("make one small file of a trained net, to keep", Pack),
    "sample": Command("write a generated video to try the others on", Sample),
    "export": Command("write one step of a trained net as an exported program", Export),
}


def main() -> int:
    """Run the command named first on the command line."""
    return cli.main("video", COMMANDS)


if __name__ == "__main__":
    raise SystemExit(main())
