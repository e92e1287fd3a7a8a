"""The command: `uv run sequences addition`, or `python -m sequences.addition`."""

from core.training import cli

if __name__ == "__main__":
    raise SystemExit(cli.script("sequences addition"))
