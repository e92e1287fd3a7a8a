"""A generated video to try the others on, and what happens in it.

uv run video sample sample.mp4    # 10 seconds of a sprite that does three things
uv run video label sample.mp4     # which, and when
"""

from core.training import cli
from core.training.config import require_at_least
from datasets.videos import sprites
from video.arguments import Sample
from video.labels.formats import spans
from video.labels.outputs import tell


def main(arguments: Sample) -> None:
    """Write the video, and print what is true of it."""
    require_at_least(0, arguments, "seed", "number")
    number = sprites.TEST.start if arguments.number is None else arguments.number
    clip = sprites.write(arguments.path, arguments.seed, number)
    frames = len(clip.source()) if callable(clip.source) else 0
    seconds = [n / sprites.RATE for n in range(frames)]
    cli.say(f"{arguments.path}: {frames} frames, {frames / sprites.RATE:.1f} s; its labels:")
    tell(spans(clip.labels(seconds), seconds, sprites.CLASSES))


if __name__ == "__main__":
    raise SystemExit(cli.script("video sample"))
