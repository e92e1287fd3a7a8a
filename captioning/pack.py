"""Make one small file of a trained captioner, to keep or to ship: weights in float16, nothing to go on training from.

uv run captioning pack runs/captioning/attention captioner.pt    # some 6 MB; `captioning caption --run captioner.pt`
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated

import tyro

from captioning.config import Config
from core import checkpoint, cli
from core.config import from_dict, to_dict

KEPT = "step", "seconds", "metrics", "extras"  # beside weights and configuration


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
    config = without_places(from_dict(Config, saved["config"], str(arguments.run)))
    weights = {name: value.half() for name, value in saved["weights"].items()}
    kept = {name: saved[name] for name in KEPT}
    checkpoint.save(arguments.file, "captioning", {**kept, "config": to_dict(config), "weights": weights})
    print(f"{arguments.file}: {arguments.file.stat().st_size / 1e6:.1f} MB")


def without_places(config: Config) -> Config:
    """Return a configuration that does not tell where files lie on the machine that trained it."""
    places = {each.name: each.default for each in fields(Config) if each.metadata.get("place")}
    return replace(config, **places, data=Path(config.data).name)


if __name__ == "__main__":
    raise SystemExit(cli.guard("captioning pack", main))
