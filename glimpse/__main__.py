"""The command `glimpse`: `uv run glimpse train`, or `python -m glimpse train`."""

from core.training import cli
from core.training.arguments import Export, Training
from core.training.cli import Command
from glimpse.arguments import Evaluate, Show
from glimpse.config import EXPECTED, PRESETS, Config

COMMANDS: cli.Commands = {
    "train": Command("train the recurrent attention model", Training(Config, PRESETS, EXPECTED)),
    "evaluate": Command("measure a trained model beside its baselines", Evaluate),
    "show": Command("draw where a trained model looks at pictures", Show),
    "export": Command("write one glimpse of a trained model as an exported program", Export),
}


def main() -> int:
    """Run the command named first on the command line."""
    return cli.main("glimpse", COMMANDS)


if __name__ == "__main__":
    raise SystemExit(main())
