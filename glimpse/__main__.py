"""The command `glimpse`: `uv run glimpse train`, or `python -m glimpse train`."""

from core import cli

VERBS = {
    "train": "train the recurrent attention model",
    "evaluate": "measure a trained model beside its baselines",
    "show": "draw where a trained model looks at pictures",
    "program": "write one glimpse of a trained model as a program that runs without this package",
}


def main() -> int:
    """Run the verb named on the command line."""
    return cli.main("glimpse", VERBS)


if __name__ == "__main__":
    raise SystemExit(main())
