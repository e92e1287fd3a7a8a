"""Make one small file of a trained labeller, to keep or to ship: its weights in float16.

uv run video pack runs/video/sprites labeller.pt    # half a megabyte
uv run video label VIDEO --run labeller.pt
"""

from core.training import cli
from core.training.arguments import Pack
from core.training.packing import pack
from video.config import Config


def main(arguments: Pack) -> None:
    """Read the run's best checkpoint and write the file."""
    pack("video", Config, ("encoder", "labeller"), arguments)


if __name__ == "__main__":
    raise SystemExit(cli.script("video pack"))
