"""Make one small file of a trained model, to keep or to ship: its weights in float16.

uv run glimpse pack runs/glimpse/search search.pt
uv run glimpse show search.pt board.png
"""

from core.training import cli
from core.training.arguments import Pack
from core.training.packing import pack
from glimpse.config import Config

PARTS = "glimpse", "recurrent", "location", "action", "baseline"


def main(arguments: Pack) -> None:
    """Read the run's best checkpoint and write the file."""
    pack("glimpse", Config, PARTS, arguments)


if __name__ == "__main__":
    raise SystemExit(cli.script("glimpse pack"))
