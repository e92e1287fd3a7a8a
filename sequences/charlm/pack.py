"""Make one small file of a trained model, to keep or to ship: a byte a weight, for writing only.

uv run sequences charlm pack runs/charlm/shakespeare shakespeare.pt    # 5.5 MB
"""

from core.training import checkpoint, cli
from core.training.arguments import Pack
from core.training.packing import pack, to_bytes
from sequences.charlm.config import Config
from sequences.charlm.trained import part_that_writes


def main(arguments: Pack) -> None:
    """Read the run's best checkpoint and write the file."""
    with checkpoint.opened(arguments.run, "charlm", Config) as (config, _):
        part = part_that_writes(config)
    pack("charlm", Config, (part,), arguments, to_bytes)


if __name__ == "__main__":
    raise SystemExit(cli.script("sequences charlm pack"))
