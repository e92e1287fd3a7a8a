"""Make one small file of a trained captioner, to keep or to ship: weights in float16, nothing to go on training from.

uv run captioning pack runs/captioning/attention captioner.pt    # some 6 MB; `captioning caption --run captioner.pt`
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from core import checkpoint, cli

KEPT = "config", "step", "seconds", "metrics", "extras"  # beside the weights


@dataclass(frozen=True)
class Arguments:
    """Make one small file of a trained captioner."""

    run: Annotated[Path, tyro.conf.Positional]
    """Run directory or checkpoint."""
    file: Annotated[Path, tyro.conf.Positional]
    """The file to write."""


def main(argv: Sequence[str] | None = None) -> None:
    """Read the run's best checkpoint and write the file."""
    arguments = tyro.cli(Arguments, args=argv, prog="captioning pack")
    saved = checkpoint.open_run(arguments.run, "captioning")
    weights = {name: value.half() for name, value in saved["weights"].items()}
    checkpoint.save(arguments.file, "captioning", {**{name: saved[name] for name in KEPT}, "weights": weights})
    print(f"{arguments.file}: {arguments.file.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    raise SystemExit(cli.guard("captioning pack", main))
