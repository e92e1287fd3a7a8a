"""Make one small file of a trained labeller, to keep or to ship: weights in float16, nothing to go on training from.

uv run video pack runs/video/sprites labeller.pt    # half a megabyte; `video label VIDEO --run labeller.pt`
"""

from collections.abc import Sequence

from core import cli
from core.packing import pack
from video.config import Config


def main(argv: Sequence[str] | None = None) -> None:
    """Read the run's best checkpoint and write the file."""
    pack("video", Config, ("encoder", "labeller"), argv)


if __name__ == "__main__":
    raise SystemExit(cli.guard("video pack", main))
