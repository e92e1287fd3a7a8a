"""The command: `uv run sequences addition`, or `python -m sequences.addition`."""

from core import cli
from sequences.addition import main

if __name__ == "__main__":
    raise SystemExit(cli.guard("sequences addition", main))
