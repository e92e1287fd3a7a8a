"""A generated video to try the others on, and what happens in it.

uv run video sample sample.mp4    # 10 seconds of a sprite that does three things
uv run video label sample.mp4     # which, and when
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from core import cli
from core.config import require_at_least
from datasets import sprites
from video.export import spans
from video.outputs import tell


@dataclass(frozen=True)
class Arguments:
    """Write a video of a moving sprite."""

    path: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="SAMPLE.mp4")]
    """File to write."""
    seed: int = 0
    """Of the clips; training by default has those of seed 0."""
    number: int = sprites.TEST.start
    """Which clip; by default the first of the test, which no training sees."""


def main(argv: Sequence[str] | None = None) -> None:
    """Write the video, and print what is true of it."""
    arguments = tyro.cli(Arguments, args=argv, prog="video sample")
    require_at_least(0, arguments, "seed", "number")
    clip = sprites.write(arguments.path, arguments.seed, arguments.number)
    frames = len(clip.source()) if callable(clip.source) else 0
    seconds = [n / sprites.RATE for n in range(frames)]
    cli.say(f"{arguments.path}: {frames} frames, {frames / sprites.RATE:.1f} s, in truth:")
    tell(spans(clip.labels(seconds), seconds, sprites.CLASSES))


if __name__ == "__main__":
    raise SystemExit(cli.guard("video sample", main))
