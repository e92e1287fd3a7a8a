"""Make one small file of a trained captioner, to keep or to ship: its weights in float16.

uv run captioning pack runs/captioning/attention captioner.pt    # some 6 MB
uv run captioning caption photo.jpg --run captioner.pt
"""

from captioning.config import Config
from core.training import cli
from core.training.arguments import Pack
from core.training.packing import pack


def main(arguments: Pack) -> None:
    """Read the run's best checkpoint and write the file."""
    pack("captioning", Config, ("encoder", "tail", "decoder"), arguments)


if __name__ == "__main__":
    raise SystemExit(cli.script("captioning pack"))
