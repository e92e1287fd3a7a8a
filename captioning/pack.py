"""Make one small file of a trained captioner, to keep or to ship: weights in float16, nothing to go on training from.

uv run captioning pack runs/captioning/attention captioner.pt    # some 6 MB; `captioning caption --run captioner.pt`
"""

from collections.abc import Sequence

from captioning.config import Config
from core import cli
from core.packing import pack


def main(argv: Sequence[str] | None = None) -> None:
    """Read the run's best checkpoint and write the file."""
    pack("captioning", Config, ("encoder", "decoder"), argv)


if __name__ == "__main__":
    raise SystemExit(cli.guard("captioning pack", main))
