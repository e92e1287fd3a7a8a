"""Let a trained model write.

uv run sequences charlm sample runs/charlm/hello                                     # hellohellohello ...
uv run sequences charlm sample runs/charlm/shakespeare --prompt "KING LEAR:" --temperature 0.8 --length 2000
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from core import cli
from sequences.charlm.trained import open_model
from sequences.charlm.writing import encode_prompt, write


@dataclass(frozen=True)
class Arguments:
    """Write text, which appears as it is written."""

    run: Annotated[Path, tyro.conf.Positional]
    """Run directory or checkpoint."""
    prompt: str = ""
    """What the text begins with; by default the model begins it."""
    temperature: float = 1.0
    """Below 1 the probable becomes more probable; 0: always the most probable character."""
    top_p: float = 1.0
    """Draw from the fewest characters that have this probability together."""
    length: int = 1000
    """Characters (or bytes) to write after the prompt."""
    seed: int = 0
    """Another seed, another text."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where to compute."""
    threads: int = 1
    """CPU threads."""


def main(argv: Sequence[str] | None = None) -> None:
    """Open a run and write."""
    arguments = tyro.cli(Arguments, args=argv, prog="sequences charlm sample")
    trained, _ = open_model(arguments.run, cli.device(arguments.device, arguments.threads))
    written = write(
        trained,
        encode_prompt(trained, arguments.prompt),
        length=arguments.length,
        temperature=arguments.temperature,
        top_p=arguments.top_p,
        seed=arguments.seed,
    )
    decode = trained.alphabet.decoder()
    sys.stdout.write(arguments.prompt)
    for last in written:
        sys.stdout.write(decode(int(last)))
        sys.stdout.flush()
    sys.stdout.write("\n")


if __name__ == "__main__":
    raise SystemExit(cli.guard("sequences charlm sample", main))
