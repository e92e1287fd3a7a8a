"""How a benchmark is run as a script: a mistake that its user can mend is one line.

if __name__ == "__main__":
    script(main)
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Never

import tyro

from core.training import cli


def script(main: Callable[..., int | None]) -> Never:
    """Parse the flags of `main`, run it, and end the process.

    Raises:
        SystemExit: with what `main` returns (1 if `--check` was given and a target was missed), or
            2 after an `InputError`, whose line is printed.
    """

    def run(argv: list[str]) -> None:
        code = tyro.cli(main, args=argv, config=(tyro.conf.OmitArgPrefixes,))
        if code:
            raise SystemExit(code)

    raise SystemExit(cli.guard(f"benchmarks.{Path(sys.argv[0]).stem}", run))
